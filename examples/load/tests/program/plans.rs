//! Plans: the same seed gives the same intentions, and a plan can be carried out again.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Reports, SHORT, SMALL, lines};

/// Runs a load without a store, and returns its report.
async fn report(arguments: &[&str]) -> Value {
    let reports = Reports::new();
    let output = reports.run(&[&SMALL[..], &SHORT, &["--no-store"], arguments].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let hash = &reports.json()["settings"]["plan"];
    let printed = lines(&output.stderr)[0].to_owned();
    assert_eq!(printed, format!("plan {}", hash.as_str().unwrap()));
    reports.json()
}

#[tokio::test]
async fn a_seed_gives_the_same_intentions_to_any_number_of_clients() {
    let first = report(&["--clients", "1"]).await;
    let other_seed = report(&["--seed", "2"]).await;

    for clients in ["8", "64"] {
        let same = report(&["--clients", clients]).await;

        assert_eq!(same["settings"]["plan"], first["settings"]["plan"]);
        assert_eq!(same["load"]["due"], first["load"]["due"]);
        // Who has nothing to return borrows: only the counts of groups do not depend on the order.
        let intended = |report: &Value| {
            let mut groups = BTreeMap::new();
            for operation in report["load"]["operations"].as_object().unwrap().values() {
                let outcomes = operation["outcomes"].as_object().unwrap().values();
                let count: u64 = outcomes.map(|count| count.as_u64().unwrap()).sum();
                *groups.entry(operation["group"].to_string()).or_insert(0) += count;
            }
            groups
        };
        assert_eq!(intended(&same), intended(&first));
    }
    assert_ne!(other_seed["settings"]["plan"], first["settings"]["plan"]);
}

#[tokio::test]
async fn a_plan_is_carried_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan");
    let path = path.to_str().unwrap();

    let written = report(&["--write-plan", path]).await;
    let read = report(&["--plan", path, "--seed", "9", "--seconds", "77"]).await;

    assert_eq!(read["settings"]["plan"], written["settings"]["plan"]);
    assert_eq!(read["load"]["due"], written["load"]["due"]);
    assert_eq!(read["settings"]["shape"], "plan");
}
