//! What `check` says about a config.json that is not wrong: the specification and the kernel take it, but it may not be meant.

use crate::config::{Config, Mount, unknown};
use crate::rootfs::options::Options;
use crate::sys::files;

/// Properties of other platforms (config.md, "Platform-specific configuration"): known, and none of ours.
const ELSEWHERE: &[(&str, &str)] = &[
    ("", "freebsd"),
    ("", "solaris"),
    ("", "vm"),
    ("", "windows"),
    ("", "zos"),
    ("process", "commandLine"),
    ("process.user", "username"),
];

/// Types that the runtime turns into something else before the kernel sees them.
const OUR_TYPES: &[&str] = &["", "none", "bind", "cgroup", "cgroup2"];

/// Everything about `config`, which was read from `raw`.
pub fn notes(config: &Config, raw: &[u8]) -> Vec<String> {
    let filesystems = files::read_text("/proc/filesystems").ok();
    let types = filesystems.as_deref().map(|known| types(&config.mounts, known)).unwrap_or_default();
    properties(raw).into_iter().chain(types).chain(options(&config.mounts)).collect()
}

fn properties(raw: &[u8]) -> Vec<String> {
    let found = unknown::properties::<Config>(raw).into_iter();
    let ours = found.filter(|one| !ELSEWHERE.contains(&(one.place.as_str(), one.name.as_str())));
    ours.map(|one| {
        let place = if one.place.is_empty() { String::new() } else { format!("{}: ", one.place) };
        let hint = one.near.map(|near| format!("; hint: {near:?}")).unwrap_or_default();
        format!("{place}unknown property {:?} is left out{hint}", one.name)
    })
    .collect()
}

/// Mounts of a type that the kernel does not list (proc(5)); it may load a module for it, so this is no error.
fn types(mounts: &[Mount], known: &str) -> Vec<String> {
    let is_known = |kind: &str| known.lines().any(|line| line.split_whitespace().last() == Some(kind));
    let is_bind = |mount: &Mount| mount.options.iter().any(|option| option == "bind" || option == "rbind");
    let asked = mounts.iter().enumerate().filter(|(_, mount)| !is_bind(mount));
    asked
        .filter_map(|(i, mount)| Some((i, mount, mount.kind.as_deref()?)))
        .filter(|(.., kind)| !OUR_TYPES.contains(kind) && !is_known(kind))
        .map(|(i, mount, kind)| {
            format!("mounts[{i}] ({}): /proc/filesystems lists no type {kind:?}", mount.destination.display())
        })
        .collect()
}

/// Options of bind mounts that only a filesystem could be told: a bind mount makes none.
fn options(mounts: &[Mount]) -> Vec<String> {
    let mut notes = Vec::new();
    for (i, mount) in mounts.iter().enumerate() {
        let understood = Options::parse(&mount.options);
        let names = understood.data.into_iter().map(|(name, _)| name);
        for name in names.filter(|_| understood.bind.is_some() && !understood.remount) {
            let place = mount.destination.display();
            notes.push(format!("mounts[{i}] ({place}): a bind mount has no option {name:?}, it is left out"));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_meant_is_told() {
        let raw = r#"{"windows": {}, "hostnam": "x", "process": {"user": {"username": "u", "uuid": 1}, "commandLine": ""},
            "mounts": [{"destination": "/a", "type": "tmpfss"}, {"destination": "/b", "type": "tmpfs"},
                {"destination": "/c", "type": "any", "options": ["rbind", "ro", "idmap=uids=0-1-2;gids=0-1-2"]}, {"destination": "/d", "type": "cgroup"}, {"destination": "/e"}]}"#;
        let config: Config = crate::spec::read::parse(raw.as_bytes()).unwrap();
        let expected = [
            "unknown property \"hostnam\" is left out; hint: \"hostname\"",
            "process.user: unknown property \"uuid\" is left out; hint: \"uid\"",
            "mounts[0] (/a): /proc/filesystems lists no type \"tmpfss\"",
            "mounts[2] (/c): a bind mount has no option \"idmap\", it is left out",
        ];
        let types = types(&config.mounts, "nodev\ttmpfs\n\text4\n");
        assert_eq!([properties(raw.as_bytes()), types, options(&config.mounts)].concat(), expected);
    }
}
