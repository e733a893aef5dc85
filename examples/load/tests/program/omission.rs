//! Latencies from the intended start show what service times leave out.

use crate::support::{Reports, SMALL, assert_clean};

#[tokio::test]
async fn a_frozen_primary_shows_in_latencies_and_not_in_service_times() {
    let reports = Reports::new();

    let rate = ["--shape", "constant", "--rate", "100", "--seconds", "6", "--clients", "4"];
    let freeze = ["--at", "2s", "freeze", "primary", "for", "2s"];
    let output = reports.run(&[&SMALL[..], &rate, &freeze].concat()).await;

    // A third of the commands are due while the primary is frozen, and all of them wait for it. Only
    // four have begun: the others wait in the queue.
    assert_clean(&output);
    let report = reports.json();
    let p95 = |kind: &str| report["load"]["commands"][kind]["p95"].as_f64().unwrap();
    assert!(p95("latency") > 1_000.0, "{}", p95("latency"));
    assert!(p95("service") < p95("latency") / 2.0, "{} {}", p95("service"), p95("latency"));
    assert_eq!(report["faults"][0]["text"], "freeze primary");
    assert!(report["faults"][0]["until"].is_number(), "{}", report["faults"]);
    assert_eq!(report["servers"]["servers"].as_array().unwrap().len(), 3);
    assert_eq!(report["settings"]["is_embedded"], true);
    assert_eq!(report["settings"]["rates"], serde_json::Value::from(vec![100.0; 6]));
    assert_eq!(report["asked"]["lending"], 0.7);
    assert_eq!(report["cpu_per_operation_us"].is_number(), cfg!(target_os = "linux"));
}
