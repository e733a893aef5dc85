//! The laws of classification, over every code that the installed server knows and any other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use eddyline::error::{Circumstances, ConnectionFailure, Failure, Phase};
use eddyline::{Class, Role};
use proptest::prelude::*;

use crate::support::{cluster, connect};

/// Codes of newer servers than may be installed here.
const NEWER: [&str; 3] = ["10608", "25P04", "58P03"];

const CONNECTION_FAILURES: [ConnectionFailure; 6] = [
    ConnectionFailure::Broken,
    ConnectionFailure::Denied,
    ConnectionFailure::Garbled,
    ConnectionFailure::ReadOnly,
    ConnectionFailure::TimedOut,
    ConnectionFailure::Unreachable,
];

/// One of all the circumstances that there are.
#[derive(Clone, Copy, Debug)]
struct Case {
    place: Phase,
    role: Role,
    sent: bool,
    ended: bool,
    overdue: bool,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        (0..48).map(|number| Self {
            place: [Phase::Append, Phase::Connect, Phase::Read][number % 3],
            role: [Role::Primary, Role::Replica][number / 3 % 2],
            sent: number / 6 % 2 == 1,
            ended: number / 12 % 2 == 1,
            overdue: number / 24 == 1,
        })
    }

    fn of(self, failure: Failure<'_>) -> Class {
        let Self { place, role, sent, ended, overdue } = self;
        let circumstances = Circumstances::new(place, role);
        Class::of(failure, circumstances.sent(sent).ended(ended).overdue(overdue))
    }

    fn code(self, code: &str) -> Class {
        self.of(Failure::Sqlstate(code))
    }

    /// Whether the events may be in the log.
    fn is_in_doubt(self, code: &str) -> bool {
        let ends = ["08", "57P", "25P03", "25P04", "40003"].map(|start| code.starts_with(start));
        self.place == Phase::Append && self.sent && (self.ended || ends.contains(&true))
    }
}

/// Returns the list that the server was built from, and the codes that it lacks.
pub async fn codes() -> BTreeSet<String> {
    let sql = connect(&cluster().await.primary().url("postgres")).await;
    let list = "SELECT pg_read_file(setting || '/errcodes.txt') FROM pg_config
        WHERE name = 'SHAREDIR'";
    let list: String = sql.query_one(list, &[]).await.unwrap().get(0);
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.starts_with("Section"));
    let mut codes: BTreeSet<String> =
        lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(codes.len() > 250 && codes.iter().all(|code| code.len() == 5), "{codes:?}");
    codes.extend(NEWER.map(str::to_owned));
    codes
}

/// Returns the rows of a table in the documentation of `Class::of`, its first column split.
fn documented(heading: &str) -> Vec<(Vec<String>, String, String)> {
    let source = fs::read_to_string("src/error/classify.rs").unwrap();
    let section = source.split(&format!("/// # {heading}\n")).nth(1).unwrap();
    let lines = section.lines().map_while(|line| line.trim_start().strip_prefix("///"));
    let lines = lines.take_while(|line| !line.starts_with(" #"));
    let rows = lines.filter_map(|line| line.strip_prefix(" | ")).skip(2);
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let first = cells[0].split(", ").map(str::to_owned).collect();
        (first, cells[1].to_owned(), cells[cells.len() - 3].to_owned())
    })
    .collect()
}

/// Returns what the documentation says of whole codes, and of the first two characters of others.
fn documented_classes() -> BTreeMap<String, Vec<(String, String)>> {
    let mut classes = BTreeMap::<_, Vec<_>>::new();
    for (codes, meaning, class) in documented("Codes") {
        for code in codes {
            classes.entry(code).or_default().push((meaning.clone(), class.clone()));
        }
    }
    classes
}

/// Returns the only class that the documentation knows for a code, if there is only one.
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

#[tokio::test]
async fn every_code_has_the_class_of_its_row() {
    let documented = documented_classes();
    for code in codes().await {
        let Some(class) = documented_class(&documented, &code) else { continue };
        for case in Case::all().filter(|case| !case.is_in_doubt(&code)) {
            assert_eq!(case.code(&code).as_str(), class, "{code} {case:?}");
        }
    }
}

#[test]
fn the_two_codes_of_two_classes_have_them_for_a_reason() {
    let documented = documented_classes();
    let ambiguous: Vec<_> = documented.iter().filter(|(_, rows)| rows.len() > 1).collect();
    assert_eq!(ambiguous.len(), 2, "{ambiguous:?}");

    for case in Case::all().filter(|case| !case.is_in_doubt("25006")) {
        let class = if case.role == Role::Primary { "transient" } else { "bug" };
        assert_eq!(case.code("25006").as_str(), class, "{case:?}");
    }
    for case in Case::all().filter(|case| !case.is_in_doubt("57014")) {
        let class = match (case.place, case.overdue) {
            (Phase::Connect, _) => Class::Transient,
            (_, true) => Class::Timeout,
            (_, false) => Class::Canceled,
        };
        assert_eq!(case.code("57014"), class, "{case:?}");
    }
}

/// A newer server may bring a class that nobody has thought of.
#[tokio::test]
async fn every_class_of_codes_has_a_row() {
    let documented = documented_classes();
    for code in codes().await {
        assert!(documented.contains_key(&code[..2]), "{code}");
    }
}

#[test]
fn every_way_to_lose_a_connection_has_the_class_of_its_row() {
    for case in Case::all().filter(|case| !(case.place == Phase::Append && case.sent)) {
        for failure in CONNECTION_FAILURES {
            let class = case.of(Failure::Connection(failure));

            let row = match failure {
                ConnectionFailure::Denied if case.place != Phase::Connect => {
                    "denied, not while connecting"
                }
                ConnectionFailure::Denied => "denied",
                ConnectionFailure::Broken => "broken",
                ConnectionFailure::Garbled => "garbled",
                ConnectionFailure::ReadOnly => "read-only",
                ConnectionFailure::TimedOut if case.place == Phase::Connect => {
                    "timed out, while connecting"
                }
                ConnectionFailure::TimedOut => "timed out",
                ConnectionFailure::Unreachable => "unreachable",
                other => panic!("{other:?}"),
            };
            let rows = documented("Connections");
            let documented = rows.iter().find(|(names, ..)| names.join(", ") == row);
            let documented = documented.unwrap_or_else(|| panic!("no row for {row}"));
            assert_eq!(class.as_str(), documented.1, "{failure:?} {case:?}");
        }
    }
}

/// Whoever appended must not be told that nothing was stored.
#[tokio::test]
async fn an_append_whose_connection_ended_is_in_doubt() {
    for case in Case::all().filter(|case| case.place == Phase::Append && case.sent) {
        for code in codes().await {
            let unknown = case.code(&code) == Class::OutcomeUnknown;
            assert_eq!(unknown, case.is_in_doubt(&code), "{code} {case:?}");
        }
        for failure in CONNECTION_FAILURES {
            assert_eq!(case.of(Failure::Connection(failure)), Class::OutcomeUnknown, "{case:?}");
        }
    }
}

#[tokio::test]
async fn whoever_was_in_the_way_is_gone_when_it_is_tried_again() {
    for code in ["40001", "40P01"] {
        for case in Case::all().filter(|case| !case.is_in_doubt(code)) {
            assert_eq!(case.code(code), Class::Transient, "{code} {case:?}");
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
    /// Any text has a class, the one that the documentation gives it.
    #[test]
    fn an_unknown_code_has_the_class_of_its_kind(code in any_code(), case in any_case()) {
        let class = case.code(&code);

        match documented_class(&documented_classes(), &code) {
            _ if case.is_in_doubt(&code) => prop_assert_eq!(class, Class::OutcomeUnknown),
            Some(documented) => prop_assert_eq!(class.as_str(), documented),
            None => prop_assert!(["25006", "57014"].contains(&code.as_str())),
        }
    }

    /// Only an append can be in doubt; what is in doubt is never repeated; and a conflict is only
    /// what the store itself finds to be one.
    #[test]
    fn a_class_promises_no_more_than_is_known(code in any_code(), case in any_case()) {
        let class = case.code(&code);

        prop_assert_eq!(class == Class::OutcomeUnknown, case.is_in_doubt(&code));
        prop_assert!(!(case.is_in_doubt(&code) && class.is_retryable()));
        prop_assert_ne!(class, Class::Conflict);
    }

    /// What has nothing to do with a code does not change its class.
    #[test]
    fn a_class_depends_on_what_matters(
        code in any_code(), case in any_case(), other in any_case()
    ) {
        prop_assume!(!case.is_in_doubt(&code) && !other.is_in_doubt(&code));
        prop_assume!(code != "25006" || case.role == other.role);
        prop_assume!(code != "57014" || case.place == other.place && case.overdue == other.overdue);

        prop_assert_eq!(case.code(&code), other.code(&code));
    }
}
