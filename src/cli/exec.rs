//! `ocicat exec`: a further process in a running container.

use super::arguments::{Given, number};
use super::command::{Command, Flag, Positionals};
use super::create::{CONSOLE_SOCKET, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS};
use super::run::DETACH;
use super::{Ended, Invocation};
use crate::container::{self, Exec, Notice};
use anyhow::{Context, Result, bail};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "exec",
    about: "Runs a further process in a running container",
    details: "The exit code is the program's, 128 + N when signal N ended it, and 255 when it could not be run. Options end at \
              the id: what follows belongs to the program.",
    positionals: Positionals { required: &["container-id"], optional: None, rest: Some("command") },
    flags: &[
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        Flag::value("cwd", "DIR", "working directory in the container"),
        Flag::value("env", "NAME=VALUE", "add to the environment").short('e').repeated(),
        Flag::switch("tty", "give it a pseudoterminal").short('t'),
        Flag::value("user", "UID[:GID]", "run as this user").short('u'),
        Flag::value("additional-gids", "GID", "add a group").short('g').repeated(),
        Flag::value("process", "FILE", "a process.json that says what to run").short('p'),
        DETACH,
        PID_FILE,
        Flag::value("process-label", "LABEL", "SELinux label of the process"),
        Flag::value("apparmor", "PROFILE", "AppArmor profile of the process"),
        Flag::switch("no-new-privs", "forbid it to gain privileges by execve"),
        Flag::value("cap", "CAPABILITY", "add a capability to its sets").short('c').repeated(),
        PRESERVE_FDS,
        Flag::value("cgroup", "[CONTROLLER:]PATH", "run in a cgroup below the container's").repeated(),
        Flag::switch("ignore-paused", "run in a paused container; it will wait until that is resumed"),
    ],
    examples: &[
        ("exec -t web sh", "start a shell in the container `web`"),
        ("exec --user 1000:1000 --env LANG=C web ls -l /", "list its root as user 1000"),
    ],
    failure: 255,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let request = request(&invocation.given).context("exec failed")?;
    let notice = |notice: Notice<'_>| super::log::notice(&invocation.globals, notice);
    let code = container::exec(&invocation.runtime()?, &request, &notice).context("exec failed")?;
    Ok(Ended::Program(code))
}

fn request(given: &Given) -> Result<Exec> {
    let args = given.arguments.get(1..).unwrap_or_default().to_vec();
    if args.is_empty() && given.value("process").is_none() {
        bail!("nothing to run; hint: name a program after the id, or give --process");
    }
    let gids = given.all("additional-gids");
    let gids = gids.iter().flat_map(|g| g.split(',')).map(|g| number("additional-gids", g));
    Ok(Exec {
        id: given.argument(0).to_owned(),
        process: given.owned("process"),
        args,
        cwd: given.owned("cwd"),
        env: given.all("env"),
        terminal: given.is("tty"),
        user: given.owned("user"),
        additional_gids: gids.collect::<Result<Vec<u32>>>()?,
        detach: given.is("detach"),
        pid_file: given.owned("pid-file"),
        console_socket: given.owned("console-socket"),
        pidfd_socket: given.owned("pidfd-socket"),
        process_label: given.owned("process-label"),
        apparmor: given.owned("apparmor"),
        no_new_privileges: given.is("no-new-privs"),
        capabilities: given.all("cap"),
        preserve_fds: given.number("preserve-fds")?.unwrap_or(0),
        cgroup: given.all("cgroup"),
        ignore_paused: given.is("ignore-paused"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments;

    fn of(line: &str) -> Result<Exec> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        request(&arguments::command(&COMMAND, &words)?)
    }

    #[test]
    fn the_options_become_a_request() {
        let exec = of("-t -d -u 1:2 -e A=1 --env B=2 -g 5 -g 6,7 --cap CAP_KILL --cwd /w --cgroup cpu:x \
                       --cgroup y --apparmor a --process-label l --no-new-privs --ignore-paused --preserve-fds=1 web ls -l")
        .unwrap();
        assert!(exec.terminal && exec.detach && exec.no_new_privileges && exec.ignore_paused);
        assert_eq!(exec.args, ["ls", "-l"]);
        assert_eq!(exec.env, ["A=1", "B=2"]);
        assert_eq!(exec.additional_gids, [5, 6, 7]);
        assert_eq!(exec.cgroup, ["cpu:x", "y"]);
        assert_eq!(exec.capabilities, ["CAP_KILL"]);
        assert_eq!((exec.user.as_deref(), exec.cwd.as_deref()), (Some("1:2"), Some("/w")));
        assert_eq!((exec.apparmor.as_deref(), exec.process_label.as_deref()), (Some("a"), Some("l")));
        assert_eq!(exec.preserve_fds, 1);
    }

    #[test]
    fn a_process_file_needs_no_program() {
        assert_eq!(of("--process p.json web").unwrap().args.len(), 0);
        assert!(of("web").is_err());
        assert!(of("--additional-gids staff web id").is_err());
    }
}
