//! Memory that goes another way than into files of one dump: a page server, pages on demand, pages of an earlier dump.

use crate::common::*;
use crate::*;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command};

/// A port of the loopback that nobody listens on.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// A criu beside the runtime, which ends by itself when it has done its work.
struct Beside(Child);

impl Beside {
    /// Started in the directory of the images; its log is `NAME.log` there.
    fn start(images: &str, name: &str, words: &[&str]) -> Beside {
        let mut command = Command::new("criu");
        command.arg(name).args(["--images-dir", images, "-v4", "--log-file", &format!("{name}.log")]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Beside(command.spawn().unwrap())
    }

    #[track_caller]
    fn ended(mut self, images: &str, name: &str) {
        assert!(outcome::ends_within(&self.0, PATIENCE), "criu {name} did not end");
        let log = fs::read_to_string(Path::new(images).join(format!("{name}.log"))).unwrap_or_default();
        assert!(self.0.wait().unwrap().success(), "criu {name}: {log}");
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The bytes that a file takes on its disk.
fn taken(path: PathBuf) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// The files of memory in a directory of images.
fn pages(images: &str) -> Vec<String> {
    let names = fs::read_dir(images).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = names.filter(|name| name.starts_with("pages-")).collect();
    found.sort();
    found
}

#[test]
fn a_page_server_takes_the_memory_and_the_rest_goes_into_files() {
    need_criu!();
    let container = start(counting(COUNT));
    let count = count_file(&container);
    wait_for(&count, 3);
    let (memory, images) = (images(&container, "memory"), images(&container, "images"));
    fs::create_dir(&memory).unwrap();
    // The server says so on a descriptor once it listens.
    let (read, write) = pipe();
    let port = free_port();
    let mut command = Command::new("criu");
    command.args(["page-server", "--images-dir", &memory, "--address", "127.0.0.1", "--port", &port]);
    command.args(["--log-file", "page-server.log", "--status-fd", "9"]);
    let mut command = through_shell(&command, "9>&1 >/dev/null 2>&1");
    command.stdout(write);
    let server = Beside(command.spawn().unwrap());
    drop(command);
    assert!(outcome::readable_within(&read, PATIENCE), "the page server does not listen");
    checkpoint(&container, &["--page-server", &format!("127.0.0.1:{port}")]).ok();
    server.ended(&memory, "page-server");
    assert_eq!((container.status().as_str(), pages(&images)), ("stopped", Vec::new()));
    assert_ne!(pages(&memory), Vec::<String>::new());
    for entry in fs::read_dir(&memory).unwrap().map(|entry| entry.unwrap()) {
        fs::rename(entry.path(), Path::new(&images).join(entry.file_name())).unwrap();
    }
    restore(&container, &[]).ok();
    counts_on(&count);
    delete(&container);
}

#[test]
fn a_page_server_that_is_not_there_is_named_and_the_container_runs_on() {
    need_criu!();
    let container = start(counting(COUNT));
    let count = count_file(&container);
    wait_for(&count, 1);
    let port = free_port();
    let refused = checkpoint(&container, &["--page-server", &format!("127.0.0.1:{port}")]);
    let words = format!("criu dump: Can't connect to server 127.0.0.1:{port}");
    assert!(refused.code != 0 && refused.err.contains(&words), "{refused}");
    assert_eq!(container.status(), "running");
    counts_on(&count);
    delete(&container);
}

#[test]
fn memory_is_moved_when_it_is_used_and_a_zero_byte_tells_when_it_can_be() {
    need_criu!();
    let from = start(counting(COUNT));
    let count = count_file(&from);
    wait_for(&count, 3);
    let written = images(&from, "images");
    let port = free_port();
    let (read, write) = pipe();
    let server = format!("127.0.0.1:{port}");
    let words = [
        "checkpoint",
        "--image-path",
        &written,
        "--lazy-pages",
        "--page-server",
        &server,
        "--status-fd",
        "9",
        &from.id,
    ];
    let log = from.dir.join("log");
    let mut called =
        through_shell(&from.command(&[&["--log", log.to_str().unwrap()], &words[..]].concat()), "9>&1 >&2");
    called.stdout(write).stderr(from.null());
    let mut dump = called.spawn().unwrap();
    drop(called);
    let ready = outcome::readable_within(&read, PATIENCE);
    let mut byte = [1];
    let said = if ready { File::from(read.try_clone().unwrap()).read(&mut byte).unwrap() } else { 0 };
    let told = || fs::read_to_string(&log).unwrap_or_default();
    assert!(said == 1 && byte == [0], "{}", told());
    // The dump goes on for as long as memory is missing elsewhere.
    assert!(!outcome::ends_within(&dump, Duration::ZERO), "{}", told());

    // Somewhere else: the same files, another container.
    let mut to = counting(COUNT).set("/root/path", json!(from.rootfs()));
    to.config["hostname"] = json!("elsewhere");
    to.write();
    let fetcher = Beside::start(&written, "lazy-pages", &["--page-server", "--address", "127.0.0.1", "--port", &port]);
    wait_for_file(&Path::new(&written).join("lazy-pages.socket"));
    let again = ["restore", "--detach", "--lazy-pages", "--image-path", &written, &to.id];
    quietly(&to, &again).ok();
    counts_on(&count);
    fetcher.ended(&written, "lazy-pages");
    assert!(outcome::ends_within(&dump, PATIENCE), "the dump did not end: {}", told());
    assert!(dump.wait().unwrap().success(), "{}", told());
    assert_eq!((from.status().as_str(), to.status().as_str()), ("stopped", "running"));
    counts_on(&count);
    to.end();
    from.delete().ok();
}

/// Waits until something of this name is in its directory.
#[track_caller]
fn wait_for_file(path: &Path) {
    use rustix::fs::inotify;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, path.parent().unwrap(), inotify::WatchFlags::CREATE).unwrap();
    while !path.exists() {
        assert!(outcome::readable_within(&watch, PATIENCE), "{} does not appear", path.display());
        rustix::io::read(watch.as_fd(), &mut [0; 4096]).unwrap();
    }
}

#[test]
fn a_restore_with_pages_on_demand_and_nobody_who_has_them_says_so() {
    need_criu!();
    let container = start(counting(COUNT));
    wait_for(&count_file(&container), 1);
    checkpoint(&container, &[]).ok();
    let refused = restore(&container, &["--lazy-pages"]);
    assert!(refused.code != 0 && refused.err.contains("lazy-pages"), "{refused}");
    assert_eq!(container.leftovers(), [""; 0]);
    restore(&container, &[]).ok();
    counts_on(&count_file(&container));
    delete(&container);
}

#[test]
fn pages_that_are_written_again_are_dropped_from_the_earlier_images() {
    need_criu!();
    // Memory that changes all the time, beside a shell that counts.
    let container = start(counting(&format!("a=; (while :; do a=x$a; sleep 0.01; done) & {COUNT}")));
    let count = count_file(&container);
    wait_for(&count, 3);
    let before = images(&container, "before");
    call(&container, &["checkpoint", "--pre-dump", "--image-path", &before, &container.id]).ok();
    counts_on(&count);
    let size = || pages(&before).iter().map(|name| taken(Path::new(&before).join(name))).sum::<u64>();
    let whole = size();
    checkpoint(&container, &["--parent-path", "../before", "--auto-dedup"]).ok();
    assert!(size() < whole, "{} of {whole} bytes", size());
    // What has been restored is dropped too.
    let images = images(&container, "images");
    let last = || pages(&images).iter().map(|name| taken(Path::new(&images).join(name))).sum::<u64>();
    let whole = last();
    restore(&container, &["--auto-dedup"]).ok();
    assert!(last() < whole, "{} of {whole} bytes", last());
    counts_on(&count);
    delete(&container);
}

#[test]
fn a_descriptor_for_the_status_must_be_open_for_writing() {
    need_criu!();
    let container = start(counting(COUNT));
    wait_for(&count_file(&container), 1);
    let words = |fd: &'static str| ["checkpoint", "--image-path", "images", "--status-fd", fd];
    let rows = [
        (words("8"), "", "no such descriptor is open"),
        (words("9"), "9</dev/null", "it is not open for writing"),
        (words("x"), "", "status-fd"),
    ];
    for (words, redirections, expected) in rows {
        let command = container.command(&[&words[..], &[&container.id]].concat());
        let refused = finish_within(through_shell(&command, redirections), PATIENCE);
        assert!(refused.code != 0 && refused.err.contains(expected), "{refused}");
    }
    assert_eq!(container.status(), "running");
    delete(&container);
}
