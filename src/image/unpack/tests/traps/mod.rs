//! Every trap that image tools fell into, one layer each, and V: a directory outside the root that nobody may touch.
//! conformance/traps.tsv lists them: a case without a row fails, and so does a row without a case.

mod archives;
mod files;
mod links;
mod races;
mod whiteouts;

use super::archive::Tar;
use super::{Heard, flat, stacked};
use crate::image::layers::Options;
use std::path::Path;

const TABLE: &str = include_str!("../../../../../conformance/traps.tsv");

/// One tree, or a directory for each layer.
type Way = fn(&[Vec<u8>], &Options, &Heard) -> Result<Vec<String>, String>;
const WAYS: [(&str, Way); 2] = [("flat", flat), ("stacked", stacked)];

/// acl(5) as the kernel keeps it: user::rwx, user:7:rwx, group::---, mask::rwx, other::---.
const ACL: &[u8] = b"\x02\0\0\0\
    \x01\0\x07\0\xff\xff\xff\xff\
    \x02\0\x07\0\x07\0\0\0\
    \x04\0\0\0\xff\xff\xff\xff\
    \x10\0\x07\0\xff\xff\xff\xff\
    \x20\0\0\0\xff\xff\xff\xff";

/// Name, layers, and what must come of them.
type Case = (&'static str, Vec<Vec<u8>>, Outcome);

/// What must come out.
enum Outcome {
    /// Lines that must be there (`TYPE MODE NAME...`, without owner and time); `! NAME` must not.
    Tree(&'static [&'static str]),
    /// The error has this.
    Refused(&'static str),
}
use Outcome::{Refused, Tree};

/// Names and outcomes that the table has for a test.
fn rows(test: &str) -> Vec<(&'static str, &'static str)> {
    let cells = TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect::<Vec<_>>());
    cells.filter(|cells| cells[2] == test).map(|cells| (cells[0], cells[1])).collect()
}

/// The cases of a test are those of the table, each with its outcome.
fn known(test: &str, cases: &[(&str, Option<&str>)]) {
    let mut rows = rows(test);
    for (name, refused) in cases {
        let place = rows.iter().position(|(row, _)| row == name);
        let place = place.unwrap_or_else(|| panic!("conformance/traps.tsv has no row {name:?} of {test}"));
        let (_, outcome) = rows.remove(place);
        let found = outcome.strip_prefix("refused: ");
        assert_eq!(found, *refused, "conformance/traps.tsv: {name:?} of {test}");
    }
    assert!(rows.is_empty(), "conformance/traps.tsv: {test} has no cases {rows:?}");
}

/// Unpacks every case both ways.
fn all(test: &str, cases: &[Case], v: &Path) {
    let reason = |outcome: &Outcome| match outcome {
        Refused(reason) => Some(*reason),
        Tree(_) => None,
    };
    known(test, &cases.iter().map(|(name, _, outcome)| (*name, reason(outcome))).collect::<Vec<_>>());
    for (name, layers, outcome) in cases {
        run(name, layers, outcome, v);
    }
}

fn run(name: &str, layers: &[Vec<u8>], outcome: &Outcome, v: &Path) {
    let before = fingerprint(v);
    let options = Options { ids: crate::image::unpack::Ids::of_caller(), ..Options::default() };
    for (way, unpack) in WAYS {
        match (outcome, unpack(layers, &options, &Heard::default())) {
            (Refused(reason), Err(error)) => assert!(error.contains(reason), "{name} ({way}): {error}"),
            (Refused(reason), Ok(lines)) => panic!("{name} ({way}): not refused ({reason}):\n{}", lines.join("\n")),
            (Tree(_), Err(error)) => panic!("{name} ({way}): {error}"),
            (Tree(expected), Ok(lines)) => judge(&format!("{name} ({way})"), expected, &lines),
        }
        assert_eq!(fingerprint(v), before, "{name} ({way}): V was touched");
    }
}

fn judge(name: &str, expected: &[&str], lines: &[String]) {
    // `d 755 0:0 1.0 lib/x ...` without owner and time.
    let short: Vec<String> = lines
        .iter()
        .map(|line| {
            let parts: Vec<&str> = line.splitn(5, ' ').collect();
            if parts.len() == 5 { format!("{} {} {}", parts[0], parts[1], parts[4]) } else { line.clone() }
        })
        .collect();
    for line in expected {
        match line.strip_prefix("! ") {
            Some(absent) => {
                let has = short.iter().any(|l| l.split(' ').nth(2) == Some(absent));
                assert!(!has, "{name}: {absent} is there:\n{}", short.join("\n"));
            }
            None => assert!(short.iter().any(|l| l == line), "{name}: no line {line:?} in:\n{}", short.join("\n")),
        }
    }
}

fn fingerprint(v: &Path) -> String {
    let mut lines = super::listing(&[super::sys_open(v)]);
    lines.push(format!("{:?}", std::fs::metadata(v).unwrap().modified().unwrap()));
    lines.join("\n")
}

fn outside() -> (tempfile::TempDir, String) {
    let v = tempfile::tempdir().unwrap();
    let path = v.path().join("secret");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, b"secret").unwrap();
    let name = v.path().to_str().unwrap().to_owned();
    (v, name)
}

fn t() -> Tar {
    Tar::new()
}
