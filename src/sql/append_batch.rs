use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use postgres_types::Type;
use tokio_postgres::Row;

use super::events::bind_columns;
use super::filter::Params;
use super::param::{Param, Statement};
use super::procedure::max_newer_events;
use crate::condition::Guard;
use crate::error::BoxError;
use crate::filter::{NecessaryKey, NecessaryMatch};
use crate::log_name::LogName;
use crate::{Event, SequenceNumber};

/// What has to hold under the log's lock for the events of a batch to be appended.
#[derive(Clone, Copy)]
pub(crate) enum Precondition<'a> {
    /// The log's head is the one that the conditions were validated against.
    Head(SequenceNumber),
    /// The same, or nothing but the batch of this number came after that head. It was sent before this
    /// one over the same connection.
    HeadOrPredecessor { head: SequenceNumber, front: i64 },
    /// No event breaks the condition of an attempt. The attempts of which one does are left out.
    NoMatch(&'a ConflictProbe<'a>),
    /// The batch has no conditions.
    None,
}

/// How a batch is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TransactionEnd {
    /// The call is a transaction of its own.
    Commit,
    /// The transaction around the call goes on, and holds the log's lock.
    KeepOpen,
}

/// The conditions of a batch, as the server validates them under the log's lock.
#[derive(Default)]
pub(crate) struct ConflictProbe<'a> {
    /// For each event of the batch: whose it is. Attempts are named by numbers below zero.
    members: Vec<i64>,
    terms: Vec<ProbeTerm<'a>>,
    attempts: i64,
    /// How often an attempt was refused because too many events lay above its position.
    refusals: u32,
}

struct ProbeTerm<'a> {
    required: NecessaryMatch<'a>,
    guard: &'a Guard,
    after: i64,
    owner: i64,
}

impl<'a> ConflictProbe<'a> {
    /// Adds an attempt of so many events. Its condition is known to hold up to `validated`. It was refused
    /// `refusals` times because too many events lay above that.
    pub(crate) fn add(
        &mut self,
        events: usize,
        guard: Option<&'a Guard>,
        validated: SequenceNumber,
        refusals: u32,
    ) {
        self.attempts += 1;
        self.refusals = self.refusals.max(refusals);
        let owner = -self.attempts;
        self.members.extend(std::iter::repeat_n(owner, events));
        let Some(guard) = guard else { return };
        let after = validated.to_bigint();
        let required = guard.filter.necessary_matches().into_iter();
        self.terms.extend(required.map(|required| ProbeTerm { required, guard, after, owner }));
    }

    /// Returns the keys of the payload under which events are looked at, and those of which the elements
    /// are.
    fn keys(&self) -> [BTreeSet<Option<&str>>; 2] {
        let mut fields = BTreeSet::new();
        let mut elements = BTreeSet::new();
        for term in &self.terms {
            match term.required.key {
                NecessaryKey::Any => fields.insert(None),
                NecessaryKey::Element(key) => elements.insert(Some(key)),
                NecessaryKey::Field(key) => fields.insert(Some(key)),
                NecessaryKey::Type => fields.insert(Some("")),
            };
        }
        [fields, elements]
    }

    /// Returns how many events above the lowest position the server reads at most.
    pub(crate) fn max_newer_events(&self) -> i64 {
        let [fields, elements] = self.keys();
        self.max_newer_events_under(fields.len() + elements.len())
    }

    /// Returns the same, if the conditions name so many keys.
    fn max_newer_events_under(&self, keys: usize) -> i64 {
        // SessionSettings of the same value are all compared with an event that has it.
        let mut equals = HashMap::new();
        let values =
            self.terms.iter().map(|term| (term.required.key, term.required.value.as_str()));
        values.for_each(|value| *equals.entry(value).or_insert(0_usize) += 1);
        let most_equals = equals.values().copied().max().unwrap_or_default();
        max_newer_events(most_equals.max(keys), self.refusals)
    }

    /// Returns the lowest and the highest position up to which the conditions are known to hold.
    fn positions(&self) -> Option<(i64, i64)> {
        let afters = self.terms.iter().map(|term| term.after);
        afters.clone().min().zip(afters.max())
    }

    /// Returns for each term the place of its types among all, and all. The terms of an item share theirs,
    /// of which there may be many.
    fn kinds(&self) -> (Vec<Option<i64>>, Vec<&str>) {
        let mut all: Vec<&Arc<str>> = Vec::new();
        let mut kinds = Vec::with_capacity(self.terms.len());
        for term in &self.terms {
            kinds.push(term.required.types.as_ref().map(|types| {
                if all.last().is_none_or(|last| !Arc::ptr_eq(last, types)) {
                    all.push(types);
                }
                all.len() as i64
            }));
        }
        (kinds, all.into_iter().map(AsRef::as_ref).collect())
    }

    fn bind(&'a self, params: &mut Params<'a>) {
        let terms = || self.terms.iter();
        let [fields, elements] = self.keys();
        let (kinds, types_of_kinds) = self.kinds();
        let is_bounded = terms().any(|term| term.guard.filter.is_bounded());
        let times = |bound: fn(&Guard) -> Option<jiff::Timestamp>| match is_bounded {
            true => Param::NullableTimes(terms().map(|term| bound(term.guard)).collect()),
            false => Param::Null(Type::TIMESTAMPTZ_ARRAY),
        };
        let key = |term: &'a ProbeTerm<'a>| match term.required.key {
            NecessaryKey::Element(key) | NecessaryKey::Field(key) => key,
            NecessaryKey::Any | NecessaryKey::Type => "",
        };
        // Where elements of arrays are looked up as well, a value may be one of those.
        let body = |term: &'a ProbeTerm<'a>| {
            let is_ambiguous = elements.contains(&Some(key(term)));
            term.required.body.filter(|_| is_ambiguous || !term.required.is_exact)
        };
        let bodies = terms().map(body).collect();
        let lowest = self.positions().map_or(0, |(lowest, _)| lowest);
        let most = self.max_newer_events_under(fields.len() + elements.len());
        let columns = [
            Param::BigInt(lowest),
            Param::BigInts(self.members.clone()),
            Param::NullableTexts(fields.into_iter().collect()),
            Param::NullableTexts(elements.into_iter().collect()),
            Param::Texts(terms().map(key).collect()),
            Param::Jsonbs(terms().map(|term| term.required.value.as_str()).collect()),
            Param::NullableJsonbs(bodies),
            Param::NullableBigInts(kinds),
            Param::Jsonbs(types_of_kinds),
            times(|guard| guard.filter.occurred_from()),
            times(|guard| guard.filter.occurred_until()),
            Param::BigInts(terms().map(|term| term.after).collect()),
            Param::BigInts(terms().map(|term| term.owner).collect()),
            Param::BigInt(most),
        ];
        for column in columns {
            params.bind(column);
        }
    }
}

/// Renders the call of the procedure that appends a batch. See [`BatchAnswer`].
///
/// The call waits for a lock as long as its connection is set to, or as long as `lock_timeout` says. A batch
/// that others may be sent behind has a number.
pub(crate) fn append_batch<'a>(
    texts: &AppendTexts,
    precondition: Precondition<'a>,
    ending: TransactionEnd,
    lock_timeout: Option<Duration>,
    batch: Option<i64>,
    events: impl Iterator<Item = &'a Event> + Clone,
) -> Statement<'a> {
    let mut params = Params::default();
    let number = |number: Option<i64>| number.map_or(Param::Null(Type::INT8), Param::BigInt);
    let (known, front) = match precondition {
        Precondition::Head(head) => (Some(head.to_bigint()), None),
        Precondition::HeadOrPredecessor { head, front } => (Some(head.to_bigint()), Some(front)),
        Precondition::NoMatch(probe) => (probe.positions().map(|(_, highest)| highest), None),
        Precondition::None => (None, None),
    };
    params.bind(number(known));
    params.bind(number(front));
    params.bind(number(batch));
    bind_columns(events, &mut params);
    let wait = lock_timeout.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    params.bind(number(wait));
    if let Precondition::NoMatch(probe) = precondition {
        probe.bind(&mut params);
    }
    let is_probed = matches!(precondition, Precondition::NoMatch(_));
    let text = texts.of(is_probed, ending).to_owned();
    Statement { text, params: params.into_vec() }
}

/// The texts of [`append_batch`]. They depend on nothing but the log's name.
pub(crate) struct AppendTexts {
    commits: [String; 2],
    stays: [String; 2],
}

impl AppendTexts {
    pub(crate) fn new(log: &LogName) -> Self {
        let procedure = log.append_procedure();
        let texts = |stay: bool| {
            let call = format!("CALL {procedure}(NULL, $1, $2, $3, $4, $5, $6, $7, $8, {stay}, $9");
            let probe: Vec<_> = (10..=23).map(|number| format!("${number}")).collect();
            [format!("{call})"), format!("{call}, {})", probe.join(", "))]
        };
        Self { commits: texts(false), stays: texts(true) }
    }

    /// Returns the text of a call, with or without a [`ConflictProbe`].
    pub(crate) fn of(&self, is_probed: bool, ending: TransactionEnd) -> &str {
        let [plain, probing] = match ending {
            TransactionEnd::Commit => &self.commits,
            TransactionEnd::KeepOpen => &self.stays,
        };
        if is_probed { probing } else { plain }
    }
}

/// What the call of [`append_batch`] answered.
#[derive(Debug)]
pub(crate) struct BatchAnswer {
    /// The log's head before.
    pub(crate) head: SequenceNumber,
    /// The positions of the events that were appended, in their order. It is empty if none was.
    pub(crate) numbers: Vec<SequenceNumber>,
    /// The attempts that were left out, by their place in the batch, each with the position of the
    /// first event that breaks its condition.
    pub(crate) broken: Vec<(usize, SequenceNumber)>,
}

impl BatchAnswer {
    /// Returns whether there is another number between the head and the last one of the events.
    pub(crate) fn has_gap(&self) -> bool {
        let last = self.numbers.last().copied().unwrap_or(self.head);
        last.value() - self.head.value() != self.numbers.len() as u64
    }

    pub(crate) fn decode(row: &Row) -> Result<Self, BoxError> {
        let answer: Vec<i64> = row.try_get(0)?;
        let Some((&head, rest)) = answer.split_first() else {
            return Err("the answer to the append does not name the log's head".into());
        };
        let number = |&number: &i64| SequenceNumber::from_bigint(number);
        let owners = rest.iter().take_while(|&&number| number < 0);
        let attempts: Vec<_> =
            owners.filter_map(|&owner| usize::try_from(-1 - owner).ok()).collect();
        let rest = rest.get(attempts.len()..).unwrap_or_default();
        let (firsts, numbers) = rest.split_at(attempts.len().min(rest.len()));
        let numbers = numbers.iter().map(number).collect();
        let broken = attempts.into_iter().zip(firsts.iter().map(number)).collect();
        Ok(Self { head: SequenceNumber::from_bigint(head), numbers, broken })
    }
}
