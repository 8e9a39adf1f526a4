//! What a caller has set for itself and the runtime inherits: ignored signals, limits.

use crate::common::*;
use std::process::Command;

/// The call with a line of the shell before it, in the same process; its error output comes through a pipe, which no limit of files
/// can cut off.
#[track_caller]
fn after(container: &Container, line: &str, args: &[&str]) -> Outcome {
    let call = container.command(args);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{{ ({line}; exec \"$@\"); echo code $?; }} 2>&1 | cat"), "sh"]);
    shell.arg(call.get_program()).args(call.get_args()).stdin(container.null());
    if let Some(dir) = call.get_current_dir() {
        shell.current_dir(dir);
    }
    outcome::finish(shell)
}

#[test]
fn a_caller_that_ignores_the_ends_of_its_children_learns_how_they_ended() {
    only_ocicat!("crun waits for children that nobody can wait for");
    let ignoring = "trap '' CHLD";
    let container = Container::new().shell("exit 7");
    container.write();
    after(&container, ignoring, &["run", &container.id]).says("code 7");
    let container = Container::new().args(&["sleep", "1000"]);
    let container = container.set("/hooks", json!({"createRuntime": [{"path": "/bin/true"}]})).detached();
    after(&container, ignoring, &["exec", &container.id, "sh", "-c", "exit 5"]).says("code 5");
    let hooked = Container::new().args(&["true"]);
    let hooked = hooked.set("/hooks", json!({"createRuntime": [{"path": "/bin/true"}]}));
    hooked.write();
    after(&hooked, ignoring, &["run", &hooked.id]).says("code 0");
}

#[test]
fn a_caller_that_may_write_no_files_gets_an_error_and_nothing_is_left() {
    only_ocicat!("others are killed by SIGXFSZ");
    let container = Container::new();
    container.write();
    after(&container, "ulimit -f 0", &["create", &container.id]).mentions("file too large (EFBIG)\ncode 1\n");
    container.call(&["state", &container.id]).fails("container does not exist");
}
