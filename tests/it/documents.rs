//! The documents name functions and tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

use crate::architecture::files;

/// Returns the functions that a document names by a path in backticks, such as
/// `append::a_conflict_is_refused`.
fn named_functions(document: &str) -> Vec<&str> {
    let quoted = document.split('`').skip(1).step_by(2);
    let paths = quoted.filter_map(|path| path.rsplit_once("::"));
    let is_lower =
        |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let functions = paths.filter(|(modules, name)| {
        is_lower(name) && modules.split("::").all(|module| !module.is_empty() && is_lower(module))
    });
    functions.map(|(_, name)| name).collect()
}

#[test]
fn every_function_that_a_document_names_exists() {
    let directories = ["src", "tests", "benches", "examples", "fuzz"];
    let files = directories.iter().flat_map(|directory| files(Path::new(directory)));
    let is_rust = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "rs");
    let code: String =
        files.filter(is_rust).map(|file| fs::read_to_string(file).unwrap()).collect();
    let pages = fs::read_dir("docs").unwrap().map(|page| page.unwrap().path());
    let roots = ["README.md", "SAFETY.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(Into::into);
    let mut count = 0;
    for page in pages.chain(roots).filter(|page| page.extension().is_some_and(|end| end == "md")) {
        for name in named_functions(&fs::read_to_string(&page).unwrap()) {
            let exists = ["fn ", "mod "].iter().any(|item| {
                code.match_indices(&format!("{item}{name}")).any(|(at, found)| {
                    let next = code[at + found.len()..].chars().next();
                    next.is_none_or(|c| !c.is_alphanumeric() && c != '_')
                })
            });
            assert!(exists, "{} names {name}, which does not exist", page.display());
            count += 1;
        }
    }
    assert!(count > 20, "the documents name only {count} functions");
}
