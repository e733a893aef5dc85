//! The files that the package generates.

use std::fs;

use dashboards::alerts::alerts;
use dashboards::files::{folder, generated};

#[test]
fn the_files_are_those_that_the_program_writes() {
    for file in generated() {
        let content = fs::read_to_string(&file.path).unwrap();

        assert!(content == file.content, "run `cargo run -p dashboards`: {}", file.path.display());
    }
}

/// Returns the value of a setting in a configuration file, which has it once.
fn setting(path: &str, name: &str) -> String {
    let content = fs::read_to_string(folder().join(path)).unwrap();
    let lines = content.lines().map(|line| line.trim_start().trim_start_matches("- "));
    let values: Vec<_> =
        lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
    assert_eq!(values.len(), 1, "{path} has {name} {} times", values.len());
    values[0].to_owned()
}

/// Grafana derives `$__rate_interval` from the interval of its data source. If Prometheus scrapes
/// less often, rates have too few samples.
#[test]
fn grafana_knows_the_interval_of_the_scrapes() {
    let known = setting("grafana/provisioning/datasources/prometheus.yml", "timeInterval");

    assert_eq!(known, setting("prometheus/prometheus.yml", "scrape_interval"));
}

#[test]
fn the_alert_of_a_failed_scrape_names_the_job_that_is_scraped() {
    let job = setting("prometheus/prometheus.yml", "job_name");
    let alerts = alerts();
    let of_scrapes = alerts.iter().filter(|alert| alert.expression.starts_with("up{"));

    let expressions: Vec<_> = of_scrapes.map(|alert| alert.expression).collect();
    assert_eq!(expressions, [format!("up{{job=\"{job}\"}} == 0")]);
}
