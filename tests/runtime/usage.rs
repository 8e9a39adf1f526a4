//! stats, events, plan and doctor: what is told of containers and of the host.

use crate::common::outcome::code_of;
use crate::common::terminal::Terminal;
use crate::common::*;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// A container that keeps one processor busy once it has said so.
fn busy() -> Container {
    let container = Container::new();
    let mut ready = container.fifo("ready");
    let container = container.shell("echo up > /ready; while :; do :; done").detached();
    assert_eq!(ready.line(), "up");
    container
}

#[test]
fn stats_tell_programs_what_a_container_uses() {
    only_ocicat!("the peers have no stats");
    let container = busy();
    let call = |words: &[&str]| {
        let mut all = vec!["stats", "--no-stream", "--interval", "200ms", "--format", "json"];
        all.extend(words);
        container.call(&all).ok().silently().json()
    };
    for words in [&[][..], &[container.id.as_str()]] {
        let said = call(words);
        assert_eq!(said["id"], json!(container.id));
        assert!(said["cpuPercent"].as_f64().unwrap() > 0.0, "{said}");
        assert!(said["network"]["in"].is_u64() && said["block"]["out"].is_u64(), "{said}");
        if host::limits("memory") {
            let memory = |name: &str| said["memory"][name].as_f64().unwrap();
            assert!(memory("usage") > 0.0 && memory("limit") > memory("usage") && memory("percent") > 0.0, "{said}");
        }
        if host::limits("pids") {
            assert!(said["pids"]["current"].as_u64().unwrap() >= 1, "{said}");
        }
    }
}

#[test]
fn stats_as_a_table_have_a_heading_and_no_colour_where_there_is_no_terminal() {
    only_ocicat!("the peers have no stats");
    let container = busy();
    let outcome = container.call(&["stats", "--no-stream", "--interval", "100ms"]).ok().silently();
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert!(lines.len() == 2 && !outcome.out.contains('\x1b'), "{outcome}");
    for column in ["ID", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS", "PRESSURE"] {
        assert!(lines[0].contains(column), "no {column}: {outcome}");
    }
    assert!(lines[1].starts_with(&container.id) && lines[1].contains('%'), "{outcome}");
}

#[test]
fn stats_of_a_container_that_does_not_run_are_refused() {
    only_ocicat!("the peers have no stats");
    let container = Container::new().args(&["sleep", "1000"]);
    container.call(&["stats", &container.id]).fails("container does not exist");
    container.create().ok();
    container.call(&["stats", &container.id]).fails("container not running");
    container.call(&["stats", "--interval", "0s"]).fails("invalid interval");
    // Of all containers none runs: an empty table.
    let outcome = container.call(&["stats", "--no-stream", "--interval", "10ms"]).ok();
    assert_eq!(outcome.out.lines().count(), 1, "{outcome}");
}

#[test]
fn stats_end_when_what_they_were_asked_for_has_ended() {
    only_ocicat!("the peers have no stats");
    let container = busy();
    let mut command = container.command(&["stats", "--interval", "50ms", "--format", "json", &container.id]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains(&container.id));
    container.end();
    for line in lines {
        line.unwrap();
    }
    assert_eq!(code_of(&mut child), 0);
}

#[test]
fn stats_end_when_nobody_reads_any_more() {
    only_ocicat!("the peers have no stats");
    let container = busy();
    for words in [&["stats", "--interval", "1h"][..], &["events", "--interval", "50ms", &container.id]] {
        let mut child = container.command(words).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(code_of(&mut child), 0, "{words:?}");
    }
}

/// `stats` on a terminal with these variables, until it has drawn twice; then Ctrl-C.
fn on_a_terminal(container: &Container, variables: &[(&str, &str)]) -> Outcome {
    let command = container.command(&["stats", "--interval", "50ms"]);
    let mut with = Command::new("env");
    with.args(["-u", "NO_COLOR", "TERM=xterm"]);
    with.args(variables.iter().map(|(name, value)| format!("{name}={value}")));
    with.arg(command.get_program()).args(command.get_args()).current_dir(&container.dir);
    let mut terminal = Terminal::new();
    terminal.resize(24, 200);
    let child = terminal.spawn(&with);
    terminal.expect(&container.id);
    terminal.expect(if variables.contains(&("TERM", "dumb")) { "%   " } else { "\x1b[J" });
    terminal.write("\x03");
    terminal.finish(child).exits(0)
}

#[test]
fn stats_on_a_terminal_are_drawn_in_place_until_control_c() {
    only_ocicat!("the peers have no stats");
    let container = busy();
    let outcome = on_a_terminal(&container, &[]);
    assert!(outcome.out.contains("\x1b[2A\r\x1b[J") && outcome.out.contains("\x1b[1mID"), "{outcome}");
    let outcome = on_a_terminal(&container, &[("NO_COLOR", "1")]);
    assert!(outcome.out.contains("\x1b[2A\r\x1b[J"), "{outcome}");
    assert!(!outcome.out.contains("\x1b[1m") && !outcome.out.contains("\x1b[3"), "{outcome}");
    let outcome = on_a_terminal(&container, &[("TERM", "dumb")]);
    assert!(!outcome.out.contains('\x1b'), "{outcome}");
}

#[test]
fn ages_are_told_on_a_terminal_only() {
    only_ocicat!("the peers have no ages");
    need!(host::has("ps"), "needs ps of procps");
    let container = Container::new().sleeping();
    for words in [&["list"][..], &["ps", &container.id]] {
        let terminal = Terminal::new();
        terminal.resize(24, 200);
        let child = terminal.spawn(&container.command(words));
        let outcome = terminal.finish(child).exits(0);
        assert!(outcome.out.lines().next().unwrap().contains("AGE"), "{words:?}: {outcome}");
        assert!(outcome.out.lines().next().unwrap().contains("PID"), "{words:?}: {outcome}");
        assert!(!container.call(words).ok().out.contains("AGE"), "{words:?}");
    }
}

#[test]
fn events_have_the_shape_that_managers_parse() {
    need!(!runtime().ends_with("crun"), "crun has no events");
    let container = busy();
    let said = container.call(&["events", "--stats", &container.id]).ok().silently().json();
    assert_eq!((&said["type"], &said["id"]), (&json!("stats"), &json!(container.id)));
    for place in
        ["cpu/usage/total", "cpu/usage/kernel", "cpu/usage/user", "cpu/throttling/periods", "memory/usage/usage"]
    {
        assert!(said.pointer(&format!("/data/{place}")).is_some_and(Value::is_u64), "{place}: {said}");
    }
    assert!(said.pointer("/data/memory/raw").is_some_and(Value::is_object), "{said}");
    assert!(said.pointer("/data/blkio").is_some_and(Value::is_object), "{said}");
    if host::limits("pids") {
        assert!(said.pointer("/data/pids/current").is_some_and(Value::is_u64), "{said}");
    }
    only_ocicat!("runc counts stalls and huge pages from 1.2 on");
    for (place, wanted) in
        [("cpu/psi/some/total", host::pressure("cpu")), ("memory/psi/full/avg10", host::pressure("memory"))]
    {
        assert_eq!(said.pointer(&format!("/data/{place}")).is_some(), wanted, "{place}: {said}");
    }
}

#[test]
fn events_tell_statistics_again_and_again_and_the_want_of_memory() {
    only_ocicat!("the order of the first two events is ours");
    need!(host::limits("memory"), "needs the memory controller");
    let container = Container::new().set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    let mut go = container.fifo("go");
    let container = container.shell("read go < /go; tail /dev/zero; read go < /go").detached();
    let mut command = container.command(&["events", "--interval", "100ms", &container.id]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let kinds =
        lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["type"].as_str().unwrap().to_owned());
    let mut kinds = kinds.inspect(|kind| assert!(["stats", "oom"].contains(&kind.as_str())));
    assert_eq!((kinds.next().as_deref(), kinds.next().as_deref()), (Some("stats"), Some("stats")));
    go.tell("go\n");
    assert!(kinds.any(|kind| kind == "oom"));
    go.tell("go\n");
    // The container has ended, and so have the events.
    assert_eq!(kinds.filter(|kind| kind != "stats" && kind != "oom").count(), 0);
    assert_eq!(code_of(&mut child), 0);
}

#[test]
fn plan_prints_the_steps_and_makes_nothing() {
    only_ocicat!("the peers have no plan");
    let container = Container::new().set("/hooks/poststart", json!([{"path": "/bin/true"}]));
    container.write();
    let outcome = container.call(&["plan", &container.id]).ok().silently();
    let at = |wanted: &str| {
        let found = outcome.out.lines().position(|line| line.starts_with(wanted));
        found.unwrap_or_else(|| panic!("no {wanted:?} in {outcome}"))
    };
    let order =
        ["mkdir ", "init: clone with new [", "hostname ocicat", "mounts[0] (/proc): ", "pivot_root", "mask /proc/acpi"];
    let then = ["no_new_privs", "wait for start", "execute [\"true\"]", "hook poststart /bin/true"];
    let places: Vec<usize> = order.iter().chain(&then).copied().map(at).collect();
    assert!(places.is_sorted(), "{places:?} {outcome}");
    assert!(outcome.out.contains(&container.cgroup), "{outcome}");
    let lines = container.call(&["plan", "--format", "json", &container.id]).ok().json();
    assert_eq!(lines.as_array().unwrap().len(), outcome.out.lines().count());
    assert!(!container.root().exists());
    assert_eq!(container.leftovers(), Vec::<String>::new());
    let wrong = container.set("/process/cwd", json!("here"));
    wrong.write();
    wrong.call(&["plan"]).fails("process.cwd");
}

#[test]
fn doctor_tells_one_line_for_each_topic() {
    only_ocicat!("the peers have no doctor");
    let container = Container::new();
    let outcome = container.call(&["doctor"]).ok().silently();
    for topic in
        ["kernel", "cgroups", "user namespaces", "id ranges", "seccomp", "Landlock", "labels", "systemd", "criu"]
    {
        assert_eq!(
            outcome.out.lines().filter(|line| line.contains(&format!(" {topic}: "))).count(),
            1,
            "{topic}: {outcome}"
        );
    }
    for line in outcome.out.lines() {
        let well = line.starts_with("ok ");
        assert!(
            well || (line.contains("; hint: ") && (line.starts_with("limited ") || line.starts_with("missing "))),
            "{line}"
        );
    }
    let found = container.call(&["doctor", "--format", "json"]).ok().json();
    assert_eq!(found.as_array().unwrap().len(), outcome.out.lines().count());
}
