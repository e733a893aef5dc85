mod laws;

use super::*;

const WINDOW: Duration = Duration::from_secs(1);

fn tally() -> Tally {
    Tally::new(TallySettings { window: WINDOW, ..TallySettings::default() })
}

/// Returns a lending that was to begin at a time, waited, and was then served.
fn lending(tally: &Tally, at: u64, waited: u64, served: u64) -> Ended {
    let intended = tally.settings.start + Duration::from_millis(at);
    let began = intended + Duration::from_millis(waited);
    let ended = began + Duration::from_millis(served);
    let (name, group) = ("LendBookCopyToReader", Group::Lending);
    Ended::new(name, group, Status::Success, intended, began, ended)
}

#[test]
fn times_are_exact_to_a_thousandth() {
    let tally = tally();
    (1..=1_000).for_each(|number| tally.ended(&lending(&tally, 0, number, number)));

    let Latencies { latency, service } = tally.snapshot().commands;

    let expected = [(latency.p50, 1_000.0), (latency.p99, 1_980.0), (latency.max, 2_000.0)];
    for (actual, expected) in expected.into_iter().chain([(service.p50, 500.0)]) {
        assert!((actual / expected - 1.0_f64).abs() < 2e-3, "{actual} instead of {expected}");
    }
    assert!((service.mean / 500.5 - 1.0).abs() < 2e-3, "{}", service.mean);
}

#[test]
fn a_curve_has_about_a_hundred_points() {
    let mut times = times::Times::default();
    (0..1_000_000).for_each(|micros| times.add(Duration::from_micros(micros)));

    let curve = times.distribution().curve;

    assert!((60..150).contains(&curve.len()), "{}", curve.len());
    assert!(curve.iter().filter(|(share, _)| *share > 0.999).count() >= 20);
}

#[test]
fn a_time_beyond_the_longest_is_counted_as_the_longest() {
    let mut times = times::Times::default();

    times.add(Duration::MAX);

    let max = times.figures().max;
    assert!((max / 600_000.0 - 1.0).abs() < 2e-3, "{max}");
}

#[test]
fn a_freeze_is_a_gap_of_windows_in_which_nothing_ended() {
    let tally = tally();
    tally.due(tally.settings.start + Duration::from_millis(500), 1);
    tally.ended(&lending(&tally, 500, 0, 10));
    tally.due(tally.settings.start + Duration::from_millis(1_500), 2);

    (0..2).for_each(|_| tally.ended(&lending(&tally, 1_500, 0, 3_000)));

    let windows = tally.snapshot().windows;
    let ended: Vec<u64> = windows.iter().map(|window| window.ended).collect();
    let pending: Vec<u64> = windows.iter().map(|window| window.pending).collect();
    let starts: Vec<f64> = windows.iter().map(|window| window.start).collect();
    assert_eq!(ended, [1, 0, 0, 0, 2]);
    assert_eq!(pending, [0, 2, 2, 2, 0]);
    assert_eq!(starts, [0.0, 1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn an_end_of_a_closed_window_counts_in_the_open_one() {
    let tally = tally();
    tally.ended(&lending(&tally, 1_000, 0, 1));

    tally.ended(&lending(&tally, 900, 0, 99));

    let ended: Vec<u64> = tally.snapshot().windows.iter().map(|window| window.ended).collect();
    assert_eq!(ended, [0, 2]);
}

#[test]
fn an_operation_is_due_in_the_window_of_its_intended_time() {
    let tally = tally();
    tally.ended(&lending(&tally, 2_000, 0, 1));

    tally.due(tally.settings.start + Duration::from_millis(999), 3);

    let due: Vec<u64> = tally.snapshot().windows.iter().map(|window| window.due).collect();
    assert_eq!(due, [3, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_late_if_it_begins_later_than_allowed() {
    let tally = tally();
    let start = tally.settings.start;

    for (wait, intended) in [(100, 0), (1, 0), (1_000, 1_101), (0, 900)] {
        tokio::time::advance(Duration::from_millis(wait)).await;
        tally.began(start + Duration::from_millis(intended));
    }

    let snapshot = tally.snapshot();
    let late: Vec<u64> = snapshot.windows.iter().map(|window| window.late).collect();
    assert_eq!((snapshot.begun, snapshot.late), (4, 2));
    assert_eq!(late, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_current_window_is_part_of_a_snapshot() {
    let tally = tally();
    tokio::time::advance(Duration::from_millis(2_250)).await;

    let snapshot = tally.snapshot();

    let lengths: Vec<f64> = snapshot.windows.iter().map(|window| window.seconds).collect();
    assert_eq!(lengths, [1.0, 1.0, 0.25]);
    assert_eq!(snapshot.seconds, 2.25);
}

#[tokio::test(start_paused = true)]
async fn an_impossible_operation_is_not_pending() {
    let tally = tally();
    tally.due(tally.settings.start, 2);
    tally.began(tally.settings.start);

    tally.impossible();

    tokio::time::advance(WINDOW).await;
    let snapshot = tally.snapshot();
    assert_eq!((snapshot.due, snapshot.begun, snapshot.ended), (2, 1, 0));
    assert_eq!((snapshot.impossible, snapshot.windows[0].pending), (1, 1));
}

#[test]
fn commands_that_failed_are_not_among_those_with_lost_rounds() {
    let tally = tally();
    for (status, lost_rounds) in
        [(Status::Success, 2), (Status::Success, 0), (Status::Rejected, 1), (Status::Error, 5)]
    {
        tally.ended(&Ended { status, lost_rounds, ..lending(&tally, 0, 0, 1) });
    }

    let snapshot = tally.snapshot();

    assert_eq!((snapshot.lost_rounds, snapshot.commands_with_lost_rounds), (8, 2));
}

#[test]
fn only_the_first_different_errors_are_kept() {
    let tally = tally();
    for number in (0..1_000).chain(0..2) {
        let error = Some(format!("server {number} is away"));
        tally.ended(&Ended { status: Status::Error, error, ..lending(&tally, 0, 0, 1) });
    }

    let errors = tally.snapshot().errors;

    assert_eq!(errors.len(), 10);
    assert_eq!((errors["server 1 is away"], errors["server 2 is away"]), (2, 1));
}

#[test]
fn a_long_load_has_few_windows() {
    let start = Instant::now();
    for seconds in [1, 120, 240, 241, 3_600, 7 * 24 * 3_600] {
        let duration = Duration::from_secs(seconds);

        let TallySettings { window, .. } = TallySettings::for_duration(start, duration);

        assert_eq!(window.subsec_nanos(), 0);
        assert!(window >= WINDOW && window.as_secs() * 240 >= seconds, "{seconds}: {window:?}");
        assert!((window.as_secs() - 1) * 240 < seconds, "{seconds}: {window:?}");
    }
}

#[test]
fn a_lap_counts_what_happened_since_the_last_one() {
    let tally = tally();
    tally.due(tally.settings.start, 1);
    tally.ended(&lending(&tally, 0, 0, 500));
    tally.lap();
    tally.due(tally.settings.start, 3);
    tally.ended(&lending(&tally, 0, 4, 4));
    tally.ended(&Ended { status: Status::Error, ..lending(&tally, 0, 4, 4) });

    let lap = tally.lap();

    assert_eq!((lap.due, lap.done, lap.errors, lap.latency.count), (3, 2, 1, 2));
    assert!((7.9..8.1).contains(&lap.latency.p99), "{}", lap.latency.p99);
    assert_eq!(tally.lap(), Lap::default());
}

#[tokio::test(start_paused = true)]
async fn totals_show_the_last_seconds() {
    let tally = tally();
    tally.ended(&lending(&tally, 100, 0, 10));
    tally.ended(&lending(&tally, 2_100, 0, 20));
    tally.ended(&lending(&tally, 2_100, 0, 20));
    tokio::time::advance(Duration::from_secs(3)).await;

    let totals = tally.totals();

    let ended: Vec<u64> = totals.recent.iter().map(Second::ended).collect();
    let has_p99: Vec<bool> = totals.recent.iter().map(|second| second.p99().is_some()).collect();
    assert_eq!(ended, [1, 0, 2]);
    assert_eq!(has_p99, [true, false, true]);
    assert_eq!(totals.outcomes.success, 3);
}

#[tokio::test(start_paused = true)]
async fn seconds_before_the_last_thirty_are_not_kept() {
    let tally = tally();
    tally.ended(&lending(&tally, 100, 0, 10));
    tokio::time::advance(Duration::from_secs(1_000)).await;

    let recent = tally.totals().recent;

    assert!(recent.len() <= 30 && recent.iter().all(|second| second.ended() == 0));
}
