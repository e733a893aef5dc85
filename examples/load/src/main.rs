//! Runs a load of library commands and queries. `cargo demo --help` describes its options.

fn main() {}
