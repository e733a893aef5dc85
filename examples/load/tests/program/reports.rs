//! What the reports say.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Reports, SHORT, SMALL, Servers, assert_clean, output};

#[tokio::test]
async fn has_every_command_and_query() {
    let (servers, reports) = (Servers::open().await, Reports::new());

    let output =
        reports.run_against(&servers, &["--rate", "2000", "--closed", "--queries", "50"]).await;

    assert_clean(&output);
    let report = reports.json();
    let operations = report["load"]["operations"].as_object().unwrap();
    assert!(operations.len() >= 7, "{operations:?}");
    assert_eq!(report["settings"]["model"], "closed");
    assert_eq!(report["settings"]["shape"], "none");
    assert_eq!(report["settings"]["rates"], serde_json::json!([]));
    assert!(report["machine"]["processors"].as_u64() > Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("closed loop"), "{output:?}");
}

#[tokio::test]
async fn compares_two_loads() {
    let (reports, later) = (Reports::new(), Reports::new());
    let arguments = [&SMALL[..], &SHORT, &["--no-store"]].concat();
    assert_eq!(reports.run(&arguments).await.status.code(), Some(0));
    let faster = [&arguments[..], &["--rate", "90"]].concat();
    assert_eq!(later.run(&faster).await.status.code(), Some(0));

    let mut compare = Command::new(env!("CARGO_BIN_EXE_load"));
    compare.arg("compare").arg(reports.json_path()).arg(later.json_path());
    let compared = output(compare).await;
    let mut missing = Command::new(env!("CARGO_BIN_EXE_load"));
    missing.arg("compare").arg(reports.json_path()).arg("/nowhere/report.json");
    let refused = output(missing).await;

    assert_eq!(compared.status.code(), Some(0), "{compared:?}");
    let text = String::from_utf8_lossy(&compared.stdout);
    assert!(text.contains("the option rate differs: 60.0 before, 90.0 after"), "{text}");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/nowhere/report.json"));
}

#[tokio::test]
async fn shows_a_limit() {
    let reports = Reports::new();

    let limit = ["--no-store", "--find-limit", "--rounds", "1", "--window-seconds", "1"];
    let arguments = [&SMALL[..], &["--rate", "50000"], &limit].concat();
    let output = reports.run(&arguments).await;

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found = &reports.json()["limit"]["rounds"];
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert!(!found[0]["steps"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn accepts_addresses_of_keys_and_values() {
    let servers = Servers::open().await;
    let [primary, replica] = [&servers.primary, &servers.replica].map(|url| {
        let (host, database) = url.rsplit_once('/').unwrap();
        let port = host.rsplit_once(':').unwrap().1;
        format!("host=127.0.0.1 port={port} user=postgres dbname={database}")
    });
    for by_variables in [false, true] {
        let reports = Reports::new();
        let mut load = reports.command(&[&SMALL[..], &SHORT].concat());
        match by_variables {
            true => load.envs([("LIBRARY_PRIMARY", &primary), ("LIBRARY_REPLICA", &replica)]),
            false => load.args(["--primary", &primary, "--replica", &replica]),
        };

        assert_clean(&output(load).await);
    }
}

#[tokio::test]
async fn treats_an_empty_variable_as_unset() {
    let reports = Reports::new();
    let mut load = reports.command(&[&SMALL[..], &SHORT].concat());
    for name in ["SECONDS", "CLIENTS", "RATE", "MIX", "QUERIES", "REPLICAS", "SEED", "LOG", "JSON"]
    {
        load.env(format!("LIBRARY_{name}"), "");
    }
    load.envs([("LIBRARY_PRIMARY", ""), ("LIBRARY_REPLICA", "")]);
    if std::env::var_os("EDDYLINE_PG_BIN").is_none() {
        load.env("EDDYLINE_PG_BIN", "");
    }

    assert_clean(&output(load).await);
}

#[tokio::test]
async fn runs_in_a_folder_that_is_not_utf_8_and_leaves_only_the_reports() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join(OsStr::from_bytes(b"ad\xe9 lovelace"));
    std::fs::create_dir(&folder).unwrap();
    // The servers may run as another user, who needs access to the folders.
    for folder in [outer.path(), &folder] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let json = folder.join(OsStr::from_bytes(b"r\xe9port.json"));
    let html = folder.join("load-report.html");

    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(SMALL).args(SHORT).arg("--json").arg(&json).env("TMPDIR", &folder);
    load.current_dir(&folder);

    assert_clean(&output(load).await);
    let entries = |folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(entries(outer.path()).collect::<Vec<_>>(), [folder.as_path()]);
    let mut left: Vec<_> = entries(&folder).collect();
    left.sort();
    assert_eq!(left, [html, json]);
}
