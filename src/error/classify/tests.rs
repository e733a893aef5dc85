use std::collections::BTreeMap;

use proptest::prelude::*;

use super::documented::table;
use super::*;

const CONNECTION_FAILURES: [ConnectionFailure; 6] = [
    ConnectionFailure::Broken,
    ConnectionFailure::Denied,
    ConnectionFailure::Garbled,
    ConnectionFailure::ReadOnly,
    ConnectionFailure::TimedOut,
    ConnectionFailure::Unreachable,
];

/// One combination of circumstances.
#[derive(Clone, Copy, Debug)]
struct Case {
    phase: Phase,
    role: Role,
    sent: bool,
    ended: bool,
    overdue: bool,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        (0..48).map(|number| Self {
            phase: [Phase::Append, Phase::Connect, Phase::Read][number % 3],
            role: [Role::Primary, Role::Replica][number / 3 % 2],
            sent: number / 6 % 2 == 1,
            ended: number / 12 % 2 == 1,
            overdue: number / 24 == 1,
        })
    }

    fn class(self, failure: Failure<'_>) -> Class {
        let Self { phase, role, sent, ended, overdue } = self;
        let circumstances = Circumstances::new(phase, role);
        Class::of(failure, circumstances.sent(sent).ended(ended).overdue(overdue))
    }

    fn class_of_code(self, code: &str) -> Class {
        self.class(Failure::Sqlstate(code))
    }

    /// Returns whether the append may have been stored.
    fn is_outcome_unknown(self, code: &str) -> bool {
        let ends = matches!(code, "25P03" | "25P04" | "40003")
            || ["08", "57P"].iter().any(|start| code.starts_with(start));
        self.phase == Phase::Append && self.sent && (self.ended || ends)
    }
}

/// Returns the documented meanings and classes of each code, and of the first two characters of
/// others.
fn documented_classes() -> BTreeMap<String, Vec<(String, String)>> {
    let mut classes = BTreeMap::<_, Vec<_>>::new();
    for (codes, meaning, class) in table("Codes") {
        for code in codes {
            classes.entry(code).or_default().push((meaning.clone(), class.clone()));
        }
    }
    classes
}

/// Returns the documented class of a code, unless it depends on the circumstances.
fn documented_class(
    documented: &BTreeMap<String, Vec<(String, String)>>,
    code: &str,
) -> Option<String> {
    let row = documented
        .get(code)
        .or_else(|| documented.get(code.get(..2)?))
        .or_else(|| documented.get("any other"))?;
    match &row[..] {
        [(_, class)] => Some(class.clone()),
        _ => None,
    }
}

#[test]
fn every_documented_code_has_the_class_of_its_row() {
    let documented = documented_classes();
    for code in documented.keys() {
        let Some(class) = documented_class(&documented, code) else { continue };
        for case in Case::all().filter(|case| !case.is_outcome_unknown(code)) {
            assert_eq!(case.class_of_code(code).as_str(), class, "{code} {case:?}");
        }
    }
}

#[test]
fn codes_with_two_rows_are_classified_by_role_phase_and_timeout() {
    let documented = documented_classes();
    let ambiguous: Vec<_> = documented.iter().filter(|(_, rows)| rows.len() > 1).collect();
    assert_eq!(ambiguous.len(), 2, "{ambiguous:?}");

    for case in Case::all().filter(|case| !case.is_outcome_unknown("25006")) {
        let class = if case.role == Role::Primary { "transient" } else { "bug" };
        assert_eq!(case.class_of_code("25006").as_str(), class, "{case:?}");
    }
    for case in Case::all().filter(|case| !case.is_outcome_unknown("57014")) {
        let class = match (case.phase, case.overdue) {
            (Phase::Connect, _) => Class::Transient,
            (_, true) => Class::Timeout,
            (_, false) => Class::Canceled,
        };
        assert_eq!(case.class_of_code("57014"), class, "{case:?}");
    }
}

#[test]
fn every_connection_failure_has_the_class_of_its_row() {
    let rows = table("Connections");
    for case in Case::all().filter(|case| !(case.phase == Phase::Append && case.sent)) {
        for failure in CONNECTION_FAILURES {
            let row = match failure {
                ConnectionFailure::Denied if case.phase != Phase::Connect => {
                    "denied, not while connecting"
                }
                ConnectionFailure::Denied => "denied",
                ConnectionFailure::Broken => "broken",
                ConnectionFailure::Garbled => "garbled",
                ConnectionFailure::ReadOnly => "read-only",
                ConnectionFailure::TimedOut if case.phase == Phase::Connect => {
                    "timed out, while connecting"
                }
                ConnectionFailure::TimedOut => "timed out",
                ConnectionFailure::Unreachable => "unreachable",
            };
            let documented = rows.iter().find(|(names, ..)| names.join(", ") == row);
            let documented = documented.unwrap_or_else(|| panic!("no row for {row}"));
            let class = case.class(Failure::Connection(failure));
            assert_eq!(class.as_str(), documented.1, "{failure:?} {case:?}");
        }
    }
}

#[test]
fn an_append_has_an_unknown_outcome_if_its_connection_ended() {
    let documented = documented_classes();
    for case in Case::all().filter(|case| case.phase == Phase::Append && case.sent) {
        for code in documented.keys() {
            let is_unknown = case.class_of_code(code) == Class::OutcomeUnknown;
            assert_eq!(is_unknown, case.is_outcome_unknown(code), "{code} {case:?}");
        }
        for failure in CONNECTION_FAILURES {
            let class = case.class(Failure::Connection(failure));
            assert_eq!(class, Class::OutcomeUnknown, "{case:?}");
        }
    }
}

#[test]
fn serialization_failures_and_deadlocks_are_transient() {
    for code in ["40001", "40P01"] {
        for case in Case::all().filter(|case| !case.is_outcome_unknown(code)) {
            assert_eq!(case.class_of_code(code), Class::Transient, "{code} {case:?}");
        }
    }
}

fn any_code() -> impl Strategy<Value = String> {
    let real = prop::sample::select(vec![
        "00", "08", "22", "23", "25", "28", "40", "42", "53", "55", "57", "58", "72", "P0", "XX",
    ]);
    prop_oneof![
        "[0-9A-Z]{5}",
        (real, "[0-9A-Z]{3}").prop_map(|(class, rest)| format!("{class}{rest}")),
        ".{0,6}",
    ]
}

fn any_case() -> impl Strategy<Value = Case> {
    prop::sample::select(Case::all().collect::<Vec<_>>())
}

proptest! {
    /// Any text has a class, which is the documented one.
    #[test]
    fn an_unknown_code_has_the_class_of_its_first_two_characters(
        code in any_code(), case in any_case()
    ) {
        let class = case.class_of_code(&code);

        match documented_class(&documented_classes(), &code) {
            _ if case.is_outcome_unknown(&code) => prop_assert_eq!(class, Class::OutcomeUnknown),
            Some(documented) => prop_assert_eq!(class.as_str(), documented),
            None => prop_assert!(["25006", "57014"].contains(&code.as_str())),
        }
    }

    /// Only an append has an unknown outcome, which is never retryable. No SQLSTATE is a conflict.
    #[test]
    fn a_class_promises_no_more_than_is_known(code in any_code(), case in any_case()) {
        let class = case.class_of_code(&code);

        prop_assert_eq!(class == Class::OutcomeUnknown, case.is_outcome_unknown(&code));
        prop_assert!(!(case.is_outcome_unknown(&code) && class.is_retryable()));
        prop_assert_ne!(class, Class::Conflict);
    }

    #[test]
    fn only_codes_with_two_rows_depend_on_the_circumstances(
        code in any_code(), case in any_case(), other in any_case()
    ) {
        prop_assume!(!case.is_outcome_unknown(&code) && !other.is_outcome_unknown(&code));
        prop_assume!(code != "25006" || case.role == other.role);
        prop_assume!(code != "57014" || case.phase == other.phase && case.overdue == other.overdue);

        prop_assert_eq!(case.class_of_code(&code), other.class_of_code(&code));
    }
}
