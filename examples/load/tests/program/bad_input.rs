//! Options that cannot be followed.

use std::process::Output;

use crate::support::{Reports, SHORT, SMALL, Servers, assert_clean, lines};

#[track_caller]
fn assert_refused(output: &Output, text: &str) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(lines(&output.stdout), [""; 0], "{output:?}");
    let errors = lines(&output.stderr);
    assert!(errors.last().unwrap().contains(text), "{text}: {output:?}");
}

#[tokio::test]
async fn names_the_option_that_is_wrong() {
    let unreachable = "postgres://postgres@127.0.0.1:1/library";
    for (arguments, text) in [
        (&["--clients", "none"][..], "--clients"),
        (&["--primary", unreachable], "--replica"),
        (&["--pg-bin", "/nowhere"], "no programs of PostgreSQL"),
        (&["--mix", "70,25,6"], "must add up to 100"),
        (&["--mix", "80,25,-5"], "between 0 and 100"),
        (&["--mix", "70,30"], "three shares"),
        (&["--rejected", "-1"], "--rejected must be between 0 and 100"),
        (&["--idempotent", "60", "--rejected", "40"], "at most 90"),
        (&["--lost-rounds", "30"], "--lost-rounds 30 is too high"),
        (&["--rate", "0"], "rate"),
        (&["--rate", "NaN"], "rate"),
        (&["--rate", "1e12"], "at most"),
        (&["--loans", "300", "--books", "200"], "every loan needs a book"),
        (&["--loans", "2000", "--books", "5000"], "each may have 10"),
        (&["--book-skew", "-0.5"], "--book-skew"),
        (&["--find-limit", "--goal-ms", "0"], "--goal-ms"),
        (&["--at", "1s pause replica-7"], "replica-7"),
        (&["--at", "1s pause primary"], "pause"),
        (&["--at", "soon", "kill", "primary"], "soon"),
        (&["--at", "900s kill primary"], "does not end before the load"),
        (&["--metrics", "here", "--pg-bin", "/nowhere"], "--metrics must be off, HOST:PORT"),
        (&["--export", "http://localhost", "--pg-bin", "/nowhere"], "otlp://HOST:PORT"),
        (&["--log", "bad name", "--pg-bin", "/nowhere"], "bad name"),
        (&["--json", "/nowhere/report.json"], "/nowhere/report.json"),
        (&["--html", "/nowhere/report.html"], "/nowhere/report.html"),
        (&["--write-plan", "/nowhere/plan"], "/nowhere/plan"),
        (&["--plan", "/nowhere/plan"], "/nowhere/plan"),
        (&["--plan", "/dev/null"], "is not a plan"),
    ] {
        let mut load = std::process::Command::new(env!("CARGO_BIN_EXE_load"));
        load.args(["--readers", "100", "--html", "/dev/null"]).args(arguments);
        let output = crate::support::output(load).await;

        assert_refused(&output, text);
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named() {
    let unreachable = "postgres://postgres@127.0.0.1:1/library";

    let output = Reports::new().run(&["--primary", unreachable, "--replica", unreachable]).await;

    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(lines(&output.stdout), [""; 0], "{output:?}");
    assert!(lines(&output.stderr).last().unwrap().contains("127.0.0.1:1"), "{output:?}");
}

#[tokio::test]
async fn a_plan_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan");
    std::fs::write(&path, "{\"eddyline_load_plan\":99}\n").unwrap();

    let mut load = std::process::Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(["--html", "/dev/null", "--plan"]).arg(&path);
    let output = crate::support::output(load).await;

    assert_refused(&output, "is a plan of version 99");
}

#[tokio::test]
async fn audits_the_log_if_a_report_cannot_be_written() {
    let servers = Servers::open().await;

    let mut load = std::process::Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(SMALL).args(SHORT).args(servers.arguments());
    load.args(["--json", "/dev/full", "--html", "/dev/null"]);
    let output = crate::support::output(load).await;

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("audit: no findings in "), "{output:?}");
    let error = lines(&output.stderr).last().unwrap().to_string();
    assert!(error.starts_with("error: cannot write /dev/full: "), "{output:?}");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[tokio::test]
async fn keeps_the_report_of_an_earlier_run_if_it_fails() {
    let reports = Reports::new();
    std::fs::write(reports.json_path(), "earlier").unwrap();
    let unreachable = "postgres://postgres@127.0.0.1:1/library";

    let output = reports.run(&["--primary", unreachable, "--replica", unreachable]).await;

    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(std::fs::read_to_string(reports.json_path()).unwrap(), "earlier");
    assert_eq!(std::fs::read_dir(reports.folder()).unwrap().count(), 1);
}

#[tokio::test]
async fn more_than_the_machine_can_do_is_late_and_not_lost() {
    let reports = Reports::new();
    let servers = Servers::open().await;

    let output = reports
        .run_against(&servers, &["--rate", "20000", "--clients", "2", "--seconds", "1"])
        .await;

    assert_clean(&output);
    let load = &reports.json()["load"];
    let count = |name: &str| load[name].as_u64().unwrap();
    assert!(count("due") > 15_000 && count("late") > 0, "{load}");
    assert_eq!(count("begun"), count("ended") + count("impossible"));
    assert!(count("begun") <= count("due"));
}
