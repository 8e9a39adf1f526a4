//! The runtime's own program, memory and descriptors, seen from inside of a container.

use crate::common::*;
use crate::inside::{hostile, stopper_of};
use crate::sockets::with_agent_of;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_working_directory_through_a_leaked_descriptor_is_refused() {
    only_ocicat!("old peers fall for CVE-2024-21626");
    for number in 3..12 {
        for prefix in ["/proc/self/fd", "/proc/1/fd", "/dev/fd"] {
            let container = Container::new().set("/process/cwd", json!(format!("{prefix}/{number}"))).args(&["pwd"]);
            container.write();
            let outcome = finish(through_shell(&container.command(&["run", &container.id]), "7</"));
            assert!(outcome.code != 0, "{prefix}/{number}: {outcome}");
        }
    }
}

#[test]
fn an_exec_with_a_working_directory_through_a_descriptor_is_refused() {
    only_ocicat!("old peers fall for CVE-2024-21626");
    let container = Container::new().sleeping();
    for number in 3..12 {
        let words = ["exec", "--cwd", &format!("/proc/self/fd/{number}"), &container.id, "pwd"];
        let outcome = finish(through_shell(&container.command(&words), "7</"));
        assert!(outcome.code != 0, "{number}: {outcome}");
    }
}

#[test]
fn a_link_of_the_image_to_a_descriptor_is_no_way_out() {
    only_ocicat!("old peers fall for CVE-2024-21626");
    for number in 3..12 {
        let container = Container::new().set("/process/cwd", json!("/data/link")).args(&["pwd"]);
        symlink(format!("/proc/self/fd/{number}"), container.rootfs().join("data/link")).unwrap();
        container.write();
        let outcome = finish(through_shell(&container.command(&["run", &container.id]), "7</"));
        assert!(outcome.code != 0, "{number}: {outcome}");
    }
}

#[test]
fn the_program_of_the_runtime_cannot_be_reached_from_inside() {
    only_ocicat!("CVE-2019-5736");
    let binary = runtime();
    let before = fs::read(&binary).unwrap();
    // An entry point that is /proc/self/exe, and an interpreter line that names it: whatever that runs, it is not us. The
    // second may run itself for ever, in its own cgroup and at its own cost.
    let container = Container::new().args(&["/proc/self/exe"]);
    let outcome = container.run();
    assert!(
        !outcome.out.contains("version") && !outcome.err.contains("usage"),
        "the runtime itself ran inside: {outcome}"
    );
    let container = Container::new().file("/data/script", "#!/proc/self/exe\n", 0o755).args(&["/data/script"]);
    container.write();
    container.detach(&["run", "--detach", &container.id]);
    container.call(&["delete", "--force", &container.id]).ok();
    assert!(!container.output().contains("version") && !container.error_output().contains("usage"));
    assert!(fs::read(&binary).unwrap() == before);
}

#[test]
fn what_init_executes_before_the_program_is_not_the_hosts_file() {
    only_ocicat!("CVE-2019-5736");
    // Nobody but us may look, as init is not dumpable.
    let container = Container::new();
    container.create().ok();
    let outcome = container.exec(&["ls", "-l", "/proc/1/exe"]);
    assert!(!outcome.out.contains(runtime().to_str().unwrap()), "{outcome}");
}

#[test]
fn a_process_that_waits_to_become_the_program_cannot_be_traced_or_read() {
    only_ocicat!("each has its own way");
    let container = Container::new().capabilities(&["CAP_SYS_PTRACE"]);
    container.create().ok();
    let outcome = container.exec(&["sh", "-c", "ls /proc/1/fd; cat /proc/1/environ; readlink /proc/1/cwd"]);
    let host = container.dir.to_str().unwrap();
    assert!(!outcome.out.contains(host) && !outcome.out.contains("/run"), "{outcome}");
}

/// What only the caller of the runtime has in its environment.
const SECRET: &str = "decoy-of-a-secret-that-no-container-may-read";

/// Where this process, waiting to become its program, has the secret or a path of the bundle.
fn told_by(pid: u32, bundle: &str) -> Vec<String> {
    let mut told = Vec::new();
    for name in ["environ", "cmdline"] {
        let text = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{name}")).unwrap()).into_owned();
        told.extend((text.contains(SECRET) || text.contains(bundle)).then(|| format!("{name}: {text:?}")));
    }
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    for line in fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let at = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let mut bytes = vec![0; usize::try_from(at(to) - at(from)).unwrap()];
        // What cannot be read (vvar) has nothing of ours.
        let read = std::os::unix::fs::FileExt::read_at(&memory, &mut bytes, at(from)).unwrap_or(0);
        let found = bytes[..read].windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        told.extend(found.then(|| format!("memory: {line}")));
    }
    told
}

/// A call of the runtime by somebody with a secret.
fn by_who_has_a_secret(container: &Container, words: &[&str]) -> Command {
    let mut command = container.command(words);
    command.env("OCICAT_TEST_SECRET", SECRET).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn the_environment_of_the_caller_is_in_no_process_that_a_container_can_see() {
    only_ocicat!("old peers have it in /proc/1/environ");
    for (capability, user_namespace) in [(false, false), (true, false), (false, true), (true, true)] {
        // Whoever is to become a program waits for an agent that never answers.
        let (mut container, agent) = with_agent_of(Container::new(), &["execveat"]);
        if capability {
            container = container.capabilities(&["CAP_SYS_PTRACE"]);
        }
        if user_namespace {
            container = container.user_namespace();
        }
        let row = format!("capability {capability}, user namespace {user_namespace}");
        container.write();
        let create = by_who_has_a_secret(&container, &["create", &container.id]).status().unwrap();
        assert!(create.success(), "{row}");
        let bundle = container.dir.to_str().unwrap();
        assert_eq!(told_by(container.pid(), bundle), Vec::<String>::new(), "create, {row}");
        let file = container.dir.join("pid");
        let words = ["exec", "--pid-file", file.to_str().unwrap(), &container.id, "true"];
        let mut exec = by_who_has_a_secret(&container, &words).spawn().unwrap();
        while !file.exists() {
            assert!(exec.try_wait().unwrap().is_none(), "{row}: exec ended");
            std::thread::yield_now();
        }
        let pid = fs::read_to_string(&file).unwrap().parse().unwrap();
        assert_eq!(told_by(pid, bundle), Vec::<String>::new(), "exec, {row}");
        container.call(&["delete", "--force", &container.id]).ok();
        exec.wait().unwrap();
        drop(agent);
    }
}

#[test]
fn who_may_trace_finds_nothing_of_the_caller_in_an_init_that_waits() {
    only_ocicat!("old peers have it in /proc/1/environ");
    for capabilities in [&[][..], &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]] {
        let container = Container::new().capabilities(capabilities);
        container.write();
        assert!(by_who_has_a_secret(&container, &["create", &container.id]).status().unwrap().success());
        let look = "cat /proc/1/cmdline /proc/1/environ; ls -l /proc/1/fd /proc/1/cwd /proc/1/root; cat /proc/1/maps";
        let seen = container.exec(&["sh", "-c", look]);
        let host = container.dir.to_str().unwrap();
        // The fifos of `start` are there by name, and lead nowhere else.
        let fifo = |line: &&str| line.ends_with("/start") || line.ends_with("/outcome");
        let lines = seen.out.lines().filter(|line| !fifo(line));
        let wrong: Vec<&str> = lines.filter(|line| line.contains(SECRET) || line.contains(host)).collect();
        assert!(wrong.is_empty(), "{capabilities:?}: {wrong:?}");
        assert!(seen.out.starts_with("ocicat\0"), "{capabilities:?}: {seen}");
    }
}

/// `exec` of `true` for 10 000 rounds or 20 seconds while the container's first process looks at whoever joins; what it
/// could reach.
fn spied(container: Container) -> Vec<String> {
    // The host's program is a decoy too.
    let program = container.dir.join("ocicat");
    program::copy(&runtime(), &program);
    let container = hostile(container, "spy").detached();
    let until = Instant::now() + Duration::from_secs(20);
    let mut rounds = 0;
    while rounds < 10_000 && Instant::now() < until {
        // Who may trace tries to open what it sees for writing. A read-only mount refuses that (EROFS), but the kernel counts
        // the writer first and the mount is asked after (do_dentry_open): for that instant nobody can execute the file.
        let mut exec = Command::new("sh");
        exec.args(["-c", "exec \"$0\" \"$@\""]).arg(&program).arg("--root").arg(container.root());
        exec.args(["exec", &container.id, "true"]).stdin(container.null());
        let outcome = finish(exec);
        // The same happens to the container's own program, when it is the one that is looked at.
        let of_host = outcome.code == 126 && outcome.err.contains("Text file busy");
        let of_container = outcome.code == 255 && outcome.err.contains("exec failed: exec true: text file busy");
        if !of_host && !of_container {
            outcome.ok();
        }
        rounds += 1;
    }
    let pid = container.pid();
    fs::write(container.rootfs().join("data/stop"), "").unwrap();
    container::wait_pid(pid);
    let told = container.output();
    let seen = told.lines().find_map(|line| line.strip_prefix("saw ")?.strip_suffix(" processes")?.parse().ok());
    assert!(seen.unwrap_or(0) > rounds / 100, "no race: {rounds} rounds, {told}{}", container.error_output());
    assert!(fs::read(runtime()).unwrap() == fs::read(program).unwrap(), "the runtime's program has changed");
    told.lines().filter_map(|line| Some(line.strip_prefix("reached ")?.to_owned())).collect()
}

#[test]
fn who_joins_a_container_cannot_be_reached_from_inside() {
    only_ocicat!("CVE-2016-9962, CVE-2019-5736: old peers can be");
    let reached = spied(Container::new());
    // What is executed last is the launcher, which is sealed and has nothing.
    let wrong: Vec<_> = reached.iter().filter(|what| !what.contains("/memfd:") || what.contains("writing")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Who may trace can trace whoever joins, in all runtimes; it must not find the host in its hands, though.
#[test]
fn who_joins_a_container_that_may_trace_brings_nothing_of_the_host() {
    only_ocicat!("CVE-2016-9962, CVE-2019-5736: old peers do");
    let reached = spied(Container::new().capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"]));
    let of_the_host = |what: &&String| what.starts_with("the host") || what.contains("for writing");
    let wrong: Vec<_> = reached.iter().filter(of_the_host).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn who_stops_every_process_that_joins_holds_nobody_else_up() {
    only_ocicat!("peers hang as long as they are stopped");
    let container = stopper_of(Container::new().capabilities(&["CAP_KILL"]));
    let mut stopped = container.command(&["exec", &container.id, "true"]).spawn().unwrap();
    for words in [&["state", &container.id][..], &["ps", &container.id], &["delete", "--force", &container.id]] {
        finish_within(container.command(words), Duration::from_secs(30)).ok();
    }
    // It was stopped inside, or was faster than that.
    outcome::code_of(&mut stopped);
}
