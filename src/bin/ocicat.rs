//! The runtime: parse, call, print one error line, exit code.
#![no_main]

ocicat::program!(ocicat::cli::main);
