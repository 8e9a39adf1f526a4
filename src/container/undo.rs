//! What was done and must be taken back if the rest fails: push the way back right after the act, `keep` at the end.

/// One way back, with what it takes back.
type Step<'a> = (&'static str, Box<dyn FnOnce() + 'a>);

/// Ways back, run in reverse order when this is dropped.
#[derive(Default)]
pub struct Undo<'a> {
    steps: Vec<Step<'a>>,
}

impl<'a> Undo<'a> {
    /// Remembers how to take back what was just done.
    pub fn push(&mut self, what: &'static str, step: impl FnOnce() + 'a) {
        self.steps.push((what, Box::new(step)));
    }

    /// Everything went well: nothing is taken back.
    pub fn keep(mut self) {
        self.steps.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        while let Some((_, step)) = self.steps.pop() {
            step();
        }
    }
}

impl std::fmt::Debug for Undo<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|(what, _)| what)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_ways_back_run_in_reverse_and_not_at_all_when_kept() {
        let log = RefCell::new(Vec::new());
        for keep in [false, true] {
            let mut undo = Undo::default();
            undo.push("first", || log.borrow_mut().push(1));
            undo.push("second", || log.borrow_mut().push(2));
            if keep {
                undo.keep();
            }
        }
        assert_eq!(*log.borrow(), [2, 1]);
    }
}
