mod answers;
mod foreign;
mod replay;
mod rules;
mod stored;

use super::memory_library::MemoryLibrary;

/// Checks that there is exactly one finding, and that it contains a text.
#[track_caller]
fn assert_finds(library: &MemoryLibrary, text: &str) {
    let found = library.findings();

    assert!(found.len() == 1 && found[0].contains(text), "{found:?}");
}

/// Checks that there is a finding that contains a text.
#[track_caller]
fn assert_finds_among_others(library: &MemoryLibrary, text: &str) {
    let found = library.findings();

    assert!(found.iter().any(|finding| finding.contains(text)), "{found:?}");
}
