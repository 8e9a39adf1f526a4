//! What was done and must be taken back if the rest fails: push the way back right after the act, `keep` at the end.

use anyhow::Result;

/// One way back, with what it takes back.
type Step<'a> = (&'static str, Box<dyn FnOnce() -> Result<()> + 'a>);

/// Ways back, run in reverse order when this is dropped.
pub struct Undo<'a> {
    /// Forgets all of it: only when nothing is left of it, or nobody could find the rest.
    forget: Option<Box<dyn FnOnce() + 'a>>,
    steps: Vec<Step<'a>>,
}

impl<'a> Undo<'a> {
    /// `forget` comes last, when every other way back was gone to its end.
    pub fn new(forget: impl FnOnce() + 'a) -> Undo<'a> {
        Undo { forget: Some(Box::new(forget)), steps: Vec::new() }
    }

    /// Remembers how to take back what was just done.
    pub fn push(&mut self, what: &'static str, step: impl FnOnce() -> Result<()> + 'a) {
        self.steps.push((what, Box::new(step)));
    }

    /// Everything went well: nothing is taken back.
    pub fn keep(mut self) {
        self.steps.clear();
        self.forget = None;
    }

    /// Takes everything back, because of `error`; answers with that, and what could not be taken back.
    pub fn because_of(mut self, error: anyhow::Error) -> anyhow::Error {
        match self.take_back() {
            Ok(()) => error,
            Err(left) => {
                error.context(format!("not all of it could be taken back ({left:#}), delete --force will try again"))
            }
        }
    }

    fn take_back(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        while let Some((what, step)) = self.steps.pop() {
            outcome = outcome.and(step().map_err(|error| error.context(what)));
        }
        if let (Some(forget), Ok(())) = (self.forget.take(), &outcome) {
            forget();
        }
        outcome
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        // An error before the first step: there is nothing that could be left.
        let _ = self.take_back();
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
    fn the_ways_back_run_in_reverse_and_not_at_all_when_kept_and_nothing_is_forgotten_of_which_something_is_left() {
        const LEFT: &str = "not all of it could be taken back (first: busy), delete --force will try again: no";
        for (how, fails, expected, said) in [
            ("dropped", false, &["second", "first", "forgotten"][..], ""),
            ("kept", false, &[], ""),
            ("because of", false, &["second", "first", "forgotten"], "no"),
            ("because of", true, &["second", "first"], LEFT),
        ] {
            let log = RefCell::new(Vec::new());
            let mut undo = Undo::new(|| log.borrow_mut().push("forgotten"));
            undo.push("first", || {
                log.borrow_mut().push("first");
                anyhow::ensure!(!fails, "busy");
                Ok(())
            });
            undo.push("second", || {
                log.borrow_mut().push("second");
                Ok(())
            });
            let mut words = String::new();
            match how {
                "dropped" => drop(undo),
                "kept" => undo.keep(),
                _ => words = format!("{:#}", undo.because_of(anyhow::anyhow!("no"))),
            }
            assert_eq!(words, said);
            assert_eq!(*log.borrow(), expected, "{how} {fails}");
        }
    }
}
