//! `check`: everything that is wrong with a bundle, without making anything.

use crate::host::Host;
use crate::spec;
pub use crate::spec::check::Problem;
use anyhow::Result;
use std::path::Path;

/// Reads the config.json of a bundle and tells every rule of the specification that it breaks.
///
/// # Errors
/// The file cannot be read or is no config.json.
pub fn check(bundle: &Path, host: &Host) -> Result<Vec<Problem>> {
    let (config, _) = spec::read::config(bundle)?;
    Ok(spec::check::problems(&config, host))
}
