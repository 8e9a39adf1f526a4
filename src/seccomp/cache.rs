//! A plan as bytes: `seccomp.bpf` of the state directory, so that `exec` need not compile the profile again.
//!
//! ```text
//! "ocicat seccomp 1\n" · flags u32 · instructions u32 · 8 bytes each · path · metadata      (native byte order)
//! path, metadata: length u32 · bytes; a length of 0xffffffff is "none"
//! ```

use super::{Listener, Plan, Program};
use crate::sys::seccomp::Instruction;
use anyhow::{Context, Result, bail};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const MAGIC: &[u8] = b"ocicat seccomp 1\n";
const NONE: u32 = u32::MAX;

impl Plan {
    /// The plan as bytes, without its warnings.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAGIC.len() + 24 + 8 * self.program.0.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.flags.to_ne_bytes());
        bytes.extend_from_slice(&(self.program.0.len() as u32).to_ne_bytes());
        for i in &self.program.0 {
            bytes.extend_from_slice(&i.code.to_ne_bytes());
            bytes.extend_from_slice(&[i.jump_true, i.jump_false]);
            bytes.extend_from_slice(&i.operand.to_ne_bytes());
        }
        let listener = self.listener.as_ref();
        put(&mut bytes, listener.map(|l| l.path.as_os_str().as_bytes()));
        put(&mut bytes, listener.and_then(|l| l.metadata.as_deref()).map(str::as_bytes));
        bytes
    }

    /// Reads what [`Plan::to_bytes`] wrote; anything else is an error, never a filter.
    pub fn from_bytes(bytes: &[u8]) -> Result<Plan> {
        let rest = bytes.strip_prefix(MAGIC).context("seccomp.bpf: not a filter of this version")?;
        read(rest).context("seccomp.bpf: cut short or damaged")?
    }
}

fn read(mut bytes: &[u8]) -> Option<Result<Plan>> {
    let flags = number(&mut bytes)?;
    let count = number(&mut bytes)? as usize;
    let (program, mut rest) = bytes.split_at_checked(count.checked_mul(8)?)?;
    let instruction = |i: &[u8; 8]| {
        let [c0, c1, jump_true, jump_false, o0, o1, o2, o3] = *i;
        Instruction {
            code: u16::from_ne_bytes([c0, c1]),
            jump_true,
            jump_false,
            operand: u32::from_ne_bytes([o0, o1, o2, o3]),
        }
    };
    let program = Program(program.as_chunks::<8>().0.iter().map(instruction).collect());
    let path = text(&mut rest)?;
    let metadata = text(&mut rest)?;
    if !rest.is_empty() {
        return None;
    }
    let listener = match (path, metadata.map(String::from_utf8).transpose()) {
        (_, Err(_)) | (None, Ok(Some(_))) => return None,
        (None, Ok(None)) => None,
        (Some(path), Ok(metadata)) => Some(Listener { path: std::ffi::OsString::from_vec(path).into(), metadata }),
    };
    if program.0.is_empty() {
        return Some((|| bail!("seccomp.bpf: no instructions"))());
    }
    Some(Ok(Plan { program, flags, listener, warnings: Vec::new() }))
}

fn put(bytes: &mut Vec<u8>, text: Option<&[u8]>) {
    bytes.extend_from_slice(&text.map_or(NONE, |t| t.len() as u32).to_ne_bytes());
    bytes.extend_from_slice(text.unwrap_or_default());
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    let (first, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_ne_bytes(*first))
}

fn text(bytes: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let length = number(bytes)?;
    if length == NONE {
        return Some(None);
    }
    let (text, rest) = bytes.split_at_checked(length as usize)?;
    *bytes = rest;
    Some(Some(text.to_vec()))
}
