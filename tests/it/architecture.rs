//! What keeps the code in order: who may know whom, and whose code may be linked.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const VOCABULARY: [&str; 12] = [
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
];

/// Each module outside of the vocabulary, with those outside of it that it may use.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("address", &[]),
    ("config", &["address", "log_name", "retry", "telemetry"]),
    ("log_name", &[]),
    ("pool", &["address", "config", "log_name", "server", "sql", "tls"]),
    ("retry", &["telemetry"]),
    ("schema", &["config", "log_name", "pool", "server", "sql"]),
    ("server", &["address", "log_name"]),
    ("sql", &["log_name"]),
    ("store", &["config", "log_name", "pool", "retry", "schema", "server", "sql", "telemetry"]),
    ("telemetry", &["server"]),
    ("tls", &["address", "config"]),
];

/// Returns the modules that a file names behind `crate::`, types at the root by their module.
fn used(source: &str) -> BTreeSet<String> {
    let root = fs::read_to_string("src/lib.rs").unwrap();
    let home = |name: &str| {
        let item = root
            .split(';')
            .map(|item| item.trim().trim_start_matches("#[doc(inline)]\n"))
            .find(|item| {
            item.starts_with("pub use")
                && item.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
        })?;
        item.strip_prefix("pub use crate::")?.split("::").next().map(str::to_owned)
    };
    let code: Vec<_> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let source = code.join("\n");
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
                used.insert(home(&name).unwrap_or(name));
            }
        }
    }
    used
}

fn sources(path: &Path) -> Vec<String> {
    if path.is_file() {
        return vec![fs::read_to_string(path).unwrap()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| sources(&path)).collect()
}

#[test]
fn modules_use_only_those_below_them() {
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

/// Returns what is linked on Linux, as `cargo metadata` tells it without a network.
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
fn dependencies_have_licences_that_ask_for_no_more_than_a_notice() {
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none");
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
        let allowed = expression.is_ok_and(|expression| {
            expression
                .evaluate(|one| one.license.id().is_some_and(|id| LICENCES.contains(&id.name)))
        });
        assert!(allowed, "{} is licensed as {licence}", package["name"]);
    }
}

#[test]
fn dependencies_need_no_newer_compiler_than_the_crate_says() {
    let minor = |version: &str| -> u32 { version.split('.').nth(1).unwrap().parse().unwrap() };
    for package in packages() {
        let needed = package["rust_version"].as_str().unwrap_or("1.0");
        assert!(minor(needed) <= minor(env!("CARGO_PKG_RUST_VERSION")), "{}", package["name"]);
    }
}

const LICENCES: [&str; 10] = [
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
