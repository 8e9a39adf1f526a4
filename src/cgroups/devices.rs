//! Which devices a container may use: the configured rules, then the ones that every container gets.
//!
//! Rules apply in order and the last one that names a device and an access decides (config-linux.md, "Allowed Device
//! list"). It begins with "nothing is allowed", whether config.json says so or not.

use crate::config::{DeviceRule, Resources};
use anyhow::Result;

/// What a rule speaks of; the numbers are the kernel's (include/uapi/linux/bpf.h, BPF_DEVCG_DEV_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Any,
    Block,
    Char,
}

/// mknod, read, write as bits (BPF_DEVCG_ACC_*).
pub(super) const MKNOD: u8 = 1;
/// See [`MKNOD`].
pub(super) const READ: u8 = 2;
/// See [`MKNOD`].
pub(super) const WRITE: u8 = 4;
/// Every access.
pub(super) const ALL: u8 = MKNOD | READ | WRITE;

/// One checked rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    pub(super) kind: Kind,
    /// `None` is any number.
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: u8,
}

/// The rules of a container from the last one that speaks of everything on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// What holds for devices that no rule names.
    pub(super) allowed: bool,
    pub(super) rules: Vec<Rule>,
    /// How many of `rules` stood in config.json; the rest is the default list.
    configured: usize,
}

/// What every container may use: nodes of any kind may be made, these may be opened. The same list as runc's.
const DEFAULTS: &[(Kind, Option<u32>, Option<u32>, u8)] = &[
    (Kind::Char, None, None, MKNOD),
    (Kind::Block, None, None, MKNOD),
    (Kind::Char, Some(1), Some(3), ALL), // null
    (Kind::Char, Some(1), Some(5), ALL), // zero
    (Kind::Char, Some(1), Some(7), ALL), // full
    (Kind::Char, Some(1), Some(8), ALL), // random
    (Kind::Char, Some(1), Some(9), ALL), // urandom
    (Kind::Char, Some(5), Some(0), ALL), // tty
    (Kind::Char, Some(5), Some(2), ALL), // ptmx
    (Kind::Char, Some(136), None, ALL),  // pts
];

impl Rules {
    /// Checks the rules of config.json and adds the default ones.
    pub(super) fn of(resources: Option<&Resources>) -> Result<Rules> {
        let configured = resources.map(|r| r.devices.as_slice()).unwrap_or_default();
        let mut rules =
            Rules { allowed: false, rules: Vec::with_capacity(configured.len() + DEFAULTS.len()), configured: 0 };
        for (index, rule) in configured.iter().enumerate() {
            rules.add(read(rule, index)?);
        }
        rules.configured = rules.rules.len();
        let anything_denied = !rules.allowed || rules.rules.iter().any(|rule| !rule.allow);
        if anything_denied {
            let default = |row: &(Kind, Option<u32>, Option<u32>, u8)| Rule {
                allow: true,
                kind: row.0,
                major: row.1,
                minor: row.2,
                access: row.3,
            };
            rules.rules.extend(DEFAULTS.iter().map(default));
        }
        Ok(rules)
    }

    /// True when nothing is denied.
    pub(super) fn allow_everything(&self) -> bool {
        self.allowed && self.rules.is_empty()
    }

    fn add(&mut self, rule: Rule) {
        let everything = rule.kind == Kind::Any && rule.major.is_none() && rule.minor.is_none() && rule.access == ALL;
        if everything {
            self.allowed = rule.allow;
            self.rules.clear();
        } else if rule.allow != self.allowed || !self.rules.is_empty() {
            self.rules.push(rule);
        }
    }

    /// Lines for `devices.deny` and `devices.allow` of version 1, with the file that each goes to.
    pub(super) fn v1_lines(&self) -> Result<Vec<(&'static str, String)>> {
        let file = |allow: bool| if allow { "devices.allow" } else { "devices.deny" };
        // "a" forgets all that was written before.
        let mut lines = vec![(file(self.allowed), "a".to_owned())];
        for (index, rule) in self.rules.iter().enumerate() {
            if index < self.configured {
                self.refuse_hole(index, rule)?;
            }
            // In version 1 a line with type `a` means everything, whatever numbers stand behind it.
            let kinds: &[char] = match rule.kind {
                Kind::Any => &['b', 'c'],
                Kind::Block => &['b'],
                Kind::Char => &['c'],
            };
            lines.extend(kinds.iter().map(|kind| (file(rule.allow), Line(*kind, rule).to_string())));
        }
        Ok(lines)
    }

    /// Version 1 keeps a list of exceptions to one answer; a rule against part of an earlier, wider exception changes
    /// nothing there. That must not pass in silence: what was to be denied would be allowed.
    fn refuse_hole(&self, index: usize, rule: &Rule) -> Result<()> {
        if rule.allow != self.allowed {
            return Ok(());
        }
        let earlier = self.rules.iter().take(index).filter(|other| other.allow != rule.allow);
        let hole = earlier.into_iter().find(|other| {
            let same = (other.kind, other.major, other.minor) == (rule.kind, rule.major, rule.minor);
            !same && other.overlaps(rule)
        });
        match hole {
            None => Ok(()),
            Some(wider) => anyhow::bail!(
                "linux.resources.devices: cgroup v1 cannot except {} from {}; hint: list the devices one by one",
                Line(rule.letter(), rule),
                Line(wider.letter(), wider)
            ),
        }
    }
}

/// The name of a whole major in `groups`, the text of /proc/devices (proc_devices(5)): `nvidia` for the characters of 195.
/// A few old ones are named as paths, which systemd would take for one node.
pub(super) fn group_name<'a>(groups: &'a str, kind: &str, major: u32) -> Option<&'a str> {
    let heading = if kind == "block" { "Block devices:" } else { "Character devices:" };
    let section = groups.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.is_empty());
    let mut rows = section.filter_map(|line| line.trim_start().split_once(' '));
    rows.find(|(number, name)| number.parse() == Ok(major) && !name.starts_with('/')).map(|(_, name)| name)
}

impl Rule {
    fn overlaps(&self, other: &Rule) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        (self.kind == other.kind || self.kind == Kind::Any || other.kind == Kind::Any)
            && meet(self.major, other.major)
            && meet(self.minor, other.minor)
            && self.access & other.access != 0
    }

    /// The accesses as letters: `rw`.
    pub(super) fn letters(&self) -> String {
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect()
    }

    fn letter(&self) -> char {
        match self.kind {
            Kind::Any => 'a',
            Kind::Block => 'b',
            Kind::Char => 'c',
        }
    }
}

/// A rule as version 1 and systemd write it: `c 1:3 rwm`.
struct Line<'a>(char, &'a Rule);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Line(letter, rule) = self;
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        write!(f, "{letter} {}:{} ", number(rule.major), number(rule.minor))?;
        f.write_str(&rule.letters())
    }
}

impl std::fmt::Display for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} all", if self.allowed { "allow" } else { "deny" })?;
        for rule in &self.rules {
            write!(f, ", {} {}", if rule.allow { "allow" } else { "deny" }, Line(rule.letter(), rule))?;
        }
        Ok(())
    }
}

fn read(rule: &DeviceRule, index: usize) -> Result<Rule> {
    let kind = match rule.kind.as_deref() {
        None | Some("" | "a") => Kind::Any,
        Some("b") => Kind::Block,
        Some("c" | "u") => Kind::Char,
        Some(other) => anyhow::bail!("linux.resources.devices[{index}].type ({other}): must be a, b or c"),
    };
    let number = |value: Option<i64>, field: &str| match value {
        None | Some(-1) => Ok(None),
        Some(value) => match u32::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => anyhow::bail!("linux.resources.devices[{index}].{field} ({value}): is no device number"),
        },
    };
    let mut access = 0;
    for letter in rule.access.as_deref().unwrap_or_default().chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            other => anyhow::bail!("linux.resources.devices[{index}].access ({other}): must be of r, w and m"),
        };
    }
    Ok(Rule {
        allow: rule.allow,
        kind,
        major: number(rule.major, "major")?,
        minor: number(rule.minor, "minor")?,
        access: if access == 0 { ALL } else { access },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Result<Rules> {
        Rules::of(Some(&Resources { devices: serde_json::from_str(json).unwrap(), ..Resources::default() }))
    }

    const DEFAULT_LINES: &str = "c *:* m, c 1:3 rwm";

    #[test]
    fn the_last_rule_for_everything_is_where_the_list_begins() {
        let plus = ", allow c *:* m, allow b *:* m, allow c 1:3 rwm, allow c 1:5 rwm, allow c 1:7 rwm, allow c 1:8 rwm, \
                    allow c 1:9 rwm, allow c 5:0 rwm, allow c 5:2 rwm, allow c 136:* rwm";
        for (json, expected) in [
            ("[]", format!("deny all{plus}")),
            (r#"[{"allow":false,"access":"rwm"}]"#, format!("deny all{plus}")),
            (r#"[{"allow":true}]"#, "allow all".to_owned()),
            (r#"[{"allow":true,"type":"a","major":-1,"access":"mrw"}]"#, "allow all".to_owned()),
            (r#"[{"allow":true,"type":"c","major":10,"minor":229}]"#, format!("deny all, allow c 10:229 rwm{plus}")),
            (r#"[{"allow":true,"type":"c","major":7},{"allow":false}]"#, format!("deny all{plus}")),
            (r#"[{"allow":true},{"allow":false,"type":"b","access":"w"}]"#, format!("allow all, deny b *:* w{plus}")),
            (r#"[{"allow":false},{"allow":false,"type":"b"}]"#, format!("deny all{plus}")),
        ] {
            assert_eq!(rules(json).unwrap().to_string(), expected, "{json}");
        }
        assert!(rules("[]").unwrap().to_string().contains(&DEFAULT_LINES.replace(", c", ", allow b *:* m, allow c")));
    }

    #[test]
    fn wrong_rules_name_their_place() {
        for (json, expected) in [
            (r#"[{"allow":true},{"type":"x"}]"#, "linux.resources.devices[1].type (x): must be a, b or c"),
            (r#"[{"major":-2}]"#, "linux.resources.devices[0].major (-2): is no device number"),
            (r#"[{"minor":4294967296}]"#, "linux.resources.devices[0].minor (4294967296): is no device number"),
            (r#"[{"access":"rx"}]"#, "linux.resources.devices[0].access (x): must be of r, w and m"),
        ] {
            assert_eq!(rules(json).unwrap_err().to_string(), expected, "{json}");
        }
    }

    #[test]
    fn version_1_gets_lines_in_the_order_of_the_rules() {
        let lines = |json: &str| match rules(json).unwrap().v1_lines() {
            Ok(lines) => lines.iter().take(4).map(|(f, l)| format!("{f} {l}")).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        };
        for (json, expected) in [
            ("[]", "devices.deny a; devices.allow c *:* m; devices.allow b *:* m; devices.allow c 1:3 rwm"),
            (
                r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"minor":20,"access":"rw"}]"#,
                "devices.deny a; devices.allow b 8:20 rw; devices.allow c *:* m; devices.allow b *:* m",
            ),
            (r#"[{"allow":true}]"#, "devices.allow a"),
            (
                r#"[{"allow":true,"type":"a","major":5,"access":"r"}]"#,
                "devices.deny a; devices.allow b 5:* r; devices.allow c 5:* r; devices.allow c *:* m",
            ),
            (
                r#"[{"allow":true,"type":"c","major":5},{"allow":false,"type":"c","major":5,"minor":1,"access":"w"}]"#,
                "linux.resources.devices: cgroup v1 cannot except c 5:1 w from c 5:* rwm; hint: list the devices one by one",
            ),
            (
                r#"[{"allow":true,"type":"c","major":5,"minor":1},{"allow":false,"type":"c","major":5,"minor":1,"access":"w"}]"#,
                "devices.deny a; devices.allow c 5:1 rwm; devices.deny c 5:1 w; devices.allow c *:* m",
            ),
        ] {
            assert_eq!(lines(json), expected, "{json}");
        }
    }
}
