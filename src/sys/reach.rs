//! Why a path cannot be reached: the kernel says EACCES, and not which directory on the way it was.

use super::{Error, Hinted};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::path::{Path, PathBuf};

/// Adds to a refusal which directory on the way to the absolute `path` this process may not enter, if it was that.
pub fn explain(path: &Path, error: Error) -> anyhow::Error {
    match barred(path).filter(|_| error.errno.0 == libc::EACCES) {
        Some(directory) => {
            let hint = format!("this user may not enter {} (chmod +x)", directory.display());
            Hinted { error, hint }.into()
        }
        None => error.into(),
    }
}

/// The first directory above the absolute `path` that this process may not search.
pub fn barred(path: &Path) -> Option<PathBuf> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).filter(|directory| directory.is_absolute()).collect();
    above.reverse();
    let refused = |directory: &&Path| {
        accessat(CWD, *directory, Access::EXEC_OK, AtFlags::EACCESS) == Err(rustix::io::Errno::ACCESS)
    };
    above.into_iter().find(refused).map(Path::to_owned)
}
