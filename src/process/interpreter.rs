//! What a program needs besides itself: the interpreter of a `#!` line, the dynamic loader of an ELF file. The kernel only says
//! "no such file" when one of them is missing, and people then search for the program that is there.

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};

/// The kernel itself looks at so many bytes (BINPRM_BUF_SIZE).
const HEAD: usize = 256;

/// An error text and number when the file at `path` needs a file that does not exist or is no program. What cannot be read
/// is left to the kernel.
pub(super) fn check(path: &CStr) -> Result<(), (String, i32)> {
    if leads_to_runtime(path) {
        return Err((RUNTIME.to_owned(), libc::ENOENT));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return Ok(()) };
    let mut head = [0u8; HEAD];
    let Ok(length) = rustix::io::read(&file, &mut head) else { return Ok(()) };
    let head = head.get(..length).unwrap_or_default();
    if let Some(line) = head.strip_prefix(b"#!") {
        return first_line(line);
    }
    match loader(head, |offset, buffer| rustix::io::pread(&file, buffer, offset).ok()) {
        Some(name) if missing(&name) => {
            Err((format!("its dynamic loader {} is missing: stat {0}", name.to_string_lossy()), libc::ENOENT))
        }
        _ => Ok(()),
    }
}

/// The interpreter as binfmt_script reads it: the first word up to a blank, a tab or the end of the line.
fn first_line(line: &[u8]) -> Result<(), (String, i32)> {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let word = line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).find(|word| !word.is_empty()).unwrap_or_default();
    let Ok(name) = CString::new(word) else { return Ok(()) };
    let missing_file = |words| Err((words, libc::ENOENT));
    if leads_to_runtime(&name) {
        return missing_file(format!("its interpreter: {RUNTIME}"));
    }
    let shown = name.to_string_lossy();
    match accessat(CWD, &name, Access::EXEC_OK, AtFlags::EACCESS) {
        Err(Errno::ACCESS) => {
            Err((format!("the interpreter {shown} of its first line may not be executed"), libc::EACCES))
        }
        Err(Errno::NOENT) if word.ends_with(b"\r") => missing_file(format!(
            "its first line ends in CRLF, as on Windows, and so names the interpreter {shown:?}: stat {shown:?}"
        )),
        Err(Errno::NOENT) if !word.is_empty() => {
            missing_file(format!("the interpreter {shown} of its first line is missing: stat {shown}"))
        }
        _ => Ok(()),
    }
}

const RUNTIME: &str = "a link to /proc/self/exe names the runtime, and the container has no such program";

/// True for a magic link to this very program, /proc/self/exe: what it would start is the launcher, over and over.
fn leads_to_runtime(path: &CStr) -> bool {
    use rustix::fs::{ResolveFlags, openat2, stat};
    let plain = openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
    if !matches!(plain, Err(Errno::LOOP)) {
        return false;
    }
    let (Ok(named), Ok(own)) = (stat(path), stat(c"/proc/self/exe")) else { return false };
    (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)
}

fn missing(name: &CStr) -> bool {
    matches!(rustix::fs::stat(name), Err(Errno::NOENT))
}

/// The PT_INTERP of a little-endian 64-bit ELF file (elf(5)); `read` reads at an offset.
fn loader(head: &[u8], read: impl Fn(u64, &mut [u8]) -> Option<usize>) -> Option<CString> {
    const PT_INTERP: u64 = 3;
    const ENTRY: usize = 56;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (offset, size, count) = (number(head, 32, 8)?, number(head, 54, 2)?, number(head, 56, 2)?);
    if size != ENTRY as u64 {
        return None;
    }
    let mut table = vec![0u8; ENTRY * count.min(64) as usize];
    let length = read(offset, &mut table)?;
    let entry = table.get(..length)?.chunks_exact(ENTRY).find(|entry| number(entry, 0, 4) == Some(PT_INTERP))?;
    let mut name = vec![0u8; number(entry, 32, 8)?.min(4096) as usize];
    let length = read(number(entry, 8, 8)?, &mut name)?;
    let name = name.get(..length)?.split(|byte| *byte == 0).next()?;
    CString::new(name).ok().filter(|name| !name.is_empty())
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + length)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_interpreter_is_named() {
        let rows: &[(&str, &str)] = &[
            ("#!/bin/sh\necho", ""),
            ("#! /bin/sh -e\n", ""),
            ("#!/no/such -x\n", "the interpreter /no/such of its first line is missing: stat /no/such"),
            (
                "#!/bin/sh\r\n",
                "its first line ends in CRLF, as on Windows, and so names the interpreter \"/bin/sh\\r\": stat \"/bin/sh\\r\"",
            ),
            ("#!/etc/passwd\n", "the interpreter /etc/passwd of its first line may not be executed"),
            ("#!", ""),
            ("no program", ""),
            ("", ""),
        ];
        for (content, expected) in rows {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file.as_file(), content.as_bytes()).unwrap();
            let path = CString::new(file.path().to_str().unwrap()).unwrap();
            assert_eq!(check(&path).err().unwrap_or_default().0, *expected, "{content:?}");
        }
    }

    #[test]
    fn a_missing_dynamic_loader_is_named() {
        let original = std::fs::read("/bin/ls").unwrap();
        let at = original.windows(10).position(|window| window == b"/lib64/ld-").unwrap();
        let mut changed = original.clone();
        changed[at + 1] = b'X';
        for (content, expected) in [(original, ""), (changed, "its dynamic loader /Xib64/ld-")] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file.as_file(), &content).unwrap();
            let path = CString::new(file.path().to_str().unwrap()).unwrap();
            let said = check(&path).err().unwrap_or_default().0;
            assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{said}");
        }
    }
}
