//! What the layers that are unpacked at once may take of memory together, whatever an image has in them.
//!
//! Buffers and decompressors have a fixed size. What an image can make grow is counted: the window of a zstd frame, names
//! that wait for the lower layers, large extended headers. A layer that needs more than is free waits for its first
//! part, when it holds nothing that another one could wait for; a later part that is not free is an error (`is_crowded`),
//! and the layer is unpacked again when no other one is. So nothing waits in a circle.

use super::Limits;
use crate::image::store::Store;
use crate::sys;
use anyhow::{Result, anyhow, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

/// Bytes for all layers together: two windows of the size that a zstd decoder has to support at least (8 MiB, RFC 8878
/// section 3.1.1.1.2). In unit tests so few that layers get into each other's way.
const SIZE: u64 = if cfg!(test) { 1 << 10 } else { 16 << 20 };

/// The memory that layers share.
#[derive(Debug)]
pub struct Pool {
    size: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::of(SIZE)
    }
}

impl Pool {
    fn of(size: u64) -> Pool {
        Pool { size, free: Mutex::new(size), freed: Condvar::new() }
    }

    /// For a layer beside others.
    pub fn share(&self) -> Share<'_> {
        self.new_share(false)
    }

    /// For a layer that others do not wait for: it may wait for them at any time.
    pub fn patient_share(&self) -> Share<'_> {
        self.new_share(true)
    }

    fn new_share(&self, patient: bool) -> Share<'_> {
        Share { pool: self, held: Mutex::new(Held::default()), patient, crowded: AtomicBool::new(false) }
    }
}

/// One layer's part of a pool. Dropped, it is free again.
#[derive(Debug)]
pub struct Share<'p> {
    pool: &'p Pool,
    held: Mutex<Held>,
    patient: bool,
    crowded: AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    /// Bytes.
    all: u64,
    /// Of them, for the window of a decompressor.
    window: u64,
}

impl Share<'_> {
    /// Takes `bytes` more. Who needs more than there is at all gets everything.
    pub fn grow(&self, bytes: u64) -> Result<()> {
        self.take(&mut *lock(&self.held)?, bytes)
    }

    /// Has room for a window of so many bytes; the one before is not needed any more.
    pub(crate) fn window(&self, bytes: u64) -> Result<()> {
        let mut held = lock(&self.held)?;
        let more = bytes.saturating_sub(held.window);
        self.take(&mut held, more)?;
        held.window += more;
        Ok(())
    }

    /// True when the layer has to be unpacked again, without others beside it.
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    fn take(&self, held: &mut Held, bytes: u64) -> Result<()> {
        let wanted = bytes.min(self.pool.size.saturating_sub(held.all));
        let mut free = lock(&self.pool.free)?;
        while *free < wanted {
            if held.all > 0 && !self.patient {
                self.crowded.store(true, Ordering::Relaxed);
                bail!("other layers have the memory that this one needs");
            }
            free = self.pool.freed.wait(free).map_err(|_| anyhow!("a thread panicked"))?;
        }
        *free -= wanted;
        held.all += wanted;
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let Ok(held) = self.held.lock() else { return };
        if held.all > held.window {
            // Many small pieces: the next layer may get another part of the heap.
            sys::memory::return_free_memory();
        }
        if let Ok(mut free) = self.pool.free.lock() {
            *free += held.all;
            self.pool.freed.notify_all();
        }
    }
}

/// Takes a mutex that no thread has panicked with.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| anyhow!("a thread panicked"))
}

/// What the unpacking of a layer may use.
pub struct Room<'r> {
    /// What the image may demand.
    pub limits: Limits,
    /// Memory.
    pub share: Share<'r>,
    /// Where files without a name can be made, for what does not fit into memory.
    pub store: &'r Store,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_holds_nothing_waits_and_one_that_does_is_done_again() {
        let pool = Pool::of(16 << 20);
        let one = pool.share();
        one.window(8 << 20).unwrap();
        one.window(4 << 20).unwrap();
        let two = pool.share();
        two.grow(6 << 20).unwrap();
        assert!(two.grow(4 << 20).is_err() && two.is_crowded() && !one.is_crowded());
        let patient = pool.patient_share();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| patient.grow(1 << 40));
            drop(one);
            drop(two);
            waiting.join().unwrap().unwrap();
        });
        assert_eq!(*pool.free.lock().unwrap(), 0);
        drop(patient);
        assert_eq!(*pool.free.lock().unwrap(), 16 << 20);
    }
}
