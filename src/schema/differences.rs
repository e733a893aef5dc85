use std::fmt;

use crate::log_name::LogName;
use crate::sql::{self, InspectionRow, ObjectKind, SchemaObject, SequenceState};

/// A difference between an existing log and the log that a migration creates.
pub(super) enum Difference {
    /// An object is missing, or is not in the expected state.
    Object { object: SchemaObject, found: Option<String> },
    /// The table of versions is missing, or has no row for the log.
    Unversioned,
    /// The next position of the sequence is not above the head.
    SequenceBehind { sequence: String, numbers: SequenceState },
    /// The sequence has reached its maximum.
    SequenceExhausted { sequence: String },
}

impl Difference {
    /// Returns whether a migration repairs it.
    pub(super) fn is_repaired_by_migration(&self) -> bool {
        match self {
            Self::Object { object, found } => match object.kind {
                ObjectKind::Table => found.as_deref() == Some(UNLOGGED),
                // A column of another type is kept, since it may hold the log's identity.
                ObjectKind::IdentityColumn => {
                    let type_of = |state: &str| state.split(' ').next().map(str::to_owned);
                    found.as_deref().is_none_or(|found| type_of(found) == type_of(&object.state))
                }
                _ => object.repair.is_some(),
            },
            Self::Unversioned | Self::SequenceBehind { .. } | Self::SequenceExhausted { .. } => {
                true
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { object, found } => {
                let SchemaObject { kind, name, state, .. } = object;
                write!(f, "{} {name} ", kind.as_str())?;
                match (kind, found) {
                    (_, None) => f.write_str("is missing"),
                    (ObjectKind::Routine, Some(found)) => {
                        f.write_str(match found.ends_with(sql::OF_UNSUITABLE_OWNER) {
                            true => "has an owner that lacks rights on the log",
                            false => "has another body or other settings",
                        })
                    }
                    (_, Some(found)) => write!(f, "is {found:?} and has to be {state:?}"),
                }
            }
            Self::Unversioned => f.write_str("table eddyline_schema has no row for it"),
            Self::SequenceBehind { sequence, numbers } => {
                let next = numbers.next().unwrap_or(numbers.head);
                write!(f, "sequence {sequence} gives {next} next, and the head is {}", numbers.head)
            }
            Self::SequenceExhausted { sequence } => {
                write!(f, "sequence {sequence} has reached its maximum")
            }
        }
    }
}

/// Lists the differences of a log's objects, in an order in which they can be repaired.
///
/// Objects that the log shares with a log of a newer version only have to exist.
pub(super) fn of_objects(
    log: &LogName,
    found: &[InspectionRow],
    has_newer: bool,
) -> Vec<Difference> {
    let objects = sql::objects(log).into_iter();
    objects.filter_map(|object| of_object(object, found, has_newer)).collect()
}

/// Lists the differences that matter for reads. For reads, the log may also be a view.
pub(super) fn of_columns(log: &LogName, found: &[InspectionRow]) -> Vec<Difference> {
    let is_read = |object: &SchemaObject| {
        matches!(object.kind, ObjectKind::Column | ObjectKind::IdentityColumn)
    };
    let objects = sql::objects(log).into_iter().filter(is_read);
    objects.filter_map(|object| of_object(object, found, false)).collect()
}

fn columns_of(log: &LogName) -> impl Iterator<Item = SchemaObject> {
    sql::objects(log).into_iter().filter(|object| object.kind == ObjectKind::Column)
}

fn of_object(object: SchemaObject, found: &[InspectionRow], has_newer: bool) -> Option<Difference> {
    let has_versions = || found.iter().any(|found| matches!(found, InspectionRow::Versions));
    if object.kind == ObjectKind::IdentityColumn && !has_versions() {
        return None;
    }
    let states = found.iter().filter_map(|found| match found {
        InspectionRow::Object { kind, name, state }
            if (*kind, name) == (object.kind, &object.name) =>
        {
            Some(state)
        }
        _ => None,
    });
    let is_expected = |state: &String| *state == object.state || (object.is_shared && has_newer);
    // There may be several routines of one name with other parameters: one of them has to match.
    if states.clone().any(is_expected) {
        return None;
    }
    let found = states.clone().next().cloned();
    Some(Difference::Object { object, found })
}

/// Names the missing columns, if more than half are missing: the table has another purpose.
pub(super) fn missing_columns(log: &LogName, differences: &[Difference]) -> Option<String> {
    let columns = differences.iter().filter_map(|difference| match difference {
        Difference::Object { object, found: None } if object.kind == ObjectKind::Column => {
            Some(object.name.as_str())
        }
        _ => None,
    });
    let columns: Vec<_> = columns.collect();
    (2 * columns.len() > columns_of(log).count()).then(|| columns.join(", "))
}

/// Returns the difference of a log's sequence whose next position is missing or not above the head.
pub(super) fn of_numbers(log: &LogName, numbers: SequenceState) -> Option<Difference> {
    let sequence = log.sequence();
    match numbers.next() {
        None => Some(Difference::SequenceExhausted { sequence }),
        Some(next) if next <= numbers.head => {
            Some(Difference::SequenceBehind { sequence, numbers })
        }
        Some(_) => None,
    }
}

/// The state of an unlogged table, which a crash empties, as an inspection shows it.
const UNLOGGED: &str = "an unlogged table";
