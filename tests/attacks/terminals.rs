//! Terminals: the container's is its own, the caller's stays out of reach.

use crate::common::terminal::Terminal;
use crate::common::*;
use crate::decoy::*;
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn a_console_that_is_a_link_is_no_way_to_the_host() {
    only_ocicat!("CVE-2025-52565");
    let container = Container::new().set("/process/terminal", json!(true)).edit(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| {
            !mount["destination"].as_str().unwrap().starts_with("/dev") || mount["destination"] == "/dev/pts"
        });
        config["root"]["readonly"] = json!(false);
    });
    let dir = decoy(&container);
    fs::create_dir_all(container.rootfs().join("dev/pts")).unwrap();
    symlink(dir.join("file"), container.rootfs().join("dev/console")).unwrap();
    let socket = socket::Receiver::new(&container.dir.join("console"));
    container.write();
    container.detach(&["run", "--detach", "--console-socket", socket.path(), &container.id]);
    untouched(&dir);
}

/// Fields of /proc/self/stat (proc_pid_stat(5)): the controlling terminal.
const CONTROLLING: &str = "cut -d' ' -f7 /proc/self/stat";

#[test]
fn a_process_on_the_callers_terminal_cannot_type_on_it() {
    // TIOCSTI works on the controlling terminal only: it has none.
    let container = Container::new().sleeping();
    let terminal = Terminal::new();
    let child = terminal.spawn(&container.command(&["exec", &container.id, "sh", "-c", CONTROLLING]));
    let seen = terminal.finish(child).ok();
    assert_eq!(seen.text(), "0", "{seen}");
    let container = Container::new().shell(CONTROLLING);
    container.write();
    let terminal = Terminal::new();
    let child = terminal.spawn(&container.command(&["run", &container.id]));
    assert_eq!(terminal.finish(child).ok().text(), "0");
}

#[test]
fn the_terminal_of_exec_is_one_of_the_containers_own() {
    let container = Container::new().sleeping();
    let terminal = Terminal::new();
    let words = ["exec", "--tty", &container.id, "sh", "-c", "stat -c %D $(tty) /dev/pts | uniq | wc -l; tty"];
    let child = terminal.spawn(&container.command(&words));
    let seen = terminal.finish(child).ok();
    assert_eq!(seen.text(), "1\n/dev/pts/0", "{seen}");
}

#[test]
fn a_file_in_the_place_of_a_terminal_is_not_taken_for_it() {
    only_ocicat!("CVE-2025-52565");
    // /dev/pts of the image, with a link where the terminal's number would be.
    let container = without_mounts(Container::new().set("/process/terminal", json!(true)), "/dev/pts");
    let container = without_mounts(container, "/dev").set("/root/readonly", json!(false)).shell("echo written");
    let dir = decoy(&container);
    fs::create_dir(container.rootfs().join("dev/pts")).unwrap();
    for name in ["pts/0", "pts/1", "pts/ptmx", "ptmx"] {
        symlink(dir.join("file"), container.rootfs().join("dev").join(name)).unwrap();
    }
    let socket = socket::Receiver::new(&container.dir.join("console"));
    container.write();
    container.detach(&["run", "--detach", "--console-socket", socket.path(), &container.id]);
    untouched(&dir);
}
