//! The runtime: parse, call, print one error line, exit code.
fn main() {}
