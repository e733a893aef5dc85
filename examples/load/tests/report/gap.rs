use load::faults::Mark;
use load::report::{Report, ServiceGap};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::sample;

/// Returns the gaps after faults at these times in a load without success in some windows.
fn gaps(faults: &[f64], without_success: &[usize]) -> Vec<Option<ServiceGap>> {
    let mut report: Report = sample::report();
    for window in &mut report.load.windows {
        window.command_outcomes.success = 50;
    }
    for at in without_success {
        report.load.windows[*at].command_outcomes.success = 0;
    }
    let mark = report.faults[0].clone();
    let fault = |at: &f64| Mark { at: *at, until: Some(at + SHORT), ..mark.clone() };
    report.faults = faults.iter().map(fault).collect();
    report.figures().gaps
}

#[test]
fn a_gap_is_the_longest_run_of_windows_without_success() {
    let gaps = gaps(&[10.5], &[20, 30, 31, 32, 50]);

    assert_eq!(gaps, [Some(ServiceGap { from: Some(30.0), seconds: 3.0, resolution: 1.0 })]);
}

#[test]
fn a_gap_belongs_to_the_last_fault_before_it() {
    let gaps = gaps(&[10.5, 40.5], &[40, 41]);

    let none = ServiceGap { from: None, seconds: 0.0, resolution: 1.0 };
    let gap = ServiceGap { from: Some(40.0), seconds: 2.0, resolution: 1.0 };
    assert_eq!(gaps, [Some(none), Some(gap)]);
}

#[test]
fn a_gap_belongs_to_each_fault_that_is_not_undone() {
    let gaps = gaps(&[39.5, 40.1], &[40, 41]);

    let gap = ServiceGap { from: Some(40.0), seconds: 2.0, resolution: 1.0 };
    assert_eq!(gaps, [Some(gap), Some(gap)]);
}

#[test]
fn a_fault_after_the_load_has_no_gap() {
    assert_eq!(gaps(&[500.0], &[30]), [None]);
}

#[test]
fn a_time_without_work_is_not_a_gap() {
    let mut report = sample::report();
    for window in &mut report.load.windows {
        window.command_outcomes.success = 0;
        (window.due, window.pending) = (0, 0);
    }

    assert!(report.figures().gaps.iter().flatten().all(|gap| gap.seconds == 0.0));
}

#[test]
fn a_fault_during_a_gap_does_not_end_it() {
    let gaps = gaps(&[40.5, 42.5], &[40, 41, 42, 43]);

    let gap = ServiceGap { from: Some(40.0), seconds: 4.0, resolution: 1.0 };
    assert_eq!(gaps, [Some(gap), Some(gap)]);
}

proptest! {
    /// A gap has no window with a successful command, and is as long as the number of its windows.
    #[test]
    fn a_gap_has_only_windows_without_success(
        faults in vec(0.0..120.0_f64, 1..5),
        without_success in vec(0..120_usize, 0..80),
    ) {
        for gap in gaps(&faults, &without_success).into_iter().flatten() {
            let from = gap.from.map_or(0, |from| from as usize);
            let windows = from..from + gap.seconds as usize;

            prop_assert!(windows.clone().all(|at| without_success.contains(&at)), "{gap:?}");
            prop_assert_eq!(gap.from.is_none(), windows.is_empty());
        }
    }
}

/// The duration of each fault, in seconds.
const SHORT: f64 = 1.0;
