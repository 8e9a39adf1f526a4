//! The standard streams of a container: what they were, so that a restore can put others in their place.

use crate::config::Config;
use crate::sys::nodes;
use rustix::fs::CWD;
use std::path::Path;

/// What the runtime's own standard streams are, as /proc/self/fd says it: the container gets them, unless it has a terminal.
pub(super) fn own(config: &Config) -> Vec<String> {
    if config.process.as_ref().is_some_and(|process| process.terminal) {
        return Vec::new();
    }
    let link = |stream: u8| nodes::readlink(CWD, Path::new(&format!("/proc/self/fd/{stream}")));
    (0..3).map(|stream| link(stream).map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()).collect()
}

/// The pipes among them, by number: each of the three is replaced by the runtime's own stream of that number. A pipe that
/// is two of them is given once, the first.
pub(super) fn pipes(streams: &[String]) -> impl Iterator<Item = (i32, &str)> {
    let numbered = (0_i32..).zip(streams.iter().take(3).map(String::as_str));
    numbered.filter(|(number, stream)| {
        let before = streams.get(..*number as usize).unwrap_or_default();
        stream.starts_with("pipe:[") && !before.iter().any(|other| other == stream)
    })
}

/// What the streams are after a restore: where there was a pipe the runtime's own, and as it was elsewhere.
pub(super) fn restored(before: &[String], own: &[String]) -> Vec<String> {
    let first = |stream: &String| before.iter().position(|other| other == stream);
    let replaced = |stream: &String| first(stream).filter(|_| stream.starts_with("pipe:[")).and_then(|at| own.get(at));
    before.iter().map(|stream| replaced(stream).unwrap_or(stream).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn pipes_are_replaced_once_and_nothing_else_is() {
        type Row = (&'static [&'static str], &'static [(i32, &'static str)]);
        let rows: &[Row] = &[
            (&["/dev/null", "pipe:[7]", "pipe:[8]"], &[(1, "pipe:[7]"), (2, "pipe:[8]")]),
            (&["/dev/null", "pipe:[7]", "pipe:[7]"], &[(1, "pipe:[7]")]),
            (&["socket:[1]", "/tmp/pipe:[9]", "/dev/pts/0"], &[]),
            (&[], &[]),
        ];
        for (streams, expected) in rows {
            assert_eq!(pipes(&texts(streams)).collect::<Vec<_>>(), *expected, "{streams:?}");
        }
    }

    #[test]
    fn after_a_restore_the_streams_are_those_that_took_the_pipes_place() {
        let own = texts(&["pipe:[70]", "pipe:[71]", "/dev/null"]);
        let rows: [(&[&str], &[&str]); 2] =
            [(&["/dev/null", "pipe:[7]", "pipe:[7]"], &["/dev/null", "pipe:[71]", "pipe:[71]"]), (&[], &[])];
        for (before, expected) in rows {
            assert_eq!(restored(&texts(before), &own), expected);
        }
    }

    #[test]
    fn the_runtimes_own_streams_are_told_unless_there_is_a_terminal() {
        assert_eq!(own(&Config::default()).len(), 3);
        let terminal: Config = serde_json::from_str(
            r#"{"process": {"terminal": true, "cwd": "/", "args": ["a"], "user": {"uid": 0, "gid": 0}}}"#,
        )
        .unwrap();
        assert!(own(&terminal).is_empty());
    }
}
