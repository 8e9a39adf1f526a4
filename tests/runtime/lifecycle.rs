//! create, start, run, state, kill, delete: what each does and when each refuses (runtime.md).

use crate::common::*;
use std::fs;
use std::process::Command;

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
fn run_passes_its_input_to_the_program() {
    let container = Container::new().shell("read line; echo got $line");
    container.write();
    let input = container.dir.join("input");
    fs::write(&input, "a line\n").unwrap();
    let mut command = container.command(&["run", &container.id]);
    command.stdin(fs::File::open(input).unwrap());
    finish(command).says("got a line");
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

#[test]
fn run_with_keep_leaves_a_stopped_container() {
    only_ocicat!("--keep came with runc 1.1.6");
    let container = Container::new().shell("exit 3");
    container.run_with(&["--keep"]).exits(3);
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
}

#[test]
fn create_applies_everything_but_the_program() {
    let container = Container::new().shell("echo ran > /data/ran").set("/root/readonly", json!(false));
    container.create().ok().silently();
    assert_eq!(container.status(), "created");
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).unwrap();
    assert!(mounts.lines().any(|line| line.split(' ').nth(4) == Some("/dev/mqueue")), "{mounts}");
    assert!(!container.rootfs().join("data/ran").exists());
    let pid = container.pid();
    container.start().ok().silently();
    assert_eq!(container::wait_pid(pid), 0);
    assert_eq!(fs::read_to_string(container.rootfs().join("data/ran")).unwrap(), "ran\n");
    assert_eq!(container.status(), "stopped");
    container.delete().ok().silently();
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn a_life_from_created_over_running_to_stopped_and_gone() {
    let container = Container::new().args(&["sleep", "1000"]);
    container.create().ok();
    assert_eq!(container.status(), "created");
    container.start().ok();
    assert_eq!(container.status(), "running");
    container.end();
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
    container.call(&["state", &container.id]).fails("does not exist");
}

#[test]
fn an_id_can_be_used_again_after_delete() {
    let container = Container::new().args(&["sleep", "1000"]);
    for _ in 0..2 {
        container.create().ok();
        container.call(&["delete", "--force", &container.id]).ok();
    }
}

#[test]
fn create_refuses_an_id_that_is_taken_and_leaves_the_first_alone() {
    let container = Container::new().sleeping();
    let pid = container.pid();
    container.create().fails("exist");
    assert_eq!((container.pid(), container.status()), (pid, "running".to_owned()));
}

#[test]
fn create_refuses_ids_that_are_no_names() {
    let container = Container::new();
    container.write();
    let bundle = container.dir.to_str().unwrap();
    for id in ["", ".", "..", "a/b", "../a", "a b", "a\nb", "ä", "a:b", "/"] {
        let outcome = container.call(&["create", "--bundle", bundle, id]);
        assert!(outcome.code != 0, "{id:?} was accepted: {outcome}");
    }
}

#[test]
fn create_needs_exactly_one_id() {
    let container = Container::new();
    container.write();
    assert_ne!(container.call(&["create"]).code, 0);
    assert_ne!(container.call(&["create", "a", "b"]).code, 0);
}

#[test]
fn create_names_the_missing_bundle() {
    let container = Container::new();
    container.call(&["create", "--bundle", "/no/such/bundle", &container.id]).fails("no such file or directory");
}

#[test]
fn create_finds_the_bundle_by_option_relative_and_absolute() {
    let container = Container::new();
    container.write();
    for bundle in [container.dir.to_str().unwrap().to_owned(), format!("../{}", container.id), ".".to_owned()] {
        for option in [
            vec!["--bundle".to_owned(), bundle.clone()],
            vec![format!("--bundle={bundle}")],
            vec!["-b".to_owned(), bundle.clone()],
        ] {
            let mut words = vec!["run".to_owned()];
            words.extend(option);
            words.push(container.id.clone());
            container.call(&words).ok();
        }
    }
}

#[test]
fn state_tells_version_id_status_pid_bundle_and_annotations() {
    let container = Container::new().set("/annotations", json!({"org.example.colour": "tabby"})).sleeping();
    let state = container.state();
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
    assert_eq!(state["id"], json!(container.id));
    assert_eq!(state["status"], json!("running"));
    assert_eq!(state["bundle"], json!(container.dir));
    assert_eq!(state["annotations"]["org.example.colour"], json!("tabby"));
    assert_eq!(state["rootfs"], json!(container.rootfs()));
    assert!(host::alive(container.pid()));
    assert_eq!(host::namespace(container.pid(), "pid"), host::namespace(container.pid(), "pid_for_children"));
}

#[test]
fn state_tells_when_the_container_was_created() {
    let container = Container::new().sleeping();
    let created = container.state()["created"].as_str().unwrap().to_owned();
    let year: u32 = created[..4].parse().unwrap();
    assert!(year >= 2024 && created.as_bytes()[10] == b'T' && created.ends_with('Z'), "{created}");
}

#[test]
fn state_of_a_stopped_container_has_no_pid_that_could_be_somebody() {
    let container = Container::new().sleeping();
    container.end();
    let state = container.state();
    assert_eq!(state["status"], "stopped");
    assert!(state["pid"].is_null() || state["pid"] == json!(0), "{state}");
}

#[test]
fn changes_of_config_json_after_create_have_no_effect() {
    let container = Container::new().shell("echo first; hostname");
    container.create().ok();
    let mut other = container.config.clone();
    other["process"]["args"] = json!(["echo", "second"]);
    other["hostname"] = json!("other");
    fs::write(container.dir.join("config.json"), other.to_string()).unwrap();
    let pid = container.pid();
    container.start().ok();
    container::wait_pid(pid);
    assert_eq!(container.output(), "first\nocicat\n");
}

#[test]
fn start_refuses_a_running_container() {
    let container = Container::new().sleeping();
    container.start().fails("cannot start");
    assert_eq!(container.status(), "running");
}

#[test]
fn start_refuses_a_stopped_container() {
    let container = Container::new().sleeping();
    container.end();
    container.start().fails("stopped");
}

#[test]
fn start_fails_when_the_container_has_no_process() {
    only_ocicat!("runc refuses the bundle at create");
    let container = Container::new().edit(|config| {
        config.as_object_mut().unwrap().remove("process");
    });
    container.create().ok();
    assert_eq!(container.status(), "created");
    container.start().fails("process");
}

#[test]
fn every_verb_refuses_an_unknown_id_with_the_words_that_managers_look_for() {
    let container = Container::new();
    for words in [vec!["state"], vec!["start"], vec!["kill"], vec!["delete"], vec!["pause"], vec!["resume"], vec!["ps"]]
    {
        let mut args = words.clone();
        args.push("nobody-has-this-id");
        let outcome = container.call(&args).exits(1).fails("container does not exist");
        assert_eq!(outcome.out, "");
    }
}

#[test]
fn delete_refuses_a_running_container_and_changes_nothing() {
    let container = Container::new().sleeping();
    container.delete().fails("not stopped");
    assert_eq!(container.status(), "running");
}

#[test]
fn delete_takes_a_created_container_without_force() {
    let container = Container::new();
    container.create().ok();
    container.delete().ok();
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn delete_force_kills_and_removes_a_running_container() {
    let container = Container::new().sleeping();
    let pid = container.pid();
    container.call(&["delete", "--force", &container.id]).ok().silently();
    assert!(!host::alive(pid));
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn delete_force_takes_a_paused_container() {
    let container = Container::new().sleeping();
    container.call(&["pause", &container.id]).ok();
    container.call(&["delete", "--force", &container.id]).ok();
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

/// A manager in a container sees the state directory and the cgroups of the host's containers, and none of their processes.
#[test]
fn a_container_is_not_taken_for_stopped_where_its_processes_are_out_of_sight() {
    only_ocicat!("runc says stopped, forgets the state, and the process goes on");
    let container = Container::new().sleeping();
    let pid = container.pid();
    let elsewhere = |words: &[&str]| {
        let own = container.command(words);
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--"]).arg(own.get_program()).args(own.get_args());
        command.current_dir(&container.dir).stdin(container.null());
        finish(command)
    };
    let state: Value = serde_json::from_str(&elsewhere(&["state", &container.id]).ok().out).unwrap();
    assert!(state["status"] == "running" && state["pid"] == 0 && state.get("exit").is_none(), "{state}");
    elsewhere(&["delete", &container.id]).fails("not stopped");
    let id = &container.id;
    for words in [&["exec", id, "true"][..], &["kill", id], &["kill", "--all", id, "KILL"], &["ps", id], &["wait", id]]
    {
        elsewhere(words).fails("made in another pid namespace");
    }
    assert!(host::alive(pid));
    // Who has ended is stopped there too.
    container.end();
    let state: Value = serde_json::from_str(&elsewhere(&["state", &container.id]).ok().out).unwrap();
    assert_eq!(state["status"], "stopped");
    elsewhere(&["delete", &container.id]).ok();
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn a_damaged_record_is_told_and_never_forgotten_silently() {
    only_ocicat!("each has its own state");
    for damage in ["{}\n", "\n", "{\"version\": 1}\n{}\n"] {
        let container = Container::new().sleeping();
        let record = container.root().join(&container.id).join("record");
        let whole = fs::read(&record).unwrap();
        fs::write(&record, damage).unwrap();
        for words in [&["state", &container.id][..], &["delete", &container.id], &["kill", &container.id, "KILL"]] {
            container.call(words).fails("damaged").fails(record.to_str().unwrap());
        }
        fs::write(&record, whole).unwrap();
        container.call(&["delete", "--force", &container.id]).ok();
    }
    // Cut down to nothing it is what a killed create leaves: to be forgotten it takes force.
    let container = Container::new().sleeping();
    let record = container.root().join(&container.id).join("record");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "").unwrap();
    container.call(&["delete", &container.id]).fails("was never created");
    fs::write(&record, whole).unwrap();
    container.call(&["delete", "--force", &container.id]).ok();
}

#[test]
fn delete_takes_no_file_that_is_not_the_runtimes() {
    only_ocicat!("peers take whatever is there");
    let container = Container::new();
    for name in ["documents", "documents~", "documents~1f"] {
        fs::create_dir_all(container.root().join(name).join("record")).unwrap();
        fs::write(container.root().join(name).join("record/precious"), "x").unwrap();
        fs::write(container.root().join(name).join("precious"), "x").unwrap();
    }
    let at = |name: &str| container.root().join("documents").join(name);
    container.call(&["delete", "documents"]).fails("the record of container documents is damaged");
    container.call(&["delete", "--force", "documents"]).fails("which holds precious: directory not empty (ENOTEMPTY)");
    fs::remove_file(at("precious")).unwrap();
    container.call(&["delete", "--force", "documents"]).fails("documents/record: directory not empty (ENOTEMPTY)");
    assert_eq!(fs::read_to_string(at("record/precious")).unwrap(), "x");
    fs::rename(at("record"), at("precious")).unwrap();
    container.call(&["delete", "documents"]).fails("never created");
    container.call(&["delete", "--force", "documents"]).fails("which holds precious: directory not empty (ENOTEMPTY)");
    let listed = container.call(&["list"]).ok();
    assert!(listed.err.contains("container documents was never created"), "{listed}");
    assert_eq!(fs::read_to_string(at("precious/precious")).unwrap(), "x");
    fs::remove_dir_all(container.root().join("documents")).unwrap();
    container.call(&["delete", "--force", "documents"]).ok();
    for name in ["documents~/precious", "documents~1f/record/precious"] {
        assert_eq!(fs::read_to_string(container.root().join(name)).unwrap(), "x");
    }
}

#[test]
fn a_record_that_is_no_file_is_damage_that_list_tells_of_and_force_removes() {
    only_ocicat!("each has its own state");
    type Damage = fn(&std::path::Path);
    let kinds: [(&str, Damage); 5] = [
        ("fifo", |at| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
        ("directory", |at| fs::create_dir(at).unwrap()),
        ("link", |at| std::os::unix::fs::symlink("/etc/passwd", at).unwrap()),
        ("socket", |at| drop(std::os::unix::net::UnixListener::bind(at).unwrap())),
        ("too large", |at| fs::File::create(at).unwrap().set_len(1 << 30).unwrap()),
    ];
    for (kind, damage) in kinds {
        let (container, other) = (Container::new(), Container::new());
        let root = container.root();
        let other = other.global("--root").global(root.to_str().unwrap()).sleeping();
        let directory = root.join(&container.id);
        fs::create_dir_all(&directory).unwrap();
        damage(&directory.join("record"));
        let damaged = format!("the record of container {} is damaged", container.id);
        for words in [&["state"][..], &["pause"], &["start"], &["kill"], &["stats", "--no-stream"], &["delete"]] {
            container.call(&[words, &[&container.id]].concat()).fails(&damaged);
        }
        let listed = container.call(&["list", "--quiet"]).ok();
        assert_eq!((listed.out.trim(), listed.err.contains(&damaged)), (other.id.as_str(), true), "{kind}: {listed}");
        container.call(&["delete", "--force", &container.id]).ok();
        assert_eq!(container.leftovers(), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn what_somebody_has_put_into_the_state_of_a_container_goes_with_it_but_never_what_is_mounted_there() {
    only_ocicat!("each has its own state");
    let container = Container::new().sleeping();
    let directory = container.root().join(&container.id);
    fs::create_dir_all(directory.join("more/below")).unwrap();
    fs::write(directory.join("more/below/file"), "x").unwrap();
    std::os::unix::fs::symlink(container.rootfs(), directory.join("link")).unwrap();
    container.call(&["delete", "--force", &container.id]).ok();
    assert!(container.rootfs().join("bin").exists());
    assert_eq!(container.leftovers(), Vec::<String>::new());
    let container = container.sleeping();
    container.hold_tmpfs(&directory.join("more"));
    fs::write(directory.join("more/precious"), "x").unwrap();
    container.call(&["delete", "--force", &container.id]).fails("more");
    assert_eq!(fs::read_to_string(directory.join("more/precious")).unwrap(), "x");
    container.release();
    fs::remove_dir(directory.join("more")).unwrap();
    container.call(&["delete", "--force", &container.id]).ok();
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn a_container_is_the_same_one_for_a_caller_in_another_time_namespace() {
    only_ocicat!("others know a process by a start time that only one clock tells");
    let in_time = |container: &Container, ahead: &str, words: &[&str]| {
        let own = container.command(words);
        let mut call = std::process::Command::new("unshare");
        call.args(["--time", "--boottime", ahead, "--fork", "--"]).arg(own.get_program()).args(own.get_args());
        call.current_dir(&container.dir).stdin(container.null());
        call
    };
    let probe = Container::new();
    need!(finish(in_time(&probe, "7", &["list"])).code == 0, "needs time namespaces and unshare(1) that makes them");
    for (made_at, seen_at) in [("0", "1000"), ("1000", "0"), ("1000", "-3"), ("0", "0")] {
        let container = Container::new().args(&["sleep", "1000"]);
        container.write();
        let mut make = in_time(&container, made_at, &["run", "--detach", &container.id]);
        make.stdout(std::process::Stdio::null());
        assert_eq!(outcome::code_of(&mut make.spawn().unwrap()), 0);
        let seen = |words: &[&str]| finish(in_time(&container, seen_at, words));
        let id = &container.id;
        assert_eq!(seen(&["state", id]).ok().json()["status"], "running", "{made_at} {seen_at}");
        seen(&["list"]).mentions("running");
        seen(&["delete", id]).fails("that is not stopped: running");
        seen(&["exec", id, "echo", "here"]).says("here");
        seen(&["kill", id, "KILL"]).ok();
        seen(&["wait", id]).mentions("was ended by SIGKILL");
        seen(&["delete", id]).ok();
        assert_eq!(container.leftovers(), Vec::<String>::new(), "{made_at} {seen_at}");
    }
}

#[test]
fn a_created_container_can_be_paused_and_then_not_be_started() {
    only_ocicat!("runc 1.1 starts it");
    let container = Container::new().args(&["true"]);
    container.create().ok();
    container.call(&["pause", &container.id]).ok();
    assert_eq!(container.status(), "paused");
    container.call(&["pause", &container.id]).fails("already paused");
    container.call(&["start", &container.id]).fails("cannot start a paused container");
    container.call(&["resume", &container.id]).ok();
    assert_eq!(container.status(), "created");
    container.start().ok();
}

#[test]
fn delete_force_of_an_unknown_id_succeeds_and_says_nothing() {
    let container = Container::new();
    for flag in ["--force", "-f"] {
        let outcome = container.call(&["delete", flag, "nobody-has-this-id"]).ok().silently();
        assert_eq!(outcome.out, "");
    }
}

#[test]
fn delete_force_ends_the_whole_tree_of_a_container_in_the_hosts_pid_namespace() {
    let container = Container::new().without_namespace("pid");
    let mut ready = container.fifo("ready");
    let container = container.shell("(sleep 1000 & sleep 1000 & echo up > /ready; wait) & exec sleep 1000").detached();
    assert_eq!(ready.line(), "up");
    container.call(&["delete", "--force", &container.id]).ok();
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn delete_force_ends_processes_that_the_first_process_left_behind() {
    let container = Container::new().without_namespace("pid");
    let (mut ready, mut go) = (container.fifo("ready"), container.fifo("go"));
    let container = container.shell("sleep 1000 & echo up > /ready; read word < /go").detached();
    let pid = container.pid();
    assert_eq!(ready.line(), "up");
    go.tell("go\n");
    container::wait_pid(pid);
    assert_eq!(container.status(), "stopped");
    container.call(&["delete", "--force", &container.id]).ok();
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn a_failed_create_leaves_nothing() {
    let wrong: &[(&str, Value)] = &[
        (
            "/mounts/-",
            json!({"destination": "/data", "type": "bind", "source": "/no/such/source", "options": ["bind"]}),
        ),
        ("/process/args", json!(["/no/such/program"])),
        ("/process/rlimits/-", json!({"type": "RLIMIT_BOGUS", "hard": 1, "soft": 1})),
        ("/linux/namespaces/-", json!({"type": "bogus"})),
        ("/linux/namespaces/0", json!({"type": "pid", "path": "/no/such/namespace"})),
        ("/linux/sysctl", json!({"kernel.core_pattern": "decoy"})),
        ("/root/path", json!("no-such-rootfs")),
        ("/hooks/createRuntime", json!([{"path": "/bin/false"}])),
        ("/hooks/createContainer", json!([{"path": "/bin/false"}])),
    ];
    for (place, value) in wrong {
        let container = Container::new().set(place, value.clone());
        let outcome = container.create();
        assert!(outcome.code != 0, "{place} = {value} was accepted");
        assert_eq!(container.leftovers(), Vec::<String>::new(), "{place} = {value}");
        container.call(&["state", &container.id]).fails("does not exist");
    }
}

#[test]
fn a_failed_run_leaves_nothing() {
    let container = Container::new().args(&["/no/such/program"]);
    container.run().fails("no such file or directory");
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn unknown_properties_are_ignored() {
    Container::new().set("/noSuchProperty", json!({"a": 1})).set("/process/noSuchProperty", json!([1])).run().ok();
}

#[test]
fn every_version_1_of_the_spec_is_accepted() {
    only_ocicat!("crun 1.8 refuses versions newer than itself");
    for version in ["1.0.0", "1.0.2", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0", "1.3.0+dev", "1.99.0"] {
        Container::new().set("/ociVersion", json!(version)).run().ok();
    }
}

#[test]
fn other_versions_of_the_spec_are_refused() {
    only_ocicat!("runc 1.1 takes any version");
    for version in ["", "2.0.0", "0.9.0", "one"] {
        let container = Container::new().set("/ociVersion", json!(version));
        container.run().fails("ociVersion");
    }
}

#[test]
fn twenty_containers_live_side_by_side() {
    let mut children = Vec::new();
    let containers: Vec<Container> = (0..20).map(|number| Container::new().shell(&format!("echo {number}"))).collect();
    for container in &containers {
        container.write();
        let mut command = container.command(&["run", &container.id]);
        command.stdout(std::process::Stdio::piped());
        children.push(command.spawn().unwrap());
    }
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"));
    }
}

#[test]
fn containers_share_one_state_root() {
    let (first, second) = (Container::new().sleeping(), Container::new().args(&["sleep", "1000"]));
    second.write();
    let mut command = std::process::Command::new(runtime());
    command.arg("--root").arg(first.root()).args(["run", "--detach", "--bundle"]).arg(&second.dir).arg(&second.id);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    assert!(command.status().unwrap().success());
    let listed = first.call(&["list", "--quiet"]).ok().text();
    assert!(listed.contains(&first.id) && listed.contains(&second.id), "{listed}");
    first.call(&["delete", "--force", &second.id]).ok();
    assert_eq!(first.status(), "running");
}

#[test]
fn the_first_process_is_a_child_of_the_callers_subreaper_and_of_no_helper() {
    let container = Container::new().sleeping();
    let text = fs::read_to_string(format!("/proc/{}/stat", container.pid())).unwrap();
    let parent: u32 = text.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(parent, std::process::id());
    assert_eq!(
        host::processes_of(&container.id, std::path::Path::new("/nowhere")).len(),
        0,
        "a helper of the runtime lives on"
    );
}

#[test]
fn the_state_directory_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let container = Container::new().sleeping();
    let mode = fs::metadata(container.root().join(&container.id)).unwrap().permissions().mode() & 0o777;
    assert!(mode & 0o066 == 0, "{mode:o}");
}
