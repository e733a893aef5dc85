use std::time::Duration;

use postgres_types::Type;
use tokio_postgres::Row;

use super::conflict_probe::ConflictProbe;
use super::events::bind_columns;
use super::param::Param;
use super::statement::{Params, Statement};
use crate::bookmark::Epoch;
use crate::error::BoxError;
use crate::log_name::LogName;
use crate::{Bookmark, Event, SequenceNumber};

/// The precondition that the procedure checks under the log's lock before it appends a batch.
#[derive(Clone, Copy)]
pub(crate) enum Precondition<'a> {
    /// The log's head is the one that the conditions were validated against, in its epoch
    /// (Lemma 3).
    Head(Bookmark),
    /// The log's head is that one, or only the batch with this number was appended after it. That
    /// batch was sent before this one over the same connection (Lemma 4).
    HeadOrPredecessor { head: Bookmark, predecessor: i64 },
    /// No event breaks the condition of an attempt. Attempts whose condition is broken are left out
    /// (Lemma 2).
    NoMatch(&'a ConflictProbe<'a>),
    /// Nothing: the batch has no conditions.
    None,
}

/// The effect of a call of the procedure on its transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TransactionEnd {
    /// The call is a transaction of its own.
    Commit,
    /// The call is part of a transaction, which keeps the log's lock until it ends.
    KeepOpen,
}

/// Renders the call of the procedure that appends a batch. [`BatchAnswer`] decodes the answer.
///
/// The call waits for the log's lock for `lock_timeout`, or for the `lock_timeout` of its session
/// if that is `None`. The batch has a number if other batches may be pipelined behind it.
pub(crate) fn append_batch<'a>(
    texts: &'a AppendTexts,
    precondition: Precondition<'a>,
    end: TransactionEnd,
    lock_timeout: Option<Duration>,
    batch: Option<i64>,
    events: impl Iterator<Item = &'a Event> + Clone,
) -> Statement<'a> {
    let (head, predecessor) = match precondition {
        Precondition::Head(head) => (Some(head), None),
        Precondition::HeadOrPredecessor { head, predecessor } => (Some(head), Some(predecessor)),
        Precondition::NoMatch(_) | Precondition::None => (None, None),
    };
    let known = match precondition {
        Precondition::NoMatch(probe) => probe.positions().map(|(_, highest)| highest),
        _ => head.map(|head| head.position().to_bigint()),
    };
    let wait = lock_timeout.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    let number = |number: Option<i64>| number.map_or(Param::Null(Type::INT8), Param::BigInt);

    let is_probed = matches!(precondition, Precondition::NoMatch(_));
    let count = if is_probed { PARAMS_WITH_PROBE } else { PARAMS };
    let mut params = Params::with_capacity(count);
    params.bind(number(known));
    params.bind(number(predecessor));
    params.bind(number(batch));
    bind_columns(events, &mut params);
    params.bind(number(wait));
    match precondition {
        Precondition::NoMatch(probe) => probe.bind(&mut params),
        _ => {
            let epoch = head.and_then(Bookmark::epoch).map(Epoch::id);
            params.bind(Param::Uuids(epoch.into_iter().collect()));
        }
    }
    params.into_statement(texts.of(is_probed, end))
}

/// The number of parameters of a call, without and with a [`ConflictProbe`].
const PARAMS: usize = 10;
const PARAMS_WITH_PROBE: usize = 24;

/// The texts of [`append_batch`]. They depend on the log's name only.
pub(crate) struct AppendTexts {
    commit: CallTexts,
    keep_open: CallTexts,
}

/// The texts of calls that end their transaction in the same way.
struct CallTexts {
    without_probe: String,
    with_probe: String,
}

impl AppendTexts {
    pub(crate) fn new(log: &LogName) -> Self {
        let procedure = log.append_procedure();
        let texts = |stay: bool| {
            let call =
                format!("CALL {procedure}(NULL, NULL, $1, $2, $3, $4, $5, $6, $7, $8, {stay}, $9");
            let probe = (PARAMS..=PARAMS_WITH_PROBE).map(|number| format!("${number}"));
            let probe: Vec<_> = probe.collect();
            CallTexts {
                without_probe: format!("{call}, epochs => $10)"),
                with_probe: format!("{call}, {})", probe.join(", ")),
            }
        };
        Self { commit: texts(false), keep_open: texts(true) }
    }

    /// Returns the text of a call, with or without a [`ConflictProbe`].
    pub(crate) fn of(&self, is_probed: bool, end: TransactionEnd) -> &str {
        let texts = match end {
            TransactionEnd::Commit => &self.commit,
            TransactionEnd::KeepOpen => &self.keep_open,
        };
        if is_probed { &texts.with_probe } else { &texts.without_probe }
    }
}

/// The answer to a call of [`append_batch`].
#[derive(Debug)]
pub(crate) struct BatchAnswer {
    /// The log's head before the call, in the epoch of the call.
    pub(crate) head: Bookmark,
    /// The positions of the appended events, in the order of the events. Empty if nothing was
    /// appended.
    pub(crate) numbers: Vec<SequenceNumber>,
    /// The attempts that were left out, by their index in the batch. Each has the position of the
    /// first event that breaks its condition.
    pub(crate) broken: Vec<(usize, SequenceNumber)>,
}

impl BatchAnswer {
    /// Returns whether another number lies between the head and the last event of the batch.
    pub(crate) fn has_gap(&self) -> bool {
        let head = self.head.position();
        let last = self.numbers.last().copied().unwrap_or(head);
        last.value() - head.value() != self.numbers.len() as u64
    }

    /// Returns the head after the call.
    pub(crate) fn last(&self) -> Bookmark {
        self.numbers.last().map_or(self.head, |last| self.head.at(*last))
    }

    /// Decodes the answer: the head, the attempts that were left out (numbered -1, -2, …), as many
    /// positions of the events that break their conditions, and the positions of the appended
    /// events.
    pub(crate) fn decode(row: &Row) -> Result<Self, BoxError> {
        let answer: Vec<i64> = row.try_get(0)?;
        let Some((&head, rest)) = answer.split_first() else {
            return Err("the answer to the append does not name the log's head".into());
        };
        let position = |&number: &i64| SequenceNumber::from_bigint(number);
        let attempts = rest.iter().take_while(|&&number| number < 0);
        let attempts: Vec<_> =
            attempts.filter_map(|&attempt| usize::try_from(-1 - attempt).ok()).collect();
        let rest = rest.get(attempts.len()..).unwrap_or_default();
        let (firsts, numbers) = rest.split_at(attempts.len().min(rest.len()));
        let numbers = numbers.iter().map(position).collect();
        let broken = attempts.into_iter().zip(firsts.iter().map(position)).collect();
        let epoch = Epoch::new(row.try_get(1)?);
        let head = Bookmark::new(SequenceNumber::from_bigint(head), epoch);
        Ok(Self { head, numbers, broken })
    }
}
