//! The parts of the load generator use each other in one direction.

use std::fs;
use std::path::Path;

/// Returns the parts in the order in which the documentation of the crate names them.
fn parts() -> Vec<&'static str> {
    let items = include_str!("lib.rs").lines().filter_map(|line| line.strip_prefix("//! - "));
    let names = items.filter_map(|item| item.split_once("]:")).map(|(names, _)| names);
    names.flat_map(|names| names.split('`').skip(1).step_by(2)).collect()
}

/// Returns the code of a part, without its tests.
fn code(path: &Path) -> String {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        return entries
            .filter(|entry| !entry.ends_with("tests"))
            .map(|entry| code(&entry))
            .collect();
    }
    let is_code = path.extension().is_some_and(|extension| extension == "rs");
    if !is_code || path.ends_with("tests.rs") {
        return String::new();
    }
    // A part is a file or a folder.
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// Returns the parts that a part names after `crate::`.
fn used(part: &str) -> Vec<String> {
    let source = Path::new("src");
    let code = code(&source.join(part)) + &code(&source.join(format!("{part}.rs")));
    assert!(!code.is_empty(), "{part}");
    let mut used = Vec::new();
    for path in code.split("crate::").skip(1) {
        let names = match path.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![path],
        };
        for name in names {
            let name = name.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next();
            used.extend(name.map(str::to_owned));
        }
    }
    used
}

#[test]
fn the_documentation_of_the_crate_names_every_part() {
    let modules = include_str!("lib.rs").lines().filter_map(|line| line.strip_prefix("pub mod "));
    let mut named = parts();
    named.sort_unstable();

    assert!(named.iter().copied().eq(modules.map(|module| module.trim_end_matches(';'))));
}

#[test]
fn each_part_uses_only_those_named_before_it() {
    let parts = parts();
    for (at, part) in parts.iter().enumerate() {
        for name in used(part) {
            let position = parts.iter().position(|other| **other == *name);
            assert!(position.is_none_or(|position| position <= at), "{part} uses {name}");
        }
    }
}
