use std::collections::BTreeSet;

use tokio_postgres::Row;

use super::events::bind_columns;
use super::filter::Params;
use super::param::{Param, Statement};
use crate::error::BoxError;
use crate::filter::Demand;
use crate::log::LogName;
use crate::{Event, SequenceNumber};

/// On what the events of a call of [`store`] are stored.
pub(crate) enum Proviso<'a> {
    /// The log ends here still: whoever calls has judged all conditions, and knows the log up to it.
    Ends(SequenceNumber),
    /// The log ends with the last event that this session has stored: the same, where whoever calls
    /// does not know yet which place that one was given.
    EndsWithOwn,
    /// Nothing came that any of their conditions may be about.
    Unmet(&'a Unmet<'a>),
    /// None of them has a condition.
    Nothing,
}

/// What no event may have that came after a position, for the events of each attempt of a call.
///
/// An event that has it need not match the attempt's filter; one that has not does not.
#[derive(Default)]
pub(crate) struct Unmet<'a> {
    /// For each event of the call: whose it is, by names below zero.
    members: Vec<i64>,
    /// For each demand: of what, of which value, after which position, and whose it is.
    keys: Vec<&'a str>,
    values: Vec<String>,
    afters: Vec<i64>,
    owners: Vec<i64>,
    attempts: i64,
}

impl<'a> Unmet<'a> {
    /// Adds an attempt of so many events, and what none may have that came after the position.
    pub(crate) fn add(
        &mut self,
        events: usize,
        demands: impl IntoIterator<Item = Demand<'a>>,
        after: SequenceNumber,
    ) {
        self.attempts += 1;
        let owner = -self.attempts;
        self.members.extend(std::iter::repeat_n(owner, events));
        for demand in demands {
            self.keys.push(demand.key());
            self.values.push(demand.to_json());
            self.afters.push(after.to_bigint());
            self.owners.push(owner);
        }
    }

    /// Returns the lowest and the highest position.
    fn positions(&self) -> Option<(i64, i64)> {
        let afters = self.afters.iter().copied();
        afters.clone().min().zip(afters.max())
    }

    fn bind(&'a self, params: &mut Params<'a>) {
        let keys: BTreeSet<_> = self.keys.iter().copied().collect();
        let since = self.positions().map_or(Param::Null, |(lowest, _)| Param::BigInt(lowest));
        let values = self.values.iter().map(String::as_str).collect();
        let columns = [
            Param::BigInts(self.members.clone()),
            Param::Texts(keys.into_iter().collect()),
            Param::Texts(self.keys.clone()),
            Param::Jsonbs(values),
            Param::BigInts(self.afters.clone()),
            Param::BigInts(self.owners.clone()),
            since,
        ];
        for column in columns {
            params.bind(column);
        }
    }
}

/// Renders the call that stores events, all that go together as far as the proviso holds.
///
/// Run on its own it is a transaction of its own, which takes the log's lock. See [`Stored`].
pub(crate) fn store<'a>(
    texts: &StoreTexts,
    proviso: &Proviso<'a>,
    events: impl Iterator<Item = &'a Event> + Clone,
) -> Statement<'a> {
    let mut params = Params::default();
    let end = match proviso {
        Proviso::Ends(end) => Some(end.to_bigint()),
        Proviso::EndsWithOwn => Some(OWN),
        Proviso::Unmet(unmet) => unmet.positions().map(|(_, highest)| highest),
        Proviso::Nothing => None,
    };
    params.bind(end.map_or(Param::Null, Param::BigInt));
    bind_columns(events, &mut params);
    if let Proviso::Unmet(unmet) = proviso {
        unmet.bind(&mut params);
    }
    let text = texts.of(matches!(proviso, Proviso::Unmet(_))).to_owned();
    Statement { text, params: params.into_vec() }
}

/// The texts of [`store`], of which each depends on nothing but the log's name.
pub(crate) struct StoreTexts {
    all: String,
    unmet: String,
}

impl StoreTexts {
    pub(crate) fn new(log: &LogName) -> Self {
        let function = log.append_function();
        // Called in a FROM clause, it would have its answer put into a table first, which took a tenth
        // of its time.
        Self {
            all: format!("SELECT {function}($1, $2, $3, $4, $5, $6)"),
            unmet: format!(
                "SELECT {function}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
            ),
        }
    }

    /// Returns the text, where something is told that must be unmet or nothing is.
    pub(crate) fn of(&self, with_unmet: bool) -> &str {
        if with_unmet { &self.unmet } else { &self.all }
    }
}

/// Stands for the number that this session was given last.
const OWN: i64 = -1;

/// What the call of [`store`] answered.
pub(crate) struct Stored {
    /// Where the log ended before.
    pub(crate) head: SequenceNumber,
    /// The places in their order of the events that were stored, if any were.
    pub(crate) numbers: Option<Vec<SequenceNumber>>,
    /// The attempts that were left out, since something came that they may be about.
    matched: Vec<i64>,
}

impl Stored {
    pub(crate) fn decode(row: &Row) -> Result<Self, BoxError> {
        let answer: Vec<i64> = row.try_get(0)?;
        let Some((&head, rest)) = answer.split_first() else {
            return Err("the append was answered without the log's end".into());
        };
        let (numbers, matched): (Vec<_>, Vec<_>) = rest.iter().partition(|&&number| number > 0);
        let mut numbers: Vec<_> = numbers.into_iter().map(SequenceNumber::from_bigint).collect();
        // They ascend in the order of the events.
        numbers.sort_unstable();
        let numbers = Some(numbers).filter(|numbers| !numbers.is_empty());
        Ok(Self { head: SequenceNumber::from_bigint(head), numbers, matched })
    }

    /// Returns whether the events of an attempt were stored, by its place among those of the call.
    pub(crate) fn holds(&self, attempt: usize) -> bool {
        self.numbers.is_some()
            && !self.matched.iter().any(|&name| usize::try_from(-1 - name) == Ok(attempt))
    }
}
