//! The text of an intention with its time, one line of a plan file.

use std::time::Duration;

use super::{Act, Aim, Crowd, Intention, List, Planned};

/// An error in a line of a plan.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum LineError {
    /// The line has the wrong number of fields.
    #[error("has {0} fields instead of {FIELDS}: time, visit, act, aim, crowd, draw, end")]
    FieldCount(usize),

    /// A field has no valid value.
    #[error("{field} cannot be {value:?}")]
    Value {
        /// The name of the field.
        field: &'static str,
        /// The value.
        value: String,
    },
}

impl Planned {
    /// Returns the line: the time in microseconds, and the fields of the intention.
    pub fn to_line(&self) -> String {
        let Intention { visit, act, aim, crowd, ends_visit, draw } = self.intention;
        let (act, aim, crowd) = (act_name(act), name(&AIMS, aim), name(&CROWDS, crowd));
        let end = if ends_visit { ENDS } else { GOES_ON };
        format!("{} {visit} {act} {aim} {crowd} {draw:x} {end}", self.at.as_micros())
    }

    /// Parses a line.
    ///
    /// # Errors
    ///
    /// [`LineError`] names the field.
    pub fn from_line(line: &str) -> Result<Self, LineError> {
        let fields: Vec<_> = line.split(' ').collect();
        let &[at, visit, act, aim, crowd, draw, end] = fields.as_slice() else {
            return Err(LineError::FieldCount(fields.len()));
        };
        let invalid = |field, value: &str| LineError::Value { field, value: value.to_owned() };
        let intention = Intention {
            visit: visit.parse().map_err(|_| invalid("the visit", visit))?,
            act: ACTS
                .into_iter()
                .find(|known| act_name(*known) == act)
                .ok_or_else(|| invalid("the act", act))?,
            aim: value(&AIMS, aim).ok_or_else(|| invalid("the aim", aim))?,
            crowd: value(&CROWDS, crowd).ok_or_else(|| invalid("the crowd", crowd))?,
            draw: u64::from_str_radix(draw, 16).map_err(|_| invalid("the draw", draw))?,
            ends_visit: match end {
                ENDS => true,
                GOES_ON => false,
                _ => return Err(invalid("the end", end)),
            },
        };
        let is_pair = intention.crowd != Crowd::Alone;
        if is_pair && (intention.act, intention.aim) != (Act::Borrow, Aim::Success) {
            return Err(invalid("the crowd of an act other than a loan", crowd));
        }
        let at = Duration::from_micros(at.parse().map_err(|_| invalid("the time", at))?);
        Ok(Self { at, intention })
    }
}

fn act_name(act: Act) -> &'static str {
    match act {
        Act::Add => "add",
        Act::Borrow => "borrow",
        Act::Browse => "browse",
        Act::Cancel => "cancel",
        Act::List(List::BooksInCirculation) => "list-books-in-circulation",
        Act::List(List::BooksLentOut) => "list-books-lent-out",
        Act::List(List::CanceledReaders) => "list-canceled-readers",
        Act::List(List::FinishedLendings) => "list-finished-lendings",
        Act::List(List::RegisteredReaders) => "list-registered-readers",
        Act::List(List::RemovedBooks) => "list-removed-books",
        Act::Register => "register",
        Act::Remove => "remove",
        Act::Return => "return",
    }
}

fn name<T: Copy + PartialEq>(names: &[(T, &'static str)], value: T) -> &'static str {
    let found = names.iter().find(|(known, _)| *known == value);
    found.expect("the lists of names are complete").1
}

fn value<T: Copy>(names: &[(T, &'static str)], name: &str) -> Option<T> {
    names.iter().find(|(_, known)| *known == name).map(|(value, _)| *value)
}

const FIELDS: usize = 7;
const ENDS: &str = "last";
const GOES_ON: &str = "-";
const ACTS: [Act; 13] = [
    Act::Add,
    Act::Borrow,
    Act::Browse,
    Act::Cancel,
    Act::List(List::BooksInCirculation),
    Act::List(List::BooksLentOut),
    Act::List(List::CanceledReaders),
    Act::List(List::FinishedLendings),
    Act::List(List::RegisteredReaders),
    Act::List(List::RemovedBooks),
    Act::Register,
    Act::Remove,
    Act::Return,
];
const AIMS: [(Aim, &str); 3] =
    [(Aim::Idempotent, "idempotent"), (Aim::Rejected, "rejected"), (Aim::Success, "success")];
const CROWDS: [(Crowd, &str); 3] =
    [(Crowd::Alone, "alone"), (Crowd::OneCard, "one-card"), (Crowd::OneCopy, "one-copy")];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn planned() -> impl Strategy<Value = Planned> {
        let alone = (proptest::sample::select(&ACTS[..]), proptest::sample::select(&AIMS[..]))
            .prop_map(|(act, (aim, _))| (act, aim, Crowd::Alone));
        let pair = proptest::sample::select(&CROWDS[..])
            .prop_map(|(crowd, _)| (Act::Borrow, Aim::Success, crowd));
        let fields = (0..u64::MAX, any::<u32>(), any::<u64>(), any::<bool>());
        (fields, prop_oneof![alone, pair]).prop_map(
            |((at, visit, draw, ends_visit), (act, aim, crowd))| Planned {
                at: Duration::from_micros(at),
                intention: Intention { visit, act, aim, crowd, ends_visit, draw },
            },
        )
    }

    proptest! {
        /// A line holds everything about an intention.
        #[test]
        fn a_line_is_read_as_it_was_written(planned in planned()) {
            prop_assert_eq!(Planned::from_line(&planned.to_line()), Ok(planned));
        }

        /// A text that is accepted is one that could have been written, up to leading zeros.
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", line in "[0-9]{1,4} [0-9]{1,3} [a-z]{3,6} (success|x) (alone|one-card) [0-9a-f]{1,16} (last|-)") {
            for text in [text, line] {
                if let Ok(planned) = Planned::from_line(&text) {
                    prop_assert_eq!(Planned::from_line(&planned.to_line()), Ok(planned));
                }
            }
        }
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        for (line, field) in [
            ("1 2 borrow success alone ff", "6 fields"),
            ("-1 2 borrow success alone ff -", "the time"),
            ("1 2 steal success alone ff -", "the act"),
            ("1 2 borrow failure alone ff -", "the aim"),
            ("1 2 borrow success crowd ff -", "the crowd"),
            ("1 2 return success one-copy ff -", "the crowd of an act"),
            ("1 2 borrow success alone xyz -", "the draw"),
            ("1 2 borrow success alone ff end", "the end"),
        ] {
            let error = Planned::from_line(line).unwrap_err().to_string();

            assert!(error.contains(field), "{line}: {error}");
        }
    }
}
