use std::process::{Command, Output};

use library::domain::BookCopyLentToReader;
use serde_json::Value;

use crate::support::{Library, add, at, book, lend, reader, register};

const SMALL: [&str; 10] =
    ["--seconds", "1", "--clients", "3", "--books", "40", "--readers", "9", "--log", "events"];

/// Runs the load to its end.
async fn run(arguments: &[&str]) -> Output {
    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(arguments);
    tokio::task::spawn_blocking(move || load.output()).await.unwrap().unwrap()
}

async fn run_against(library: &Library, arguments: &[&str]) -> Output {
    let servers = ["--primary", &library.primary, "--replica", &library.replica];
    run(&[&SMALL, &servers[..], arguments].concat()).await
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

    let report: Value = serde_json::from_reader(file).unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for (kind, count) in [("commands", 6), ("queries", 7)] {
        assert_eq!(report[kind].as_array().unwrap().len(), count);
    }
    assert_eq!(report["total"]["counts"]["error"], 0);
    assert_eq!(report["audit"]["findings"]["count"], 0);
}

#[tokio::test]
async fn finds_a_book_that_was_lent_twice() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&register(1, 2)).await;
    library.run(&register(2, 3)).await;
    library.run(&lend(1, 1, 4)).await;
    let (book, reader, occurred_at) = (book(1), reader(2), at(5));
    library.force(BookCopyLentToReader { book, reader, occurred_at }).await;

    let output = run_against(&library, &[]).await;

    let finding = format!("finding: event 5, BookCopyLentToReader: book {book} is lent already");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(lines(&output.stdout).contains(&finding.as_str()), "{output:?}");
}

#[tokio::test]
async fn says_in_one_line_why_it_cannot_run() {
    let nowhere = "postgres://postgres@127.0.0.1:1/library";
    for arguments in [
        &["--clients", "none"][..],
        &["--primary", nowhere],
        &["--primary", nowhere, "--replica", nowhere],
        &["--pg-bin", "/nowhere"],
    ] {
        let output = run(arguments).await;

        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(lines(&output.stdout), [""; 0], "{arguments:?}");
        assert_eq!(lines(&output.stderr).len(), 1, "{output:?}");
    }
}
