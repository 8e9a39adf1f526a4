//! The steps of a verb, told when they are done: what `--debug` shows, each with its time. The last one that was told is where a
//! call hangs.

use std::rc::Rc;

type Listener = dyn Fn(&str);

/// Who hears of the steps; nobody by default.
#[derive(Clone, Default)]
pub struct Progress(Option<Rc<Listener>>);

impl Progress {
    /// Each step goes to this listener.
    pub fn to(listener: impl Fn(&str) + 'static) -> Progress {
        Progress(Some(Rc::new(listener)))
    }

    /// Tells what was just done; the words are made only for somebody who hears them.
    pub(super) fn done(&self, step: impl FnOnce() -> String) {
        if let Some(listener) = &self.0 {
            listener(&step());
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(heard)" } else { "Progress" })
    }
}
