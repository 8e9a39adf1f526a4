//! Names of entries, cleaned: no empty parts, no dots, no leading slash, nothing longer than the kernel takes.

use crate::image::tar::shown;
use anyhow::{Result, bail};

/// A cleaned name: `a/b/c`, or empty for the root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    path: Vec<u8>,
    /// Where the last part begins.
    last: usize,
    dots: bool,
}

impl Name {
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    pub(super) fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    /// The name without its last part.
    pub(super) fn parent(&self) -> &[u8] {
        self.path.get(..self.last.saturating_sub(1)).unwrap_or_default()
    }

    /// The last part.
    pub(super) fn last(&self) -> &[u8] {
        self.path.get(self.last..).unwrap_or_default()
    }

    /// The parent has `..` in it, whose meaning depends on links.
    pub(super) fn has_dots(&self) -> bool {
        self.dots
    }
}

/// Cleans a name; `None` when aufs keeps its books there.
pub(crate) fn cleaned(path: &[u8], depth: usize) -> Result<Option<Name>> {
    let mut name = Name { path: Vec::with_capacity(path.len()), last: 0, dots: false };
    let mut parts = 0;
    let mut below_whiteout = false;
    for part in super::merged::components(path) {
        if below_whiteout {
            bail!("a whiteout has no entries below it");
        }
        if name.last().starts_with(b".wh..wh.") {
            return Ok(None);
        }
        // A whiteout makes no file of its own name: what it hides may have the longest name.
        if part.strip_prefix(b".wh.").unwrap_or(part).len() > 255 {
            bail!("name has a part of {} bytes; 255 is the most", part.len());
        }
        if !name.path.is_empty() {
            name.path.push(b'/');
        }
        name.last = name.path.len();
        name.path.extend_from_slice(part);
        name.dots |= part == b"..";
        parts += 1;
        below_whiteout = part.starts_with(b".wh.") && !part.starts_with(b".wh..wh.");
        if parts > depth {
            bail!("name has more than {depth} parts (limits.depth)");
        }
    }
    if name.path.len() > 4095 {
        bail!("name is longer than 4095 bytes");
    }
    if path.is_empty() {
        bail!("empty name");
    }
    if name.dots {
        if name.last() == b".." {
            bail!("{}: a name cannot end with ..", shown(path));
        }
        // `../x` is `x`: there is nothing above the root.
        while let Some(rest) = name.path.strip_prefix(b"../") {
            name.path = rest.to_vec();
            name.last -= 3;
        }
        name.dots = super::merged::components(&name.path).any(|part| part == b"..");
    }
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        for (path, parent, last) in [
            (&b"a"[..], &b""[..], &b"a"[..]),
            (b"./a//b/./c/", b"a/b", b"c"),
            (b"/etc/passwd", b"etc", b"passwd"),
            (b"../../../V/pwn", b"V", b"pwn"),
            (b"/../a", b"", b"a"),
            (b"a/../b", b"a/..", b"b"),
            (b"./", b"", b""),
            (b"/", b"", b""),
        ] {
            let name = cleaned(path, 9).unwrap().unwrap();
            assert_eq!((name.parent(), name.last()), (parent, last), "{}", shown(path));
        }
        let long = [b'x'; 256];
        let (longest, hidden) = (&long[1..], [b".wh.", &long[1..]].concat());
        for right in [longest, &hidden] {
            assert_eq!(cleaned(right, 9).unwrap().unwrap().last(), right);
        }
        let hidden = [b".wh.", &long[..]].concat();
        for wrong in [&b""[..], b"a/..", b"..", b"a/.wh.b/c", b"1/2/3/4/5/6/7/8/9/0", &long, &hidden] {
            assert!(cleaned(wrong, 9).is_err(), "{}", shown(wrong));
        }
        assert_eq!(cleaned(b"a/.wh..wh.plnk/1.2", 9).unwrap(), None);
    }
}
