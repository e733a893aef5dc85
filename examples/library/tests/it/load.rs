use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

use library::domain::BookCopyLentToReader;
use local_postgres::Cluster;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Library, add, at, book, lend, reader, register};

const SMALL: [&str; 6] = ["--books", "40", "--readers", "9", "--log", "events"];
const SHORT: [&str; 4] = ["--seconds", "1", "--clients", "3"];

/// Runs the load generator until it exits.
async fn run(arguments: &[&str]) -> Output {
    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(arguments);
    tokio::task::spawn_blocking(move || load.output()).await.unwrap().unwrap()
}

async fn run_against(library: &Library, arguments: &[&str]) -> Output {
    let servers = ["--primary", &library.primary, "--replica", &library.replica];
    run(&[&SMALL[..], &SHORT, &servers, arguments].concat()).await
}

/// Starts the load generator against a library, with pipes for its output.
fn start(library: &Library, arguments: &[&str]) -> Child {
    let servers = ["--primary", &library.primary, "--replica", &library.replica];
    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    load.args([&SMALL[..], &servers, arguments].concat());
    load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends a signal when the load has started, and returns the output after that.
fn send_signal(mut load: Child, signal: Signal) -> Output {
    let mut errors = BufReader::new(load.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("load ") {
        line.clear();
        assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the load ended early");
    }
    kill_process(Pid::from_child(&load), signal).unwrap();
    let mut stderr = Vec::new();
    errors.read_to_end(&mut stderr).unwrap();
    Output { stderr, ..load.wait_with_output().unwrap() }
}

fn assert_clean(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let last = lines(&output.stdout).last().unwrap().to_string();
    assert!(last.starts_with("audit: no findings in "), "{output:?}");
}

fn lines(bytes: &[u8]) -> Vec<&str> {
    std::str::from_utf8(bytes).unwrap().lines().collect()
}

#[tokio::test]
async fn audits_a_log_and_continues_it() {
    let library = Library::open().await;

    for _ in 0..2 {
        let output = run_against(&library, &[]).await;

        let last = lines(&output.stdout).last().unwrap().to_string();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(last.starts_with("audit: no findings in "), "{last}");
    }
}

#[tokio::test]
async fn reports_every_command_and_query() {
    let library = Library::open().await;
    let file = tempfile::NamedTempFile::new().unwrap();

    let output = run_against(&library, &["--json", file.path().to_str().unwrap()]).await;

    let report: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for (kind, count) in [("commands", 6), ("queries", 7)] {
        assert_eq!(report[kind].as_array().unwrap().len(), count);
    }
    assert_eq!(report["total"]["counts"]["error"], 0);
    assert_eq!(report["audit"]["findings"]["count"], 0);
}

#[tokio::test]
async fn makes_only_queries_at_the_primary_if_asked() {
    let file = tempfile::NamedTempFile::new().unwrap();

    let file_arguments = ["--json", file.path().to_str().unwrap()];
    let arguments = ["--queries", "100", "--replicas", "0"];
    let output = run(&[&SMALL[..], &SHORT, &arguments, &file_arguments].concat()).await;

    assert_clean(&output);
    let report: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
    for command in report["commands"].as_array().unwrap() {
        assert!(command["counts"].as_object().unwrap().values().all(|count| count == 0));
    }
    assert_ne!(report["operations"], 0);
    assert_eq!(report["primary_cpu_ms"].is_number(), cfg!(target_os = "linux"));
}

#[tokio::test]
async fn finds_a_book_that_was_lent_twice() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&register(1, 2)).await;
    library.run(&register(2, 3)).await;
    library.run(&lend(1, 1, 4)).await;
    let (book, reader, occurred_at) = (book(1), reader(2), at(5));
    library.append_unchecked(BookCopyLentToReader { book, reader, occurred_at }).await;

    let output = run_against(&library, &[]).await;

    let finding = format!("finding: event 5, BookCopyLentToReader: book {book} is lent already");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(lines(&output.stdout).contains(&finding.as_str()), "{output:?}");
}

#[tokio::test]
async fn reports_a_fatal_error_in_one_line() {
    let unreachable = "postgres://postgres@127.0.0.1:1/library";
    for arguments in [
        &["--clients", "none"][..],
        &["--primary", unreachable],
        &["--primary", unreachable, "--replica", unreachable],
        &["--pg-bin", "/nowhere"],
    ] {
        let output = run(arguments).await;

        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(lines(&output.stdout), [""; 0], "{arguments:?}");
        assert_eq!(lines(&output.stderr).len(), 1, "{output:?}");
    }
}

#[tokio::test]
async fn succeeds_if_standard_error_is_closed() {
    let library = Library::open().await;

    let mut load = start(&library, &SHORT);
    drop(load.stderr.take());
    let output = tokio::task::spawn_blocking(|| load.wait_with_output()).await.unwrap().unwrap();

    assert_clean(&output);
}

#[tokio::test]
async fn audits_the_log_if_standard_output_is_closed() {
    let library = Library::open().await;
    let file = tempfile::NamedTempFile::new().unwrap();

    let mut load =
        start(&library, &[&SHORT[..], &["--json", file.path().to_str().unwrap()]].concat());
    drop(load.stdout.take());
    let output = tokio::task::spawn_blocking(|| load.wait_with_output()).await.unwrap().unwrap();

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
    assert_eq!(report["audit"]["findings"]["count"], 0);
}

#[tokio::test]
async fn audits_the_log_if_the_report_cannot_be_written() {
    let library = Library::open().await;

    let output = run_against(&library, &["--json", "/dev/full"]).await;

    let last = lines(&output.stdout).last().unwrap().to_string();
    assert!(last.starts_with("audit: no findings in "), "{output:?}");
    let error = lines(&output.stderr).last().unwrap().to_string();
    assert!(error.starts_with("error: cannot write /dev/full: "), "{output:?}");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[tokio::test]
async fn reports_and_audits_after_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let library = Library::open().await;

        let load = start(&library, &["--seconds", "600", "--clients", "3"]);
        let output = tokio::task::spawn_blocking(move || send_signal(load, signal));

        assert_clean(&output.await.unwrap());
    }
}

#[tokio::test]
async fn keeps_the_report_of_an_earlier_run_if_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    std::fs::write(&file, "earlier").unwrap();
    let unreachable = "postgres://postgres@127.0.0.1:1/library";

    let servers = ["--primary", unreachable, "--replica", unreachable];
    let output = run(&[&servers[..], &["--json", file.to_str().unwrap()]].concat()).await;

    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "earlier");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn audits_after_a_load_that_used_every_connection() {
    let cluster = Cluster::builder().fsync(false).max_connections(12).start().await.unwrap();
    cluster.create_database("library").await.unwrap();
    let url = cluster.primary().url("library");

    let servers = ["--primary", &url, "--replica", &url];
    let output =
        run(&[&SMALL[..], &servers, &["--seconds", "1", "--clients", "30"]].concat()).await;

    assert_clean(&output);
}

#[tokio::test]
async fn audits_after_a_load_that_used_every_file_descriptor() {
    let library = Library::open().await;

    let mut load = Command::new("sh");
    load.args(["-c", "ulimit -n 40 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_load")]);
    load.args(SMALL).args(["--primary", &library.primary, "--replica", &library.replica]);
    load.args(["--seconds", "1", "--clients", "60"]);
    let output = tokio::task::spawn_blocking(move || load.output()).await.unwrap().unwrap();

    assert_clean(&output);
}

#[tokio::test]
async fn accepts_addresses_of_keys_and_values() {
    let library = Library::open().await;
    let [primary, replica] = [&library.primary, &library.replica].map(|url| {
        let (host, database) = url.rsplit_once('/').unwrap();
        let port = host.rsplit_once(':').unwrap().1;
        format!("host=127.0.0.1 port={port} user=postgres dbname={database}")
    });
    for by_variables in [false, true] {
        let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
        load.args(SMALL).args(SHORT);
        match by_variables {
            true => load.envs([("LIBRARY_PRIMARY", &primary), ("LIBRARY_REPLICA", &replica)]),
            false => load.args(["--primary", &primary, "--replica", &replica]),
        };
        let output = tokio::task::spawn_blocking(move || load.output()).await.unwrap().unwrap();

        assert_clean(&output);
    }
}

#[tokio::test]
async fn treats_an_empty_variable_as_unset() {
    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(SHORT);
    for name in
        ["SECONDS", "CLIENTS", "BOOKS", "READERS", "QUERIES", "REPLICAS", "SEED", "LOG", "JSON"]
    {
        load.env(format!("LIBRARY_{name}"), "");
    }
    load.args(["--books", "40", "--readers", "9"])
        .envs([("LIBRARY_PRIMARY", ""), ("LIBRARY_REPLICA", "")]);
    if std::env::var_os("EDDYLINE_PG_BIN").is_none() {
        load.env("EDDYLINE_PG_BIN", "");
    }
    let output = tokio::task::spawn_blocking(move || load.output()).await.unwrap().unwrap();

    assert_clean(&output);
}

#[tokio::test]
async fn runs_in_a_folder_that_is_not_utf_8_and_leaves_only_the_report() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join(OsStr::from_bytes(b"ad\xe9 lovelace"));
    std::fs::create_dir(&folder).unwrap();
    // The servers may run as another user, who needs access to the folders.
    for folder in [outer.path(), &folder] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let report = folder.join(OsStr::from_bytes(b"r\xe9port.json"));

    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(SMALL).args(SHORT).arg("--json").arg(&report).env("TMPDIR", &folder);
    let output = tokio::task::spawn_blocking(move || load.output()).await.unwrap().unwrap();

    assert_clean(&output);
    let entries = |folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(entries(outer.path()).collect::<Vec<_>>(), [folder.as_path()]);
    assert_eq!(entries(&folder).collect::<Vec<_>>(), [report]);
}
