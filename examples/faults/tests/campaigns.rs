//! Fights each campaign for a short while, on a cluster of its own.

use console::Stop;
use faults::{Campaign, Conclusion, Plan, Report, Visibility, run};

async fn fight(campaign: Campaign, appends: u64, retry: bool) -> Report {
    let stop = Stop::default();
    let plan = Plan {
        campaigns: vec![campaign],
        appends,
        writers: 8,
        retry,
        fsync: false,
        pg_bin: None,
        seed: 42,
        stop: stop.clone(),
    };
    let report = run(plan, Visibility::Hidden).await.unwrap();
    assert!(
        stop.is_set(),
        "a signal after the last campaign would be taken for a request to end it"
    );
    report
}

/// Fights under a retry policy: every outcome is known, and everything is as it was told.
async fn holds(campaign: Campaign, appends: u64) {
    let report = fight(campaign, appends, true).await;

    assert_eq!(report.conclusion(false), Conclusion::Passed, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_at_any_byte() {
    holds(Campaign::Cut, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_arrive_late() {
    holds(Campaign::Stall, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_an_append() {
    holds(Campaign::Half, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_holds_the_lock() {
    let report = fight(Campaign::Locked, 200, true).await;

    assert_eq!(report.conclusion(false), Conclusion::Passed, "{report}");
    assert!(report.escalated(Campaign::Locked) > 200, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_anywhere() {
    holds(Campaign::Anywhere, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_sessions() {
    holds(Campaign::Kill, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_sessions() {
    holds(Campaign::Terminate, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_starts_again() {
    holds(Campaign::Restart, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_slots() {
    holds(Campaign::Slots, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_holds() {
    holds(Campaign::Timeouts, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_for_a_while() {
    holds(Campaign::Freeze, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_falls_silent() {
    holds(Campaign::Silence, 80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line() {
    holds(Campaign::Slow, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_standby_that_goes_away_and_takes_over() {
    holds(Campaign::Standby, 200).await;
}

/// The campaigns is real: without a policy it leaves outcomes unknown, but nothing untrue is told.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_retry_policy_outcomes_stay_unknown() {
    let report = fight(Campaign::Cut, 200, false).await;

    assert!(report.verdict.is_true(), "{report}");
    assert!(report.verdict.unknown > 10, "{report}");
    assert_eq!(report.conclusion(true), Conclusion::Passed, "{report}");
}
