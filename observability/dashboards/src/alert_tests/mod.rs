//! Series for which each alert fires, and similar ones for which it does not. `promtool` evaluates
//! them.

mod cases;

pub use self::cases::TESTS;
use crate::alerts::{Alert, alerts};

/// The test of an alert.
#[derive(Clone, Copy, Debug)]
pub struct AlertTest {
    /// The name of the alert.
    pub alert: &'static str,
    /// Series for which it fires.
    pub fires: &'static [TestSeries],
    /// Series for which it does not fire.
    pub calm: &'static [TestSeries],
    /// The labels of the alert, but for the job and the severity.
    pub labels: &'static str,
    /// The summary, with the values of the series.
    pub summary: &'static str,
}

/// A series of the job `eddyline` and the store `loans`: the metric, the instance, other labels as
/// in a selector, and the first value with its growth in 5 seconds.
pub type TestSeries = (&'static str, &'static str, &'static str, &'static str);

/// Returns a file of tests that `promtool test rules` reads. The rules are in `alerts.yml`.
///
/// Each alert is evaluated before its condition has held for long enough, after that, and for the
/// calm series.
pub fn file(tests: &[AlertTest]) -> String {
    let mut file = String::from(
        "# Written by `cargo run -p dashboards`: change observability/dashboards/src/alert_tests.\n\
         # Run `promtool test rules alerts_test.yml`.\n\
         rule_files:\n  - alerts.yml\n\nevaluation_interval: 5s\n\ntests:\n",
    );
    for test in tests {
        let alert = alerts().into_iter().find(|alert| alert.name == test.alert);
        let alert = alert.expect("each test names an alert");
        let held = seconds(&alert);
        file.push_str(&group(test, test.fires, &[(held - 30, None), (held + 60, Some(&alert))]));
        file.push_str(&group(test, test.calm, &[(held + 60, None), (held + 660, None)]));
    }
    file
}

/// Returns a group of series, and whether the alert fires at some times.
fn group(test: &AlertTest, series: &[TestSeries], times: &[(u32, Option<&Alert<'_>>)]) -> String {
    let mut text = String::from("  - interval: 5s\n    input_series:\n");
    for (metric, instance, labels, values) in series {
        let store = if metric.starts_with("eventstore_handler_") || *metric == "up" {
            ""
        } else {
            ", store=\"loans\""
        };
        let separator = if labels.is_empty() { "" } else { ", " };
        text.push_str(&format!(
            "      - series: '{metric}{{job=\"eddyline\", instance=\"{instance}\"{store}{separator}\
             {labels}}}'\n        values: '{values}x400'\n"
        ));
    }
    text.push_str("    alert_rule_test:\n");
    for (time, alert) in times {
        text.push_str(&format!(
            "      - eval_time: {time}s\n        alertname: {}\n        exp_alerts:",
            test.alert
        ));
        text.push_str(&alert.map_or(" []\n".to_owned(), |alert| fired(test, alert)));
    }
    text
}

/// Returns an alert as it is expected.
fn fired(test: &AlertTest, alert: &Alert<'_>) -> String {
    format!(
        "\n          - exp_labels: {{ job: eddyline, severity: {}, {} }}\n            \
         exp_annotations:\n              summary: >-\n                {}\n              \
         description: >-\n                {}\n",
        alert.severity.as_str(),
        test.labels,
        test.summary,
        alert.description
    )
}

/// Returns how long the condition of an alert must hold, in seconds.
fn seconds(alert: &Alert<'_>) -> u32 {
    let minutes = alert.duration.strip_suffix('m').and_then(|minutes| minutes.parse::<u32>().ok());
    minutes.expect("durations are in minutes") * 60
}
