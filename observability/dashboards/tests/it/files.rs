//! The files that the package generates.

use std::fs;

use dashboards::files::generated;

#[test]
fn the_files_are_those_that_the_program_writes() {
    for file in generated() {
        let content = fs::read_to_string(&file.path).unwrap();

        assert!(content == file.content, "run `cargo run -p dashboards`: {}", file.path.display());
    }
}
