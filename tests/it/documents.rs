//! The documents name functions and tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

use crate::architecture::files;

/// Returns the modules and names of the functions that a document names by a path in backticks,
/// such as `append::a_conflict_is_refused`.
fn named_functions(document: &str) -> Vec<(&str, &str)> {
    let quoted = document.split('`').skip(1).step_by(2);
    let paths = quoted.filter_map(|path| path.rsplit_once("::"));
    let is_lower =
        |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let functions = paths.filter(|(modules, name)| {
        is_lower(name) && modules.split("::").all(|module| !module.is_empty() && is_lower(module))
    });
    functions.collect()
}

/// Returns the module of a file, as a path without extension.
fn module_of(file: &Path) -> PathBuf {
    let module = file.with_extension("");
    match module.file_name() {
        Some(name) if name == "mod" => module.parent().unwrap().to_owned(),
        _ => module,
    }
}

#[test]
fn every_function_that_a_document_names_exists() {
    let directories = ["src", "tests", "benches", "examples", "fuzz", "observability/dashboards"];
    let files = directories.iter().flat_map(|directory| files(Path::new(directory)));
    let is_rust = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "rs");
    let sources: Vec<_> = files
        .filter(is_rust)
        .map(|file| (module_of(&file), fs::read_to_string(file).unwrap()))
        .collect();
    let pages = fs::read_dir("docs").unwrap().map(|page| page.unwrap().path());
    let roots = ["README.md", "SAFETY.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(Into::into);
    let mut count = 0;
    for page in pages.chain(roots).filter(|page| page.extension().is_some_and(|end| end == "md")) {
        for (modules, name) in named_functions(&fs::read_to_string(&page).unwrap()) {
            let modules = modules.strip_suffix("::tests").unwrap_or(modules).replace("::", "/");
            let of_module = || sources.iter().filter(|(module, _)| module.ends_with(&modules));
            let exists = ["fn ", "mod "].iter().any(|item| {
                let item = format!("{item}{name}");
                of_module().flat_map(|(_, code)| code.split(&item).skip(1)).any(|rest| {
                    !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
                })
            });
            assert!(exists, "{} names {modules}/{name}, which does not exist", page.display());
            count += 1;
        }
    }
    assert!(count > 20, "the documents name only {count} functions");
}
