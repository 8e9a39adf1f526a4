use super::*;
use crate::sys::forked::in_child;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

fn process(args: &[&str], env: &[&str], cwd: &str) -> Process {
    let all = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Process { args: all(args), env: all(env), cwd: cwd.to_owned(), ..Process::default() }
}

fn environment_of(plan: &Plan) -> String {
    plan.environment.iter().map(|e| e.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn of_two_variables_the_last_one_counts() {
    let rows: &[(&[&str], &[&str], &str)] = &[
        (&[], &[], ""),
        (&["A=1", "B=2", "A=3"], &[], "B=2 A=3"),
        (&["A=1=2", "B="], &["C=3"], "A=1=2 B= C=3"),
        (&["NOTIFY_SOCKET=x"], &["NOTIFY_SOCKET=y"], "NOTIFY_SOCKET=y"),
        (&["HOME="], &[], ""),
        (&["A"], &[], "process.env[0]: \"A\" has no form NAME=VALUE"),
        (&["A=1", "=1"], &[], "process.env[1]: \"=1\" has no form NAME=VALUE"),
        (&["A=\0"], &[], "process.env[0]: \"A=\\0\" has a zero byte"),
    ];
    for (env, additional, expected) in rows {
        let additional: Vec<String> = additional.iter().map(|text| (*text).to_owned()).collect();
        let planned = plan(&process(&["x"], env, "/"), &additional);
        assert_eq!(planned.map_or_else(|e| e.to_string(), |plan| environment_of(&plan)), *expected);
    }
}

#[test]
fn nothing_to_execute_and_a_relative_directory_are_refused() {
    let said = |args: &[&str], cwd| plan(&process(args, &[], cwd), &[]).unwrap_err().to_string();
    assert_eq!(said(&[], "/"), "process.args: nothing to execute");
    assert_eq!(said(&["x"], "tmp"), "process.cwd: \"tmp\" is not an absolute path");
    assert_eq!(said(&["x"], ""), "process.cwd: \"\" is not an absolute path");
}

/// A root with etc/passwd of that content; `None` makes a FIFO.
fn home(passwd: Option<&str>, env: &[&str], uid: u32) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    let path = directory.path().join("etc/passwd");
    match passwd {
        Some(text) => {
            std::io::Write::write_all(&mut std::fs::File::create_new(&path).unwrap(), text.as_bytes()).unwrap()
        }
        None => rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o644)).unwrap(),
    }
    let root = files::open(directory.path(), OFlags::PATH).unwrap();
    let mut plan = plan(&process(&["x"], env, "/"), &[]).unwrap();
    fill_home(&mut plan, root.as_fd(), uid).unwrap();
    environment_of(&plan)
}

#[test]
fn home_is_filled_in_from_the_containers_own_passwd() {
    let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nu:x:7:7::/home/u:/bin/sh\nodd:x:8:8::relative:\n";
    let rows: &[(Option<&str>, &[&str], u32, &str)] = &[
        (Some(passwd), &[], 0, "HOME=/root"),
        (Some(passwd), &["A=1"], 7, "A=1 HOME=/home/u"),
        (Some(passwd), &[], 99, "HOME=/"),
        (Some(passwd), &[], 8, "HOME=/"),
        (Some(passwd), &["HOME=/mine"], 7, "HOME=/mine"),
        (Some(passwd), &["HOME="], 7, "HOME=/home/u"),
        (Some(""), &[], 0, "HOME=/"),
        (None, &[], 0, "HOME=/"),
    ];
    for (passwd, env, uid, expected) in rows {
        assert_eq!(home(*passwd, env, *uid), *expected);
    }
}

#[test]
fn a_missing_directory_is_made_inside_of_the_root_only() {
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), directory.path().join("link")).unwrap();
    let root = files::open(directory.path(), OFlags::PATH).unwrap();
    for (cwd, made) in [("/a/b/c", "a/b/c"), ("/a/./d", "a/d"), ("/../e", "e"), ("/", "")] {
        make_directory(&plan(&process(&["x"], &[], cwd), &[]).unwrap(), root.as_fd()).unwrap();
        assert!(directory.path().join(made).is_dir(), "{cwd}");
    }
    let through_link = make_directory(&plan(&process(&["x"], &[], "/link/f"), &[]).unwrap(), root.as_fd());
    assert!(through_link.is_err() && std::fs::read_dir(outside.path()).unwrap().next().is_none());
}

#[test]
fn a_directory_outside_of_the_root_is_refused() {
    let said = in_child(|| {
        let outside = files::open("/tmp", OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir(inside.path().join("proc")).unwrap();
        crate::sys::clone::unshare(libc::CLONE_NEWNS as u64).map_err(|e| e.to_string())?;
        rustix::mount::mount_change(
            "/",
            rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
        )
        .map_err(|e| e.to_string())?;
        rustix::mount::mount_bind("/proc", inside.path().join("proc")).map_err(|e| e.to_string())?;
        std::os::unix::fs::chroot(inside.path()).unwrap();
        let cwd = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&outside));
        let entered = enter_directory(&plan(&process(&["x"], &[], &cwd), &[]).unwrap());
        let text = entered.unwrap_err().to_string().replace(&cwd, "FD");
        Ok(format!("{text}; {}", rustix::process::getcwd(Vec::new()).unwrap().to_string_lossy()))
    });
    assert_eq!(said.unwrap(), "process.cwd: FD is outside of the container's root filesystem; /");
}

#[test]
fn what_cannot_run_is_said_in_the_words_that_managers_match() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for (name, mode, text) in [
        ("good", 0o755, "#!/bin/sh\n"),
        ("nx", 0o644, "x"),
        ("crlf", 0o755, "#!/bin/sh\r\n"),
        ("bad", 0o755, "#!/no/such\n"),
        ("noxs", 0o755, "#!/etc/passwd\n"),
    ] {
        std::io::Write::write_all(&mut std::fs::File::create_new(path(name)).unwrap(), text.as_bytes()).unwrap();
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let rows: &[(&str, &str)] = &[
        ("D/good", "D/good"),
        ("good", "D/good"),
        ("sh", "exec: \"sh\": executable file not found in $PATH: no such file or directory (ENOENT)"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory (ENOENT)"),
        ("/etc/passwd/x", "exec: \"/etc/passwd/x\": stat /etc/passwd/x: not a directory (ENOTDIR)"),
        ("D/nx", "exec: \"D/nx\": its mode 0644 does not allow it: permission denied (EACCES)"),
        ("nx", "exec: \"nx\": its mode 0644 does not allow it: permission denied (EACCES)"),
        ("/tmp", "exec: \"/tmp\": is a directory (EISDIR)"),
        ("/dev/null", "exec: \"/dev/null\": permission denied (EACCES)"),
        (
            "bad",
            "exec: \"bad\": the interpreter /no/such of its first line is missing: stat /no/such: no such file or directory (ENOENT)",
        ),
        (
            "D/noxs",
            "exec: \"D/noxs\": the interpreter /etc/passwd of its first line may not be executed: permission denied (EACCES)",
        ),
        (
            "D/crlf",
            "exec: \"D/crlf\": its first line ends in CRLF, as on Windows, and so names the interpreter \"/bin/sh\\r\": \
             stat \"/bin/sh\\r\": no such file or directory (ENOENT)",
        ),
        ("", "exec: \"\": executable file not found in $PATH: no such file or directory (ENOENT)"),
    ];
    let base = directory.path().to_str().unwrap();
    for (name, expected) in rows {
        let search = format!("PATH=/nowhere:{base}");
        let plan = plan(&process(&[&name.replace("D/", &format!("{base}/"))], &[&search], "/"), &[]).unwrap();
        let said = find(&plan).map_or_else(|e| format!("{e:#}"), |path| path.to_string_lossy().into_owned());
        assert_eq!(said.replace(base, "D"), *expected, "{name}");
    }
}
