//! The companion: images to bundles.
#![no_main]

ocicat::program!(ocicat::cli::image::main);
