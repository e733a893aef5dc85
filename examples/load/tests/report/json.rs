use std::sync::LazyLock;

use load::report::{Report, ReportError};
use proptest::prelude::*;
use serde_json::Value;

use crate::sample;

#[test]
fn a_report_that_was_written_can_be_read() {
    let report = sample::report();

    let read = Report::from_json(&report.to_json()).unwrap();

    assert_eq!(read.to_json(), report.to_json());
}

#[test]
fn the_json_has_the_values_that_the_text_shows() {
    let report = sample::report();

    let json: Value = serde_json::from_str(&report.to_json()).unwrap();

    let share = |pointer: &str| json.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert_eq!(share("/got/outcomes/success"), report.got().outcomes.success);
    assert_eq!(share("/difference/lending"), report.got().lending - report.asked.lending);
    assert_eq!(share("/figures/rate_achieved"), report.figures().rate_achieved);
}

#[test]
fn shares_add_up_to_one() {
    let got = sample::report().got();

    let outcomes = got.outcomes.success + got.outcomes.idempotent + got.outcomes.rejected;
    let mix = got.lending + got.circulation + got.readers;
    assert!((outcomes - 1.0).abs() < 1e-9 && (mix - 1.0).abs() < 1e-9, "{got:?}");
}

#[test]
fn refuses_a_report_of_another_version() {
    let json = sample::report().to_json().replacen("\"version\": 1", "\"version\": 2", 1);

    let refused = Report::from_json(&json);

    assert!(matches!(refused, Err(ReportError::Version { found: 2 })), "{refused:?}");
}

#[test]
fn refuses_a_text_that_is_not_a_report() {
    for text in ["", "{}", "[1]", "{\"version\": 1}", "{\"version\": \"1.0.0\"}", "<html>"] {
        let refused = Report::from_json(text);

        assert!(matches!(refused, Err(ReportError::Invalid(_))), "{text}: {refused:?}");
    }
}

proptest! {
    /// A report of which a part is lost is refused: there is no panic and no incomplete report.
    #[test]
    fn refuses_a_report_that_was_cut_off(share in 0.0..1.0_f64) {
        static JSON: LazyLock<String> = LazyLock::new(|| sample::report().to_json());
        let json = &*JSON;
        let length = (json.len() as f64 * share) as usize;
        let cut = json.get(..length).unwrap_or_default();

        prop_assert!(matches!(Report::from_json(cut), Err(ReportError::Invalid(_))));
    }
}
