use std::sync::LazyLock;

use load::report::{Compared, Report, ReportError, Verdict, compare};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

use crate::sample;

/// Returns values around a mean, each of which depends on the one before it.
fn autoregressive(mean: f64, count: usize, dependence: f64, rng: &mut impl Rng) -> Vec<f64> {
    let mut normal = || -> f64 { StandardNormal.sample(rng) };
    let mut deviation = normal() / (1.0 - dependence * dependence).sqrt();
    let mut next = || {
        deviation = dependence * deviation + normal();
        mean + deviation
    };
    (0..count).map(|_| next()).collect()
}

/// Returns a report whose windows have these values as their 99th percentile.
fn with_p99(values: &[f64], plan: &str) -> Report {
    static EMPTY: LazyLock<Report> = LazyLock::new(|| {
        let mut report = sample::quiet_report();
        report.settings.model = "open".to_owned();
        report.load.windows.truncate(1);
        report
    });
    let mut report = EMPTY.clone();
    report.settings.plan = plan.to_owned();
    let window = report.load.windows[0].clone();
    let windows = values.iter().enumerate().map(|(at, value)| {
        let mut window = window.clone();
        window.start = at as f64;
        window.latency.p99 = *value;
        window
    });
    report.load.windows = windows.collect();
    report
}

fn p99(first: &Report, second: &Report) -> Compared {
    let comparison = compare(first, second).unwrap();
    comparison.figures.into_iter().find(|figure| figure.name == "p99 of commands").unwrap()
}

/// Returns the share of comparisons that call the second of two series higher or lower, if its mean
/// is higher by `shift`.
fn shown(windows: usize, dependence: f64, shift: f64, plans: [&str; 2]) -> f64 {
    let mut rng = StdRng::seed_from_u64(7);
    let mut series = |mean| autoregressive(mean, windows, dependence, &mut rng);
    let is_shown = |_: &u32| {
        let first = with_p99(&series(100.0), plans[0]);
        let second = with_p99(&series(100.0 + shift), plans[1]);
        matches!(p99(&first, &second).verdict, Verdict::Higher | Verdict::Lower)
    };
    (0..TRIALS).filter(is_shown).count() as f64 / f64::from(TRIALS)
}

#[test]
fn loads_that_do_not_differ_are_rarely_called_different() {
    for dependence in [0.0, 0.3, 0.6, 0.8] {
        for plans in [["a", "a"], ["a", "b"]] {
            let shown = shown(100, dependence, 0.0, plans);

            assert!(shown <= 0.08, "{shown} with dependence {dependence} and plans {plans:?}");
        }
    }
}

/// The standard deviation of the values is 1.25, so that a shift of 1.5 is far from chance.
#[test]
fn a_real_difference_is_found() {
    for plans in [["a", "a"], ["a", "b"]] {
        let shown = shown(120, 0.6, 1.5, plans);

        assert!(shown >= 0.9, "{shown} with plans {plans:?}");
    }
}

#[test]
fn a_latency_that_is_higher_by_a_fifth_is_called_higher_despite_a_fault() {
    let report = sample::report();
    let mut slower = report.clone();
    for (window, noise) in slower.load.windows.iter_mut().zip([1.1, 1.3, 1.2].iter().cycle()) {
        window.latency.p99 *= noise;
    }

    let figure = p99(&report, &slower);

    assert_eq!(figure.verdict, Verdict::Higher);
    assert!((figure.difference_percent.unwrap() - 20.0).abs() < 0.5, "{figure:?}");
    let (low, high) = figure.interval_percent.unwrap();
    assert!(15.0 < low && low < 20.0 && 20.0 < high && high < 25.0, "{figure:?}");
}

#[test]
fn the_opposite_comparison_has_the_opposite_verdict() {
    let first = with_p99(&autoregressive(100.0, 90, 0.3, &mut StdRng::seed_from_u64(1)), "a");
    let second = with_p99(&autoregressive(104.0, 90, 0.3, &mut StdRng::seed_from_u64(2)), "b");

    assert_eq!(p99(&first, &second).verdict, Verdict::Higher);
    assert_eq!(p99(&second, &first).verdict, Verdict::Lower);
}

#[test]
fn a_report_does_not_differ_from_itself() {
    let report = sample::report();

    let comparison = compare(&report, &report).unwrap();

    assert!(comparison.is_paired);
    assert_eq!(comparison.warnings, [""; 0]);
    for figure in comparison.figures {
        let expected = match figure.unit {
            "us" => Verdict::NotTested,
            _ => Verdict::NoDifferenceShown,
        };
        assert_eq!(figure.verdict, expected, "{figure:?}");
        assert_eq!(figure.first, figure.second, "{figure:?}");
    }
}

#[test]
fn few_windows_have_no_verdict() {
    let short = |mean| {
        let values = autoregressive(mean, 21, 0.0, &mut StdRng::seed_from_u64(3));
        with_p99(&values, "a")
    };

    let figure = p99(&short(100.0), &short(150.0));

    // The first and the last of the 21 windows are left out.
    assert_eq!(figure.verdict, Verdict::TooFewWindows);
    assert!(figure.difference_percent.is_some_and(|percent| percent > 40.0), "{figure:?}");
}

#[test]
fn windows_without_commands_are_left_out() {
    let report = sample::report();
    let mut idle = report.clone();
    for window in idle.load.windows.iter_mut().skip(80).take(10) {
        window.latency = Default::default();
    }

    let figure = p99(&report, &idle);

    assert_eq!(figure.verdict, Verdict::NoDifferenceShown);
    assert_eq!(figure.difference_percent, Some(0.0));
}

#[test]
fn other_plans_and_windows_are_not_paired() {
    let report = sample::report();
    let mut other_plan = report.clone();
    other_plan.settings.plan = "other".to_owned();
    let mut fewer_windows = report.clone();
    fewer_windows.load.windows.truncate(100);

    for other in [other_plan, fewer_windows] {
        assert!(!compare(&report, &other).unwrap().is_paired);
    }
}

#[test]
fn another_way_to_run_the_load_is_a_warning() {
    let report = sample::report();
    let mut other = report.clone();
    other.machine.processors = 8;
    other.settings.model = "closed".to_owned();
    other.settings.options.insert("rate".to_owned(), "64".to_owned());
    other.settings.options.insert("html".to_owned(), "other.html".to_owned());
    other.faults.clear();

    let comparison = compare(&report, &other).unwrap();

    let expected = ["the machine", "the model", "the list of faults", "the option rate"];
    let starts = comparison.warnings.iter().zip(expected);
    assert_eq!(comparison.warnings.len(), expected.len(), "{:?}", comparison.warnings);
    for (warning, start) in starts {
        assert!(warning.starts_with(start), "{warning}");
        assert!(comparison.to_string().contains(warning));
    }
}

#[test]
fn refuses_a_report_of_another_version() {
    let report = sample::report();
    let other = Report { version: Report::VERSION + 1, ..report.clone() };

    for (first, second) in [(&report, &other), (&other, &report)] {
        let refused = compare(first, second);

        assert!(matches!(refused, Err(ReportError::Version { .. })), "{refused:?}");
    }
}

#[test]
fn loads_without_operations_can_be_compared() {
    let mut empty = sample::quiet_report();
    empty.load = Default::default();

    let text = compare(&empty, &empty).unwrap().to_string();

    assert!(text.contains("too few independent windows"), "{text}");
    assert!(!text.contains("NaN"), "{text}");
}

const TRIALS: u32 = 500;
