//! Holds short races, as a user would.

use std::process::{Command, Output};

fn race(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_race")).args(arguments).output().unwrap()
}

fn outcome(output: &Output) -> String {
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    format!("{status}\n{stdout}\n{stderr}")
}

#[test]
fn finds_no_fault_with_the_store() {
    let output = race(&["--writers", "12", "--processes", "2", "--seconds", "5"]);

    assert_eq!(output.status.code(), Some(0), "{}", outcome(&output));
}

#[test]
fn finds_the_predecessor_wrong() {
    let output = race(&["--protocol", "predecessor", "--writers", "12", "--seconds", "4"]);

    assert_eq!(output.status.code(), Some(1), "{}", outcome(&output));
}

#[test]
fn tells_what_it_cannot_reach_in_one_line() {
    let output = race(&["--primary", "postgres://127.0.0.1:1/library"]);

    assert_eq!(output.status.code(), Some(2), "{}", outcome(&output));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}
