//! Short runs of the program, as a user would start it.

use std::process::{Command, Output};

fn freshness(arguments: &[&str]) -> Output {
    let mut freshness = Command::new(env!("CARGO_BIN_EXE_freshness"));
    freshness.args(["--no-fsync", "--seconds", "3"]).args(arguments).output().unwrap()
}

fn outcome(Output { status, stdout, stderr }: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    format!("{status}\n{stdout}\n{stderr}")
}

/// Returns the first number in the row of a report with this name.
fn first_number(report: &str, name: &str) -> Option<u64> {
    report.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[test]
fn finds_no_violation_in_the_store() {
    let output = freshness(&["--at-most", "600"]);

    let outcome = outcome(&output);
    assert_eq!(output.status.code(), Some(0), "{outcome}");
    for violation in ["STALE", "TORN", "BACKWARDS", "PRIMARY", "WRONG"] {
        assert_eq!(first_number(&outcome, violation), Some(0), "{violation}: {outcome}");
    }
    for occurred in KINDS_OF_READS.iter().chain(&KINDS_OF_DISTURBANCES) {
        assert!(first_number(&outcome, occurred) > Some(0), "{occurred}: {outcome}");
    }
}

#[test]
fn finds_what_sabotage_does() {
    for sabotage in ["bounds", "events", "primary"] {
        let output = freshness(&["--sabotage", sabotage]);

        assert_eq!(output.status.code(), Some(0), "{sabotage}: {}", outcome(&output));
    }
}

const KINDS_OF_READS: [&str; 6] =
    ["plain", "at least", "max staleness", "causal", "tail", "fallback"];
const KINDS_OF_DISTURBANCES: [&str; 9] = [
    "paused",
    "delayed",
    "frozen",
    "killed",
    "restarted",
    "removed",
    "slowed",
    "promoted",
    "failed over",
];
