use std::collections::BTreeSet;

use tokio_postgres::Row;

use super::events::bind_columns;
use super::filter::Params;
use super::param::{Param, Statement};
use crate::filter::Demand;
use crate::log::LogName;
use crate::{Event, SequenceNumber};

/// On what the events of a call of [`store`] are stored.
pub(crate) enum Proviso<'a> {
    /// The log ends here still: whoever calls has judged all conditions, and knows the log up to it.
    Ends(SequenceNumber),
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
    /// For each event of the call: whose it is.
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
        let owner = self.attempts;
        self.attempts += 1;
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

    fn bind(&'a self, params: &mut Params<'a>) -> String {
        let keys: BTreeSet<_> = self.keys.iter().copied().collect();
        let since = self.positions().map_or(Param::Null, |(lowest, _)| Param::BigInt(lowest));
        let values = self.values.iter().map(String::as_str).collect();
        [
            Param::BigInts(self.members.clone()),
            Param::Texts(keys.into_iter().collect()),
            Param::Texts(self.keys.clone()),
            Param::Jsonbs(values),
            Param::BigInts(self.afters.clone()),
            Param::BigInts(self.owners.clone()),
            since,
        ]
        .map(|param| params.bind(param))
        .join(", ")
    }
}

/// Renders the call that stores events, all that go together as far as the proviso holds.
///
/// Run on its own it is a transaction of its own, which takes the log's lock. See [`Stored`].
pub(crate) fn store<'a>(
    log: &LogName,
    proviso: &Proviso<'a>,
    events: impl Iterator<Item = &'a Event> + Clone,
) -> Statement<'a> {
    let mut params = Params::default();
    let end = match proviso {
        Proviso::Ends(end) => Some(end.to_bigint()),
        Proviso::Unmet(unmet) => unmet.positions().map(|(_, highest)| highest),
        Proviso::Nothing => None,
    };
    let end = params.bind(end.map_or(Param::Null, Param::BigInt));
    let mut arguments = bind_columns(events, &mut params).join(", ");
    if let Proviso::Unmet(unmet) = proviso {
        arguments += &format!(", {}", unmet.bind(&mut params));
    }
    let function = log.append_function();
    Statement {
        text: format!("SELECT head, numbers, matched FROM {function}({end}, {arguments})"),
        params: params.into_vec(),
    }
}

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
    pub(crate) fn decode(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let numbers: Option<Vec<i64>> = row.try_get(1)?;
        let mut numbers: Option<Vec<_>> =
            numbers.map(|numbers| numbers.into_iter().map(SequenceNumber::from_bigint).collect());
        // They ascend in the order of the events.
        if let Some(numbers) = &mut numbers {
            numbers.sort_unstable();
        }
        let matched: Option<Vec<i64>> = row.try_get(2)?;
        let head = SequenceNumber::from_bigint(row.try_get(0)?);
        Ok(Self { head, numbers, matched: matched.unwrap_or_default() })
    }

    /// Returns whether the events of an attempt were stored, by its place among those of the call.
    pub(crate) fn holds(&self, attempt: usize) -> bool {
        self.numbers.is_some()
            && !self.matched.iter().any(|&matched| usize::try_from(matched) == Ok(attempt))
    }
}
