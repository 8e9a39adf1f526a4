//! create, start, run, state, kill, delete: what each does and when each refuses (runtime.md).

use crate::common::*;
use crate::only_ocicat;
use std::fs;

#[test]
fn run_gives_the_exit_code_of_the_program() {
    for code in [0, 1, 7, 125, 126, 127, 255] {
        Container::new().shell(&format!("exit {code}")).run().exits(code);
    }
}

#[test]
fn run_passes_the_output_of_the_program_and_says_nothing_itself() {
    let outcome = Container::new().shell("echo to output; echo to errors >&2").run().ok();
    assert_eq!((outcome.out.as_str(), outcome.err.as_str()), ("to output\n", "to errors\n"));
}

#[test]
fn run_ends_with_128_and_the_signal_when_the_program_is_killed() {
    Container::new().shell("kill -KILL $$").without_namespace("pid").run().exits(128 + 9);
}

#[test]
fn run_deletes_the_container_when_it_ends() {
    let container = Container::new();
    container.run().ok();
    assert_eq!(container.leftovers(), Vec::<String>::new());
    container.call(&["state", &container.id]).fails("does not exist");
}
