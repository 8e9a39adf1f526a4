//! What attacks aim at: a directory and a file outside of the container's root.

use crate::common::*;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory of the host, outside of the bundle's root, that nobody may write to.
pub fn decoy(container: &Container) -> PathBuf {
    let dir = container.dir.join("decoy");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "untouched\n").unwrap();
    dir
}

/// The directory is as [`decoy`] made it.
#[track_caller]
pub fn untouched(dir: &Path) {
    let names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "untouched\n");
    assert_eq!(host::mounts_below(dir), Vec::<PathBuf>::new());
}

/// Takes every mount on this place and below it out of the configuration.
pub fn without_mounts(container: Container, place: &str) -> Container {
    container.edit(|config| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !Path::new(mount["destination"].as_str().unwrap()).starts_with(place));
    })
}
