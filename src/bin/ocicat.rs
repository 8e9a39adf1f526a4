//! The runtime: parse, call, print one error line, exit code.

fn main() -> std::process::ExitCode {
    ocicat::cli::main(std::env::args_os().skip(1))
}
