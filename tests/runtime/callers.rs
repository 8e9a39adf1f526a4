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

#[test]
fn a_caller_with_a_low_limit_of_files_is_served_and_the_container_and_its_hooks_have_that_limit() {
    only_ocicat!("the peers need more files, and Go raises the limit for itself");
    let low = "ulimit -Sn 14";
    let container = Container::new();
    let told = container.dir.join("told");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("ulimit -Sn >> {}", told.display())]}]);
    let limits = "ulimit -Sn; ulimit -Hn";
    let container = container.shell(limits).set("/process/rlimits", json!([]));
    let container = container.set("/hooks", json!({"createRuntime": hook, "createContainer": hook, "poststop": hook}));
    container.write();
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap();
    after(&container, low, &["run", &container.id]).says(&format!("14\n{hard}\ncode 0"));
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "14\n14\n14\n");
    // The container may trace the runtime, which begins anew before that.
    let container = Container::new().shell(limits).set("/process/rlimits", json!([])).capabilities(&["CAP_SYS_PTRACE"]);
    container.write();
    after(&container, low, &["run", &container.id]).says(&format!("14\n{hard}\ncode 0"));
    // What config.json says is as it says.
    let asked = json!([{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 30}]);
    let container = Container::new().args(&["sleep", "1000"]).set("/process/rlimits", asked);
    let container = container.detached();
    after(&container, low, &["exec", &container.id, "sh", "-c", limits]).says("20\n30\ncode 0");
}

#[test]
fn a_caller_with_too_few_files_for_any_container_is_told_of_the_limit() {
    only_ocicat!("the words are ocicat's own");
    let container = Container::new();
    container.write();
    let outcome = after(&container, "ulimit -n 12", &["run", &container.id]);
    let expected = "too many open files (EMFILE); hint: raise the limit of open files, which is 12 (ulimit -Hn, RLIMIT_NOFILE)\ncode 1";
    outcome.mentions(expected);
    container.call(&["delete", "--force", &container.id]).ok();
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn whatever_umask_the_caller_has_its_files_are_its_own_and_the_container_has_its_directories() {
    only_ocicat!("with runc and crun a caller with umask 077 has a container that cannot enter its directory");
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        format!("{:03o}", path.symlink_metadata().unwrap().permissions().mode() & 0o777)
    };
    for (mask, pid_file) in [("0000", "644"), ("0022", "644"), ("0077", "600"), ("0777", "600")] {
        let container = Container::new().set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let told = container.dir.join("told");
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("umask >> {}", told.display())]}]);
        let (mut say, mut go) = (container.fifo("say"), container.fifo("go"));
        let line = "{ umask; pwd; stat -c %a /place /place/x . /new /new/tmpfs; } | tr '\\n' ' ' > /say; echo > /say; read go < /go";
        let container =
            container.shell(line).set("/process/cwd", json!("/place/x")).set("/root/readonly", json!(false));
        let container = container.mount("/new/tmpfs", "tmpfs", "tmpfs", &["mode=711"]);
        let container = container.set("/hooks", json!({"createRuntime": hook, "poststop": hook}));
        container.write();
        let before = format!("umask {mask}");
        let id = &container.id;
        std::fs::write(&told, "").unwrap();
        let (log, pid) = (container.dir.join("log"), container.dir.join("pid"));
        let words = ["--debug", "--log", "log", "create", "--pid-file", "pid", id];
        let mut call = Command::new("/bin/sh");
        let own = container.command(&words);
        call.args(["-c", &format!("{before}; exec \"$@\""), "sh"]).arg(own.get_program()).args(own.get_args());
        call.current_dir(&container.dir).stdin(container.null());
        outcome::finish(call).ok();
        let state = container.root().join(id);
        let modes = [&container.root(), &state, &state.join("record"), &state.join("start"), &log, &pid];
        let modes = modes.map(|path| mode(path));
        assert_eq!(modes, ["700", "700", "600", "600", pid_file, pid_file], "{mask}");
        after(&container, &before, &["start", id]).says("code 0");
        assert_eq!(say.line().trim(), "0022 /place/x 755 755 755 755 711", "{mask}");
        go.tell("go\n");
        after(&container, &before, &["delete", "--force", id]).says("code 0");
        assert_eq!(std::fs::read_to_string(&told).unwrap(), format!("{mask}\n{mask}\n"));
    }
}
