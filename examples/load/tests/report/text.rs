use load::engine::LimitRound;
use load::plan::Group;

use crate::sample;

#[test]
fn the_text_of_a_full_report_fits_on_a_screen() {
    let text = sample::report().to_string();

    assert!(text.lines().count() <= 60, "{} lines", text.lines().count());
    let own = text.lines().filter(|line| !line.starts_with("audit:"));
    assert!(own.into_iter().all(|line| line.chars().count() <= 140), "{text}");
}

#[test]
fn the_text_names_each_operation_and_fault() {
    let report = sample::report();

    let text = report.to_string();

    let operations = report.load.operations.keys();
    let faults = report.faults.iter().map(|fault| &fault.text);
    for name in operations.chain(faults).chain(report.load.errors.keys()) {
        assert!(text.contains(name.trim_end()), "{name} is missing in\n{text}");
    }
}

#[test]
fn a_closed_loop_is_labeled() {
    let text = sample::quiet_report().to_string();

    assert!(text.contains("closed loop"), "{text}");
    assert!(!text.contains("asked for"), "{text}");
}

#[test]
fn a_load_without_a_store_is_labeled() {
    let mut report = sample::quiet_report();
    report.settings.options.insert("no-store".to_owned(), "true".to_owned());

    let text = report.to_string();

    assert!(text.contains("the generator answers without a store"), "{text}");
    assert!(!text.contains("PostgreSQL"), "{text}");
}

#[test]
fn a_load_without_commands_has_no_shares_of_them() {
    let mut report = sample::quiet_report();
    report.load.operations.retain(|_, operation| operation.group == Group::Queries);

    let text = report.to_string();

    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
    let words: Vec<_> = line("lending and returning").split_whitespace().collect();
    assert_eq!(words.last(), Some(&"none"), "{text}");
    assert!(line("queries, of all").ends_with("points"), "{text}");
}

#[test]
fn an_audit_that_was_not_run_is_not_called_clean() {
    let text = sample::quiet_report().to_string();

    assert!(text.contains("audit: not run"), "{text}");
}

#[test]
fn the_findings_of_the_audit_are_listed() {
    let mut report = sample::report();
    let finding = "event 17 was acknowledged at position 17 and is lost";
    report.audit.as_mut().unwrap().findings.add(finding.to_owned());

    let text = report.to_string();

    assert!(text.contains(finding), "{text}");
    assert_eq!(report.figures().is_clean, Some(false));
}

#[test]
fn a_fault_that_could_not_be_done_is_said_so() {
    let mut report = sample::report();
    report.faults[1].error = Some("no such server".to_owned());

    let text = report.to_string();

    assert!(text.contains("; failed: no such server\n"), "{text}");
}

#[test]
fn a_limit_that_was_not_found_is_said_so() {
    let mut report = sample::report();
    let limit = report.limit.as_mut().unwrap();
    limit.rounds = vec![LimitRound { highest_rate: None, ..limit.rounds[0].clone() }];

    let text = report.to_string();

    assert!(text.contains("none of the 1 rounds found one"), "{text}");
}

#[test]
fn a_load_without_any_operation_has_a_text() {
    let mut report = sample::quiet_report();
    report.load = load::tally::Snapshot::default();

    let text = report.to_string();

    assert!(text.starts_with("0 operations in 0.0 s: 0.00/s\n"), "{text}");
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}

#[test]
fn the_answers_of_a_server_are_counted_under_its_later_name() {
    let mut report = sample::report();
    report.servers.servers[0].later_names = vec!["replica-2".to_owned()];
    report.servers.servers[1].later_names = vec!["primary".to_owned()];
    let reads = [("primary", 3), ("replica-0", 5), ("replica-1", 7), ("replica-2", 11)];
    report.load.reads_by_server =
        reads.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();

    let figures = report.figures().servers;

    let answered: Vec<_> =
        figures.iter().map(|server| (server.name.as_str(), server.answered)).collect();
    assert_eq!(answered, [("primary", 14), ("replica-0", 5), ("replica-1", 7)]);
    let text = report.to_string();
    assert!(text.contains("is called primary here was later replica-2"), "{text}");
}
