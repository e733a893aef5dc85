//! The CPU time of the primary under the demo's load, with replicas and without.

use std::process::Command;

use console::print_stdout;
use serde_json::Value;

use crate::Bench;
use crate::cluster::target;
use crate::rounds::{clear_progress, median};

pub async fn run(bench: &mut Bench) {
    let names = ["replicas/primary-share"];
    let title = format!("replicas: the demo with {QUERIES} % of queries, 2 replicas to none");
    if !bench.starts_part(&names, &title) {
        return;
    }
    let mut ratios = Vec::new();
    for round in 1..=bench.rounds.rounds.min(ROUNDS) {
        bench.rounds.show_progress(round, "the demo with and without replicas");
        let (with, without) = (demo("2"), demo("0"));
        clear_progress();
        print_stdout(&format_args!(
            "  {with:.3} ms of the primary's CPU time per operation, {without:.3} without replicas"
        ));
        ratios.push(with / without);
    }
    bench.table.report(names[0], median(ratios));
}

/// Runs the demo, with its audit. Returns the CPU time of the primary per operation, in
/// milliseconds.
fn demo(replicas: &str) -> f64 {
    let report = target().join("bench-demo.json");
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut demo = Command::new(cargo);
    demo.args("run --release --quiet --package library --bin load --".split(' '))
        .args(["--queries", QUERIES, "--replicas", replicas, "--seconds", SECONDS, "--json"])
        .arg(&report);
    let output = demo.output().expect("the demo");
    assert!(output.status.success(), "{output:?}");
    let report = std::fs::read(&report).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("a report in JSON");
    report["primary_cpu_ms"].as_f64().expect("a time")
}

/// The share of queries in percent.
const QUERIES: &str = "90";
const SECONDS: &str = "5";
/// The most rounds: each takes half a minute.
const ROUNDS: u64 = 3;
