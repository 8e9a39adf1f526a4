//! The companion: images to bundles.

fn main() -> std::process::ExitCode {
    ocicat::cli::image::main(std::env::args_os().skip(1))
}
