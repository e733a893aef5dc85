//! Runs short races, as a user would.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn command(arguments: &[&str]) -> Command {
    let mut race = Command::new(env!("CARGO_BIN_EXE_race"));
    race.args(arguments);
    race
}

fn race(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn outcome(output: &Output) -> String {
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    format!("{status}\n{stdout}\n{stderr}")
}

#[test]
fn finds_no_violation_in_the_store() {
    let output = race(&["--writers", "12", "--processes", "2", "--seconds", "5"]);

    assert_eq!(output.status.code(), Some(0), "{}", outcome(&output));
}

/// A short race may not find a violation, so it is repeated.
#[test]
fn finds_violations_in_the_predecessor() {
    let arguments = ["--protocol", "predecessor", "--writers", "12", "--seconds", "4"];
    let mut outputs = (0..5).map(|_| race(&arguments));

    let found = outputs.find(|output| output.status.code() != Some(0)).expect("a violation");

    assert_eq!(found.status.code(), Some(1), "{}", outcome(&found));
}

/// A signal ends the race early. The race also works if its standard output is closed.
#[test]
fn checks_the_log_after_a_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("outcome.json");
        let json = ["--json", file.to_str().unwrap()];
        let mut race = command(&[&["--writers", "8", "--seconds", "600"], &json[..]].concat());
        let mut race = race.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(race.stdout.take());
        let mut errors = BufReader::new(race.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("race ") {
            line.clear();
            assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the race ended early");
        }

        kill_process(Pid::from_child(&race), signal).unwrap();

        let mut text = String::new();
        errors.read_to_string(&mut text).unwrap();
        // Some kind of operation may not have occurred yet.
        let code = race.wait().unwrap().code();
        assert!(code == Some(0) || code == Some(3), "{code:?} {text}");
        let outcome: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(outcome["faults"]["WRONG"]["count"], 0);
    }
}

/// A stopped worker keeps the race from ending by itself.
#[test]
fn a_signal_after_the_writers_end_terminates_the_program() {
    let mut race = command(&["--writers", "8", "--seconds", "10", "--at-most", "10"]);
    let mut race = race.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(race.stderr.take().unwrap());
    let mut wait_for = |beginning: &str| {
        let mut line = String::new();
        while !line.starts_with(beginning) {
            line.clear();
            assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the race ended early");
        }
    };
    wait_for("race ");
    let worker = worker_of(race.id());
    kill_process(worker, Signal::STOP).unwrap();
    wait_for("race: the writers end");

    kill_process(Pid::from_child(&race), Signal::TERM).unwrap();

    let status = race.wait().unwrap();
    kill_process(worker, Signal::CONT).unwrap();
    assert_eq!(status.code(), Some(128 + Signal::TERM.as_raw()), "{status}");
}

/// Returns the only worker of a race.
fn worker_of(race: u32) -> Pid {
    let children = format!("/proc/{race}/task");
    let threads = std::fs::read_dir(children).unwrap().map(|thread| thread.unwrap().path());
    let children = threads.map(|thread| std::fs::read_to_string(thread.join("children")).unwrap());
    let children: Vec<_> = children.collect();
    let mut children = children.iter().flat_map(|children| children.split_whitespace());
    let is_worker = |child: &&str| {
        let line = std::fs::read_to_string(format!("/proc/{child}/cmdline"));
        line.is_ok_and(|line| line.split('\0').any(|argument| argument == "worker"))
    };
    let worker = children.find(is_worker).expect("a worker");
    Pid::from_raw(worker.parse().unwrap()).unwrap()
}

#[test]
fn reports_an_unreachable_server_in_one_line() {
    let output = race(&["--primary", "postgres://127.0.0.1:1/library"]);

    assert_eq!(output.status.code(), Some(2), "{}", outcome(&output));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}
