//! The companion: images to bundles.
#![no_main]

ocicat::program!(run);

fn run() -> u8 {
    // A closed standard stream would otherwise become the next file that is opened. Where that cannot be done, nothing can.
    if ocicat::sys::descriptors::fill_closed_streams().is_err() {
        return 1;
    }
    // A reader that went away is an error of the write, not the end of us.
    if ocicat::sys::signals::ignore_broken_pipes().is_err() {
        return 1;
    }
    ocicat::cli::image::main(std::env::args_os().skip(1))
}
