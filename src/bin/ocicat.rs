//! The runtime: parse, call, print one error line, exit code.

fn main() -> std::process::ExitCode {
    // A closed standard stream would otherwise become the next file that is opened. Where that cannot be done, nothing can.
    if ocicat::sys::descriptors::fill_closed_streams().is_err() {
        return std::process::ExitCode::FAILURE;
    }
    ocicat::cli::main(std::env::args_os().skip(1))
}
