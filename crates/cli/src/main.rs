//! The `token-manager` binary.
fn main() {}
