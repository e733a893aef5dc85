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

#[test]
fn finds_what_sabotage_does() {
    for sabotage in ["bounds", "events", "primary"] {
        let output = freshness(&["--sabotage", sabotage]);

        assert_eq!(output.status.code(), Some(0), "{sabotage}: {}", outcome(&output));
    }
}
