//! The values that are computed from a report, on numbers that can be checked by hand.

use load::report::{Report, Shares};
use load::tally::Outcomes;

use crate::sample;

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
}

/// Returns a report with one command and one query.
fn small_report() -> Report {
    let mut report = sample::report();
    report
        .load
        .operations
        .retain(|name, _| ["AddBookCopy", "BooksLentOut"].contains(&name.as_str()));
    let command = Outcomes { success: 60, idempotent: 20, rejected: 10, conflict: 10, error: 5 };
    let query = Outcomes { success: 60, error: 40, ..Outcomes::default() };
    for (name, outcomes) in [("AddBookCopy", command), ("BooksLentOut", query)] {
        report.load.operations.get_mut(name).unwrap().outcomes = outcomes;
    }
    report.load.commands_with_lost_rounds = 20;
    report
}

#[test]
fn shares_are_those_of_the_answered_operations() {
    let got = small_report().got();

    let Shares { success, idempotent, rejected } = got.outcomes;
    assert_near(success, 60.0 / 90.0);
    assert_near(idempotent, 20.0 / 90.0);
    assert_near(rejected, 10.0 / 90.0);
    assert_near(got.circulation, 1.0);
    assert_near(got.lending, 0.0);
    assert_near(got.queries, 60.0 / 150.0);
    assert_near(got.lost_rounds, 20.0 / 100.0);
}

#[test]
fn a_difference_is_got_minus_asked() {
    let report = small_report();

    let difference = report.got().minus(&report.asked);

    assert_near(difference.outcomes.success, 60.0 / 90.0 - 0.88);
    assert_near(difference.outcomes.idempotent, 20.0 / 90.0 - 0.05);
    assert_near(difference.outcomes.rejected, 10.0 / 90.0 - 0.07);
    assert_near(difference.lost_rounds, 0.2 - 0.02);
    assert_near(difference.circulation, 0.75);
    assert_near(difference.queries, 0.4 - 0.25);
}

#[test]
fn the_rate_that_was_asked_for_is_weighted_by_the_windows() {
    let mut report = sample::report();
    report.settings.rates = vec![100.0, 200.0];
    report.load.windows.truncate(2);
    report.load.windows[1].seconds = 0.5;
    report.load.seconds = 1.5;

    let figures = report.figures();

    assert_near(figures.rate_asked.unwrap(), (100.0 + 100.0) / 1.5);
    assert_near(figures.rate_achieved, report.load.ended as f64 / 1.5);
    assert_eq!(figures.not_begun, 2);
}

#[test]
fn a_window_has_its_rates_per_second() {
    let mut report = sample::report();
    let window = &mut report.load.windows[10];
    (window.seconds, window.due, window.ended, window.retries) = (2.0, 200, 150, 30);
    window.command_outcomes =
        Outcomes { success: 80, idempotent: 10, rejected: 8, conflict: 4, error: 2 };

    let figures = &report.figures().windows[10];

    assert_near(figures.at, 11.0);
    assert_near(figures.rate_due, 100.0);
    assert_near(figures.rate_achieved, 75.0);
    assert_near(figures.retries, 15.0);
    let commands = figures.commands;
    let rates = [
        commands.success,
        commands.idempotent,
        commands.rejected,
        commands.conflict,
        commands.error,
    ];
    assert_eq!(rates, [40.0, 5.0, 4.0, 2.0, 1.0]);
}

#[test]
fn the_spread_of_a_limit_is_a_share_of_its_median() {
    let mut report = sample::report();
    let rounds = &mut report.limit.as_mut().unwrap().rounds;
    for (round, rate) in rounds.iter_mut().zip([500.0, 400.0, 450.0]) {
        round.highest_rate = Some(rate);
    }

    let limit = report.figures().limit.unwrap();

    assert_near(limit.median, 450.0);
    assert_near(limit.spread, 100.0 / 450.0);
}

#[test]
fn a_server_has_its_shares_its_lag_and_its_samples() {
    let report = sample::report();

    let figures = report.figures();

    let [primary, _, replica] = &figures.servers[..] else { panic!("there are three servers") };
    assert_near(replica.query_reads_share.unwrap(), 1_702.0 / (124.0 + 1_790.0 + 1_702.0));
    assert_near(replica.reads_share.unwrap(), 1_702.0 / (12_310.0 + 1_790.0 + 1_702.0));
    assert!(replica.lag_max_ms.unwrap() >= 10_000.0, "{replica:?}");
    assert!(replica.lag_median_ms.unwrap() < 3.0, "{replica:?}");
    assert_eq!((primary.samples, primary.unanswered_samples), (120, 3));
    let cpu = primary.cpu_per_operation_us.unwrap();
    assert_near(cpu, 12.31 * 1e6 / report.load.ended as f64);
    let batches = figures.batches.unwrap();
    assert_eq!(batches.largest, 9);
    assert_near(batches.events_per_transaction, 9_880.0 / 6_460.0);
}

#[test]
fn the_most_frequent_wait_comes_first() {
    let waits = sample::report().figures().waits;

    assert!(waits.len() > 2 && waits.is_sorted_by_key(|wait| std::cmp::Reverse(wait.sessions)));
}

#[test]
fn operations_that_wait_make_a_gap_without_new_ones() {
    let mut report = sample::report();
    for window in &mut report.load.windows {
        window.command_outcomes.success = 50;
    }
    for window in &mut report.load.windows[30..33] {
        (window.due, window.pending, window.command_outcomes.success) = (0, 4, 0);
    }
    report.load.windows[119].seconds = 0.5;

    let gap = report.figures().gaps[0].unwrap();

    assert_eq!((gap.from, gap.seconds, gap.resolution), (Some(30.0), 3.0, 1.0));
}

#[test]
fn a_report_is_not_clean_before_its_audit() {
    assert_eq!(sample::quiet_report().figures().is_clean, None);
    assert_eq!(sample::report().figures().is_clean, Some(true));
}
