//! What procfs and prctl(2) tell and change about a process.

use super::files;

/// True when a small file begins with `prefix`; false when it cannot be read.
pub fn file_begins_with(path: &str, prefix: &[u8]) -> bool {
    files::read(path, 4096).is_ok_and(|bytes| bytes.starts_with(prefix))
}

/// True when this process lives in a user namespace that does not map every id one to one.
pub fn in_user_namespace() -> bool {
    match files::read_text("/proc/self/uid_map") {
        Ok(map) => map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"],
        Err(_) => false,
    }
}
