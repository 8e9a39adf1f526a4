//! The words that mount entries may use as options: one table (runtime-spec 1.3, config.md, "Linux mount options").
//!
//! A word that is not in the table belongs to the filesystem and is handed to it as it is.

use crate::sys::mount::{Propagation, attribute as a};

/// What a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Accepted; what it asks for is the kernel's default, or nothing that a mount can have today.
    Nothing,
    /// Sets attributes of the mount.
    Set(u64),
    /// Clears attributes of the mount.
    Clear(u64),
    /// Chooses how access times are kept.
    Time(u64),
    /// As `Set`, for the mounts below too.
    SetAll(u64),
    /// As `Clear`, for the mounts below too.
    ClearAll(u64),
    /// As `Time`, for the mounts below too.
    TimeAll(u64),
    /// A flag of the superblock: it concerns every mount of that filesystem.
    Superblock(&'static str),
    /// Takes such a flag back.
    NoSuperblock(&'static str),
    /// Propagation of the mount, recursive or not.
    Propagation(Propagation, bool),
    /// A bind mount, recursive or not.
    Bind(bool),
    /// Ids are mapped, recursively or not.
    IdMap(bool),
    /// Changes a mount that is there already.
    Remount,
    /// The new tmpfs begins with what was at its place.
    CopyUp,
    /// A source that is a symbolic link is made again instead of mounted.
    CopySymlink,
    /// A source that is a symbolic link is mounted itself.
    SourceNoFollow,
    /// A destination that is a symbolic link is covered itself.
    DestinationNoFollow,
}

use Meaning::*;

/// The table. `iversion`, `silent` and their opposites have no meaning for a mount made by fsopen(2).
#[rustfmt::skip]
const WORDS: &[(&str, Meaning)] = &[
    ("async", NoSuperblock("sync")), ("atime", Time(a::RELATIVE_TIME)), ("bind", Bind(false)),
    ("copy-symlink", CopySymlink), ("defaults", Nothing), ("dest-nofollow", DestinationNoFollow),
    ("dev", Clear(a::NO_DEV)), ("diratime", Clear(a::NO_DIRECTORY_TIME)), ("dirsync", Superblock("dirsync")),
    ("exec", Clear(a::NO_EXEC)), ("idmap", IdMap(false)), ("iversion", Nothing),
    ("lazytime", Superblock("lazytime")), ("loud", Nothing), ("mand", Superblock("mand")),
    ("noatime", Time(a::NO_TIME)), ("nodev", Set(a::NO_DEV)), ("nodiratime", Set(a::NO_DIRECTORY_TIME)),
    ("noexec", Set(a::NO_EXEC)), ("noiversion", Nothing), ("nolazytime", NoSuperblock("lazytime")),
    ("nomand", NoSuperblock("mand")), ("norelatime", Nothing), ("nostrictatime", Time(a::RELATIVE_TIME)),
    ("nosuid", Set(a::NO_SUID)), ("nosymfollow", Set(a::NO_SYMLINK_FOLLOW)),
    ("private", Propagation(Propagation::Private, false)), ("ratime", TimeAll(a::RELATIVE_TIME)),
    ("rbind", Bind(true)), ("rdev", ClearAll(a::NO_DEV)), ("rdiratime", ClearAll(a::NO_DIRECTORY_TIME)),
    ("relatime", Time(a::RELATIVE_TIME)), ("remount", Remount), ("rexec", ClearAll(a::NO_EXEC)),
    ("ridmap", IdMap(true)), ("rnoatime", TimeAll(a::NO_TIME)), ("rnodev", SetAll(a::NO_DEV)),
    ("rnodiratime", SetAll(a::NO_DIRECTORY_TIME)), ("rnoexec", SetAll(a::NO_EXEC)), ("rnorelatime", Nothing),
    ("rnostrictatime", TimeAll(a::RELATIVE_TIME)), ("rnosuid", SetAll(a::NO_SUID)),
    ("rnosymfollow", SetAll(a::NO_SYMLINK_FOLLOW)), ("ro", Set(a::READ_ONLY)),
    ("rprivate", Propagation(Propagation::Private, true)), ("rrelatime", TimeAll(a::RELATIVE_TIME)),
    ("rro", SetAll(a::READ_ONLY)), ("rrw", ClearAll(a::READ_ONLY)),
    ("rshared", Propagation(Propagation::Shared, true)), ("rslave", Propagation(Propagation::Slave, true)),
    ("rstrictatime", TimeAll(a::STRICT_TIME)), ("rsuid", ClearAll(a::NO_SUID)),
    ("rsymfollow", ClearAll(a::NO_SYMLINK_FOLLOW)), ("runbindable", Propagation(Propagation::Unbindable, true)),
    ("rw", Clear(a::READ_ONLY)), ("shared", Propagation(Propagation::Shared, false)), ("silent", Nothing),
    ("slave", Propagation(Propagation::Slave, false)), ("src-nofollow", SourceNoFollow),
    ("strictatime", Time(a::STRICT_TIME)), ("suid", Clear(a::NO_SUID)), ("symfollow", Clear(a::NO_SYMLINK_FOLLOW)),
    ("sync", Superblock("sync")), ("tmpcopyup", CopyUp),
    ("unbindable", Propagation(Propagation::Unbindable, false)),
];

/// Every word that is understood here and not passed to the filesystem, for `features`.
pub fn words() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|row| row.0)
}

/// Attributes to set and to clear; a later word wins over an earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits of `struct mount_attr` to set.
    pub set: u64,
    /// Bits to clear; all of [`a::TIME`] when a time is set.
    pub clear: u64,
}

impl Attributes {
    fn set(&mut self, bits: u64) {
        self.set |= bits;
        self.clear &= !bits;
    }

    fn clear(&mut self, bits: u64) {
        self.clear |= bits;
        self.set &= !bits;
    }

    fn time(&mut self, time: u64) {
        self.set = self.set & !a::TIME | time;
        self.clear |= a::TIME;
    }

    /// True when nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.set | self.clear == 0
    }

    /// The option words that ask for this, in the order of the table.
    fn words(&self, recursive: bool) -> impl Iterator<Item = &'static str> {
        let (set, clear) = (self.set, self.clear);
        WORDS
            .iter()
            .filter(move |(word, meaning)| match (meaning, recursive) {
                (Set(bits), false) | (SetAll(bits), true) => set & bits != 0,
                (Clear(bits), false) | (ClearAll(bits), true) => clear & bits != 0,
                (Time(time), false) | (TimeAll(time), true) => {
                    clear & a::TIME != 0
                        && set & a::TIME == *time
                        && !matches!(*word, "atime" | "nostrictatime" | "ratime" | "rnostrictatime")
                }
                _ => false,
            })
            .map(|row| row.0)
    }
}

/// The options of one mount entry, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// Attributes of the mount and of those below it.
    pub recursive: Attributes,
    /// Flags of the superblock.
    pub superblock: Vec<&'static str>,
    /// Propagation, applied in this order; `true` is recursive.
    pub propagation: Vec<(Propagation, bool)>,
    /// A bind mount; `true` is recursive.
    pub bind: Option<bool>,
    /// Mapped ids; `true` is recursive.
    pub id_map: Option<bool>,
    /// The entry changes an existing mount.
    pub remount: bool,
    /// tmpfs begins with the former content.
    pub copy_up: bool,
    /// A symbolic link as source is made again at the destination.
    pub copy_symlink: bool,
    /// A symbolic link as source is not followed.
    pub source_nofollow: bool,
    /// A symbolic link as destination is not followed.
    pub destination_nofollow: bool,
    /// What the filesystem itself is to be told, in order.
    pub data: Vec<(String, Option<String>)>,
}

impl Options {
    /// Understands the options of a mount entry, in order.
    pub fn parse(options: &[String]) -> Options {
        let mut parsed = Options::default();
        for option in options {
            match WORDS.binary_search_by_key(&option.as_str(), |row| row.0).ok().and_then(|at| WORDS.get(at)) {
                Some((_, meaning)) => parsed.apply(*meaning),
                None => parsed.data.extend(split(option)),
            }
        }
        parsed
    }

    fn apply(&mut self, meaning: Meaning) {
        match meaning {
            Nothing => {}
            Set(bits) => self.attributes.set(bits),
            Clear(bits) => self.attributes.clear(bits),
            Time(time) => self.attributes.time(time),
            SetAll(bits) => self.recursive.set(bits),
            ClearAll(bits) => self.recursive.clear(bits),
            TimeAll(time) => self.recursive.time(time),
            Superblock(flag) => self.superblock.push(flag),
            NoSuperblock(flag) => self.superblock.retain(|set| *set != flag),
            Propagation(kind, recursive) => self.propagation.push((kind, recursive)),
            Bind(recursive) => self.bind = Some(self.bind == Some(true) || recursive),
            IdMap(recursive) => self.id_map = Some(recursive),
            Remount => self.remount = true,
            CopyUp => self.copy_up = true,
            CopySymlink => self.copy_symlink = true,
            SourceNoFollow => self.source_nofollow = true,
            DestinationNoFollow => self.destination_nofollow = true,
        }
    }

    /// The words that say the same, and what the filesystem is told, for a plan's text.
    pub fn shown(&self, settings: &[(String, Option<String>)]) -> String {
        let mut words: Vec<String> = self.attributes.words(false).map(str::to_owned).collect();
        words.extend(self.recursive.words(true).map(str::to_owned));
        for (kind, recursive) in &self.propagation {
            words.push(format!("{}{}", if *recursive { "r" } else { "" }, kind.word()));
        }
        for (set, word) in [(self.copy_up, "tmpcopyup"), (self.remount, "remount")] {
            words.extend(set.then(|| word.to_owned()));
        }
        words.extend(settings.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        }));
        words.join(" ")
    }
}

/// One string of options may hold several, divided by commas as in mount(8); a comma inside quotes divides nothing.
fn split(option: &str) -> Vec<(String, Option<String>)> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for character in option.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => parts.push(String::new()),
            other => parts.last_mut().into_iter().for_each(|part| part.push(other)),
        }
    }
    parts.retain(|part| !part.is_empty());
    let pair = |part: String| match part.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (part, None),
    };
    parts.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_words_are_found() {
        assert!(WORDS.is_sorted_by_key(|row| row.0), "keep the table in alphabetical order");
    }

    #[test]
    fn options_mean_what_the_spec_says_and_the_last_word_wins() {
        let rows: &[(&str, &str)] = &[
            ("defaults", ""),
            ("ro", "ro"),
            ("ro rw", "rw"),
            ("rw ro", "ro"),
            ("nosuid nodev noexec relatime ro", "nodev noexec nosuid relatime ro"),
            ("noatime atime", "relatime"),
            ("strictatime nostrictatime", "relatime"),
            ("noatime norelatime", "noatime"),
            ("nodiratime", "nodiratime"),
            ("suid dev exec diratime symfollow", "dev diratime exec suid symfollow"),
            ("nosymfollow rnosymfollow", "nosymfollow rnosymfollow"),
            ("rro rnosuid rnodev rnoexec rnoatime", "rnoatime rnodev rnoexec rnosuid rro"),
            ("rrw rsuid rdev rexec rstrictatime", "rdev rexec rrw rstrictatime rsuid"),
            ("sync dirsync mand lazytime", "sync dirsync mand lazytime"),
            ("sync async mand nomand lazytime nolazytime", ""),
            ("silent loud iversion noiversion", ""),
            ("rshared private", "rshared private"),
            ("tmpcopyup mode=1777", "tmpcopyup mode=1777"),
            ("size=65536k,nr_inodes=10 huge", "size=65536k nr_inodes=10 huge"),
            ("context=\"a:b:c1,c2\"", "context=a:b:c1,c2"),
            ("lowerdir=/a:/b,upperdir=/c=d", "lowerdir=/a:/b upperdir=/c=d"),
            ("remount ro", "ro remount"),
        ];
        for (options, shown) in rows {
            let options: Vec<String> = options.split(' ').map(str::to_owned).collect();
            let parsed = Options::parse(&options);
            let flags = parsed.superblock.iter().map(|flag| ((*flag).to_owned(), None));
            let settings: Vec<_> = flags.chain(parsed.data.iter().cloned()).collect();
            assert_eq!(&parsed.shown(&settings), shown, "{options:?}");
        }
    }

    #[test]
    fn bind_and_idmap_words_are_recursive_with_r() {
        let parse = |text: &str| Options::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("bind").bind, Some(false));
        assert_eq!(parse("rbind ro").bind, Some(true));
        assert_eq!(parse("rbind bind").bind, Some(true));
        assert_eq!(parse("ro").bind, None);
        assert_eq!(parse("bind idmap").id_map, Some(false));
        assert_eq!(parse("bind ridmap").id_map, Some(true));
        assert!(parse("copy-symlink").copy_symlink && parse("src-nofollow").source_nofollow);
        assert!(parse("dest-nofollow").destination_nofollow && parse("remount").remount);
    }

    #[test]
    fn every_word_of_the_spec_is_in_the_table() {
        let spec = "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand noatime nodev \
            nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime \
            rbind rdev rdiratime relatime remount rexec ridmap rnoatime rnodev rnodiratime rnoexec rnorelatime \
            rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
            rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable";
        let missing: Vec<&str> = spec.split_whitespace().filter(|word| words().all(|known| known != *word)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
