//! The companion: images to bundles.
fn main() {}
