//! Runs each campaign for a short while, on a cluster of its own.

use console::{Conclusion, Stop};
use faults::{Campaign, Plan, Report, Visibility, run};

async fn run_campaign(campaign: Campaign, appends: u64, retry: bool) -> Report {
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
    assert!(stop.is_set(), "a signal after the last campaign must end the program");
    report
}

/// Runs a campaign with a retry policy: the outcomes are known, and the log is consistent with
/// them.
async fn passes(campaign: Campaign, appends: u64) {
    let report = run_campaign(campaign, appends, true).await;

    assert_eq!(report.conclusion(false), Conclusion::Passed, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections() {
    passes(Campaign::Cut, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_bytes() {
    passes(Campaign::Stall, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partly_delivered_requests() {
    passes(Campaign::Half, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_under_the_lock() {
    let report = run_campaign(Campaign::Locked, 200, true).await;

    assert_eq!(report.conclusion(false), Conclusion::Passed, "{report}");
    assert!(report.escalated(Campaign::Locked) > 200, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults_on_any_connection() {
    passes(Campaign::Anywhere, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_backends() {
    passes(Campaign::Kill, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_backends() {
    passes(Campaign::Terminate, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_primary() {
    passes(Campaign::Restart, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_connection_slots() {
    passes(Campaign::Slots, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_lock_and_statement_timeouts() {
    passes(Campaign::Timeouts, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server() {
    passes(Campaign::Freeze, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_network() {
    passes(Campaign::Silence, 80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_network() {
    passes(Campaign::Slow, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_and_promoted_synchronous_standby() {
    passes(Campaign::Standby, 200).await;
}

/// The faults take effect: without a retry policy they leave outcomes unknown, but no reported
/// outcome is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_retry_policy_outcomes_stay_unknown() {
    let report = run_campaign(Campaign::Cut, 200, false).await;

    assert!(report.verdict.is_consistent(), "{report}");
    assert!(report.verdict.unknown > 10, "{report}");
    assert_eq!(report.conclusion(true), Conclusion::Passed, "{report}");
}
