//! The structure of the code, and the licenses and compiler versions of its dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The modules of the vocabulary, which all modules may use.
const VOCABULARY: [&str; 15] = [
    "bookmark",
    "causality",
    "condition",
    "decision",
    "error",
    "event",
    "filter",
    "history",
    "imported",
    "json",
    "limits",
    "mode",
    "position",
    "query",
    "replica",
];

/// Each other module, with the modules outside of the vocabulary that it may use.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("address", &[]),
    ("config", &["address", "log_name", "retry", "telemetry"]),
    ("log_name", &[]),
    ("pool", &["address", "config", "log_name", "server", "sql", "telemetry", "tls"]),
    ("retry", &["telemetry"]),
    ("schema", &["config", "log_name", "pool", "server", "sql"]),
    ("server", &["address", "log_name"]),
    ("sql", &["log_name"]),
    (
        "store",
        &["address", "config", "log_name", "pool", "retry", "schema", "server", "sql", "telemetry"],
    ),
    ("telemetry", &["server"]),
    ("tls", &["address", "config"]),
];

/// The stages of the appender, each with the words that its code must not name. Only the worker,
/// which has the control flow, knows connections as well as callers.
const STAGES: [(&str, &[&str]); 3] = [
    ("src/store/appender/plan.rs", &["connection", "lease", "pool"]),
    ("src/store/appender/execute.rs", &["oneshot", "replies", "reply", "sender"]),
    ("src/store/appender/settle.rs", &["client", "lease", "pool"]),
];

/// The file that is compiled without the feature `telemetry`, instead of files with the same types.
const SUBSTITUTE: &str = "src/telemetry/disabled.rs";

/// Returns the modules that a file names after `crate::`. For a type that the crate's root exports,
/// this is the type's module.
fn used(source: &str) -> BTreeSet<String> {
    let root = fs::read_to_string("src/lib.rs").unwrap();
    let module_of = |name: &str| {
        let mut exports = root.split(';').filter_map(|item| item.split_once("use crate::"));
        let (_, path) = exports.find(|(_, path)| {
            path.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
        })?;
        path.split("::").next().map(str::to_owned)
    };
    let source = without_comments(source);
    let mut used = BTreeSet::new();
    for (at, _) in source.match_indices("crate::") {
        let path = &source[at + "crate::".len()..];
        let names = match path.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![path],
        };
        for name in names {
            let name: String =
                name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() && name != "self" {
                used.insert(module_of(&name).unwrap_or(name));
            }
        }
    }
    used
}

fn without_comments(source: &str) -> String {
    let code: Vec<_> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    code.join("\n")
}

/// Returns the names of the types that a file defines.
fn defined_types(source: &str) -> Vec<String> {
    let code = without_comments(source);
    let name = |line: &str| {
        let mut item = line.trim_start();
        if let Some(rest) = item.strip_prefix("pub") {
            let scope = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            item = scope.map_or(rest, |(_, rest)| rest).trim_start();
        }
        let (keyword, rest) = item.split_once(' ')?;
        let is_type = ["enum", "struct", "trait", "union"].contains(&keyword);
        let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
        is_type.then(|| rest.chars().take_while(is_name).collect())
    };
    code.lines().filter_map(name).collect()
}

/// Returns the words of the identifiers and texts in a file, in lower case. Its tests and comments
/// are left out.
fn words(source: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut words = BTreeSet::new();
    for name in without_comments(source).split(|c: char| !c.is_alphanumeric()) {
        let mut word = String::new();
        for c in name.chars() {
            if c.is_uppercase() {
                words.insert(std::mem::take(&mut word));
            }
            word.extend(c.to_lowercase());
        }
        words.insert(word);
    }
    words
}

/// Returns the files below a path, without build output.
pub fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| !path.ends_with("target")).flat_map(|path| files(&path)).collect()
}

fn sources(path: &Path) -> Vec<String> {
    files(path).iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn no_type_name_is_defined_twice() {
    let mut definitions = BTreeMap::new();
    for file in files(Path::new("src")).iter().filter(|file| *file != Path::new(SUBSTITUTE)) {
        for name in defined_types(&fs::read_to_string(file).unwrap()) {
            *definitions.entry(name).or_insert(0) += 1;
        }
    }
    // Each sealed trait has a supertrait of this name.
    definitions.remove("Sealed");

    assert_eq!(definitions.get("Store"), Some(&1));
    definitions.retain(|_, count| *count > 1);
    assert!(definitions.is_empty(), "defined more than once: {definitions:?}");
}

#[test]
fn the_stages_of_the_appender_know_only_their_own_side() {
    for (path, forbidden) in STAGES {
        let source = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let words = words(&source);

        assert!(words.contains("batch"), "{path} has no code");
        for word in forbidden {
            let is_named = words.contains(*word) || words.contains(&format!("{word}s"));
            assert!(!is_named, "{path} names a {word}");
        }
    }
}

#[test]
fn modules_use_only_the_modules_below_them() {
    let mut modules = BTreeSet::new();
    for entry in fs::read_dir("src").unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if module == "lib" {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
        assert!(allowed.is_some() || VOCABULARY.contains(&module.as_str()), "{module} is unknown");
        for source in sources(&path) {
            for used in used(&source) {
                let may = used == module
                    || VOCABULARY.contains(&used.as_str())
                    || allowed.is_some_and(|allowed| allowed.contains(&used.as_str()));
                assert!(may, "{module} uses {used}");
            }
        }
        modules.insert(module);
    }
    for (module, _) in MAY_USE {
        assert!(modules.contains(module), "{module} is gone");
    }
}

/// `rustfmt` does not wrap comments. A table has a line for each row, however long.
#[test]
fn comments_are_wrapped_at_100_columns() {
    for file in ["src", "tests/it"].iter().flat_map(|folder| files(Path::new(folder))) {
        let source = fs::read_to_string(&file).unwrap();
        let comments = source.lines().filter(|line| line.trim_start().starts_with("//"));
        for comment in comments.filter(|line| !line.contains("/ |") && !line.contains("! |")) {
            assert!(comment.chars().count() <= 100, "{}: {comment}", file.display());
        }
    }
}

/// Returns the packages that are linked on Linux, as `cargo metadata` lists them without a network.
fn packages() -> Vec<serde_json::Value> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let linked: BTreeSet<_> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.filter(|one| linked.contains(one["id"].as_str().unwrap())).cloned().collect()
}

#[test]
fn dependencies_have_licenses_that_require_no_more_than_a_notice() {
    for package in packages() {
        let license = package["license"].as_str().unwrap_or("none");
        let expression = spdx::Expression::parse_mode(license, spdx::ParseMode::LAX);
        let allowed = expression.is_ok_and(|expression| {
            expression
                .evaluate(|one| one.license.id().is_some_and(|id| LICENSES.contains(&id.name)))
        });
        assert!(allowed, "{} is licensed as {license}", package["name"]);
    }
}

#[test]
fn dependencies_need_no_newer_compiler_than_the_crate() {
    let minor = |version: &str| -> u32 { version.split('.').nth(1).unwrap().parse().unwrap() };
    for package in packages() {
        let needed = package["rust_version"].as_str().unwrap_or("1.0");
        assert!(minor(needed) <= minor(env!("CARGO_PKG_RUST_VERSION")), "{}", package["name"]);
    }
}

/// Licenses that require no more than a notice.
const LICENSES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];
