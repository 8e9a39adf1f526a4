//! A decompressor of libzstd whose memory is a file: for frames with windows too large to have in memory.

use super::file_memory::FileMemory;
use super::{Asked, Result};
use std::os::fd::AsFd;
use std::ptr::NonNull;
use zstd::zstd_safe::zstd_sys::{
    ZSTD_DStream, ZSTD_decompressStream, ZSTD_estimateDCtxSize, ZSTD_estimateDStreamSize, ZSTD_inBuffer,
    ZSTD_initStaticDStream, ZSTD_isError, ZSTD_outBuffer,
};

/// After so many bytes of output the window leaves the memory of the process.
const REST: usize = 1 << 20;
/// What comes before the window and is needed all the time, besides the state: one compressed block (RFC 8878 section 3.1.1.2.3).
const BLOCK: usize = 128 << 10;

/// Decompresses one frame after another (zstd.h, streaming decompression).
#[derive(Debug)]
pub(crate) struct Decompressor {
    context: NonNull<ZSTD_DStream>,
    /// Where the context is, and all that it ever needs.
    memory: FileMemory,
    window: usize,
    /// Bytes put out since the window was last let go.
    made: usize,
}

// SAFETY: the context points nowhere but into its own memory, and has no thread of its own (zstd.h: one context for one
// thread at a time, which `&mut` says).
unsafe impl Send for Decompressor {}

/// What a call has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes of the input that are done with.
    pub(crate) used: usize,
    /// Bytes of the output that are written.
    pub(crate) made: usize,
    /// True when the frame is at its end and all of it was put out.
    pub(crate) ended: bool,
}

impl Decompressor {
    /// For frames with windows of at most `window` bytes, in an empty file. `None` where the file system cannot hold memory.
    pub(crate) fn new(file: impl AsFd, window: usize) -> Result<Option<Decompressor>> {
        // SAFETY: a calculation.
        let size = unsafe { ZSTD_estimateDStreamSize(window) };
        let Some(memory) = FileMemory::new(file, size)? else { return Ok(None) };
        // SAFETY: the memory is as long as said, begins with a page, and is given back after the context's last use: a static
        // context allocates nothing and needs no end of its own.
        let context = unsafe { ZSTD_initStaticDStream(memory.start().as_ptr(), size) };
        let context =
            NonNull::new(context).ok_or(rustix::io::Errno::NOMEM).asked(|| format!("zstd in {size} bytes"))?;
        Ok(Some(Decompressor { context, memory, window, made: 0 }))
    }

    /// The largest window there is room for (bytes).
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// Decompresses some bytes. An error is libzstd's code.
    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> std::result::Result<Step, usize> {
        let mut from = ZSTD_inBuffer { src: input.as_ptr().cast(), size: input.len(), pos: 0 };
        let mut into = ZSTD_outBuffer { dst: output.as_mut_ptr().cast(), size: output.len(), pos: 0 };
        // SAFETY: the context is alive as long as `self`, and both buffers are live for the call with the lengths said.
        let left = unsafe { ZSTD_decompressStream(self.context.as_ptr(), &raw mut into, &raw mut from) };
        // SAFETY: looks at a number.
        if unsafe { ZSTD_isError(left) } != 0 {
            return Err(left);
        }
        self.made += into.pos;
        if self.made >= REST || left == 0 {
            self.made = 0;
            // SAFETY: a calculation.
            let state = unsafe { ZSTD_estimateDCtxSize() };
            self.memory.let_go(state + BLOCK);
        }
        Ok(Step { used: from.pos, made: into.pos, ended: left == 0 })
    }
}
