use std::collections::HashMap;

use postgres_types::Type;
use uuid::Uuid;

use super::param::{Jsonb, Param, TimeBound};
use super::procedure::max_newer_events;
use super::statement::Params;
use crate::Bookmark;
use crate::bookmark::Epoch;
use crate::condition::FilterPosition;
use crate::filter::{NecessaryKey, NecessaryMatch};

/// The conditions of a batch, as the procedure validates them under the log's lock (Lemma 2).
#[derive(Default)]
pub(crate) struct ConflictProbe<'a> {
    /// For each event of the batch, its attempt.
    event_attempts: Vec<i64>,
    alternatives: Vec<Alternative<'a>>,
    /// The number of attempts. The attempts are numbered -1, -2, …, so that the answer can list
    /// them beside positions.
    attempts: i64,
    /// The epochs of the validated positions.
    epochs: Vec<Uuid>,
    /// How often an attempt was refused because too many events lay above its position.
    refusals: u32,
}

/// An alternative of the filter of an attempt's condition.
struct Alternative<'a> {
    required: NecessaryMatch<'a>,
    guard: &'a FilterPosition,
    after: i64,
    attempt: i64,
}

impl<'a> ConflictProbe<'a> {
    /// Adds an attempt with this number of events. Its condition is known to hold up to
    /// `validated`. It was refused `refusals` times because too many events lay above that
    /// position.
    pub(crate) fn add(
        &mut self,
        events: usize,
        guard: Option<&'a FilterPosition>,
        validated: Bookmark,
        refusals: u32,
    ) {
        self.attempts += 1;
        self.refusals = self.refusals.max(refusals);
        let attempt = -self.attempts;
        self.event_attempts.extend(std::iter::repeat_n(attempt, events));
        let Some(guard) = guard else { return };
        let epoch = validated.epoch().map(Epoch::id);
        self.epochs.extend(epoch.filter(|epoch| !self.epochs.contains(epoch)));
        let after = validated.position().to_bigint();
        let required = guard.filter.necessary_matches().into_iter();
        let alternatives = required.map(|required| Alternative { required, guard, after, attempt });
        self.alternatives.extend(alternatives);
    }

    /// Returns how many events above the lowest position the procedure reads at most.
    pub(crate) fn max_newer_events(&self) -> i64 {
        self.max_newer_events_with(&self.keys())
    }

    fn max_newer_events_with(&self, keys: &Keys<'_>) -> i64 {
        // The procedure compares an event with all alternatives whose value the event has.
        let mut counts = HashMap::with_capacity(self.alternatives.len());
        for Alternative { required, .. } in &self.alternatives {
            *counts.entry((required.key, required.value.as_str())).or_insert(0_usize) += 1;
        }
        let most_equal = counts.into_values().max().unwrap_or_default();
        max_newer_events(most_equal.max(keys.len()), self.refusals)
    }

    /// Returns the lowest and the highest position up to which the conditions are known to hold.
    pub(super) fn positions(&self) -> Option<(i64, i64)> {
        let positions = self.alternatives.iter().map(|one| one.after);
        positions.clone().min().zip(positions.max())
    }

    fn keys(&self) -> Keys<'_> {
        let mut keys = Keys::default();
        for alternative in &self.alternatives {
            match alternative.required.key {
                NecessaryKey::Any => keys.fields.push(None),
                NecessaryKey::Element(key) => keys.arrays.push(Some(key)),
                NecessaryKey::Field(key) => keys.fields.push(Some(key)),
                NecessaryKey::Type => keys.fields.push(Some(EVENT_TYPE)),
            }
        }
        for keys in [&mut keys.fields, &mut keys.arrays] {
            keys.sort_unstable();
            keys.dedup();
        }
        keys
    }

    /// Returns the distinct lists of event types, and for each alternative the one-based index of
    /// its list. The alternatives of an item share a list, which may be long.
    fn type_lists(&self) -> (Vec<Option<i64>>, Vec<Jsonb<'_>>) {
        let mut lists: Vec<Jsonb<'_>> = Vec::new();
        let mut indexes = Vec::with_capacity(self.alternatives.len());
        for alternative in &self.alternatives {
            indexes.push(alternative.required.types.map(|types| {
                if lists.last().is_none_or(|last| !std::ptr::eq(last.0, types)) {
                    lists.push(Jsonb(types));
                }
                lists.len() as i64
            }));
        }
        (indexes, lists)
    }

    /// Returns a bound of the period of each alternative's filter.
    fn time_bounds(&self, bound: impl Fn(&FilterPosition) -> Option<jiff::Timestamp>) -> Param<'_> {
        if !self.alternatives.iter().any(|one| one.guard.filter.is_bounded()) {
            return Param::Null(Type::TIMESTAMPTZ_ARRAY);
        }
        let bounds = self.alternatives.iter().map(|one| bound(one.guard).map(TimeBound));
        Param::NullableTimeBounds(bounds.collect())
    }

    /// Binds the parameters of the procedure from `since` on.
    pub(super) fn bind(&'a self, params: &mut Params<'a>) {
        let alternatives = || self.alternatives.iter();
        let keys = self.keys();
        let (type_list_indexes, type_lists) = self.type_lists();
        let lowest = self.positions().map_or(0, |(lowest, _)| lowest);
        let max_newer_events = self.max_newer_events_with(&keys);
        // The join by the value is exact for a single scalar, unless elements of arrays are looked
        // up under the same key: then the value may be an element.
        let body = |one: &'a Alternative<'a>| {
            let is_ambiguous = keys.arrays.binary_search(&Some(one.key())).is_ok();
            let body = one.required.body.filter(|_| is_ambiguous || !one.required.is_exact);
            body.map(Jsonb)
        };
        let bodies = alternatives().map(body).collect();
        let values = alternatives().map(|one| Jsonb(&one.required.value)).collect();
        let afters: Vec<_> = alternatives().map(|one| one.after).collect();
        let attempts: Vec<_> = alternatives().map(|one| one.attempt).collect();

        params.bind(Param::BigInt(lowest));
        params.bind(Param::BigInts(self.event_attempts.as_slice().into()));
        params.bind(Param::NullableTexts(keys.fields));
        params.bind(Param::NullableTexts(keys.arrays));
        params.bind(Param::Texts(alternatives().map(Alternative::key).collect()));
        params.bind(Param::Jsonbs(values));
        params.bind(Param::NullableJsonbs(bodies));
        params.bind(Param::NullableBigInts(type_list_indexes));
        params.bind(Param::Jsonbs(type_lists));
        params.bind(self.time_bounds(|guard| guard.filter.occurred_from()));
        params.bind(self.time_bounds(|guard| guard.filter.occurred_until()));
        params.bind(Param::BigInts(afters.into()));
        params.bind(Param::BigInts(attempts.into()));
        params.bind(Param::BigInt(max_newer_events));
        params.bind(match self.epochs.is_empty() {
            true => Param::Null(Type::UUID_ARRAY),
            false => Param::Uuids(self.epochs.clone()),
        });
    }
}

impl Alternative<'_> {
    /// Returns the key under which the procedure joins the alternative with events.
    fn key(&self) -> &str {
        match self.required.key {
            NecessaryKey::Element(key) | NecessaryKey::Field(key) => key,
            NecessaryKey::Any | NecessaryKey::Type => EVENT_TYPE,
        }
    }
}

/// The distinct keys under which the procedure looks up the values of events.
#[derive(Default)]
struct Keys<'a> {
    /// Keys of the payload, or [`EVENT_TYPE`]. `None` stands for the value `true`, which every
    /// event has.
    fields: Vec<Option<&'a str>>,
    /// Keys of arrays whose elements are looked up.
    arrays: Vec<Option<&'a str>>,
}

impl Keys<'_> {
    fn len(&self) -> usize {
        self.fields.len() + self.arrays.len()
    }
}

/// The key that stands for the event's type: no predicate has an empty key.
const EVENT_TYPE: &str = "";
