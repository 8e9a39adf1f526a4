//! `ocicat-image list`: the images of the store.

use super::super::command::Positionals;
use super::super::output;
use super::command::Command;
use super::progress::bytes;
use super::{Call, Ended};
use crate::image::pull::Image;
use crate::image::reference::Reference;
use crate::image::store::Store;
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "list",
    about: "Lists the images of the store",
    details: "With --quiet only names are printed. Sizes are those of the compressed layers.",
    positionals: Positionals::NONE,
    flags: &[],
    examples: &[("list", "what is here"), ("list --format json", "the same for a program")],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let store = call.store_to_read()?;
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    for tag in store.as_ref().map(Store::list).transpose()?.unwrap_or_default() {
        let familiar = tag.reference.parse::<Reference>().map_or(tag.reference.clone(), |r| r.familiar());
        // An image that cannot be read is listed all the same: it can be removed by its name.
        let image = store.as_ref().and_then(|store| Image::read(store, &tag.descriptor).ok());
        let digest = &tag.descriptor.digest;
        let platform = image.as_ref().map_or("?".to_owned(), |image| image.platform().to_string());
        let created = image.as_ref().and_then(|image| image.configuration.created.clone()).unwrap_or_default();
        let size = image.as_ref().map_or("?".to_owned(), |image| bytes(image.size()));
        entries.push(serde_json::json!({
            "reference": tag.reference, "digest": digest, "mediaType": tag.descriptor.media_type, "platform": platform,
            "created": created, "size": image.as_ref().map(Image::size),
            "layers": image.as_ref().map(|image| image.manifest.layers.len()),
        }));
        let day = created.get(..10).unwrap_or_default().to_owned();
        // Names of a foreign layout and what a config says may be anything.
        let row = [familiar, digest.short().to_owned(), platform, day, size];
        rows.push(row.iter().map(|cell| output::harmless(cell)).collect::<Vec<String>>());
    }
    if call.json() {
        output::json(&entries)?;
    } else if call.quiet() {
        output::text(&rows.iter().filter_map(|row| row.first()).map(|name| format!("{name}\n")).collect::<String>())?;
    } else {
        output::text(&output::table(&["IMAGE", "DIGEST", "PLATFORM", "CREATED", "SIZE"], &rows))?;
    }
    Ok(Ended::Done)
}
