//! Programs that a test writes and then has executed.
//!
//! The test itself must never hold such a file open for writing: another test's thread may fork at that moment, its child
//! has the descriptor until its own execve, and as long nobody can execute the file (ETXTBSY, execve(2)).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Copies an executable file; everybody may execute the copy.
#[track_caller]
pub fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("--").args([from, to]).status().unwrap();
    assert!(done.success(), "cp {} {}", from.display(), to.display());
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes a script or anything else that shall be executed; everybody may execute it.
#[track_caller]
pub fn write(at: &Path, text: &str) {
    let draft = at.with_extension("draft");
    fs::write(&draft, text).unwrap();
    copy(&draft, at);
    fs::remove_file(draft).unwrap();
}
