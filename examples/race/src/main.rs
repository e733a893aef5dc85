//! Races writers and readers against one log.
fn main() {}
