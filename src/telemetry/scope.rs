use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;

use super::instruments::Instruments;
use super::series::{CountSeries, ValueSeries};
use super::shared_list::SharedList;
use crate::Class;

/// The series of all scopes.
#[derive(Default)]
pub(super) struct Scopes(SharedList<ScopeSeries>);

impl Scopes {
    /// Returns the series of a scope, or those that all scopes beyond the limit share.
    pub(super) fn get(
        &self,
        instruments: &Arc<Instruments>,
        store: Option<ScopedStore<'_>>,
        name: &'static str,
    ) -> Arc<ScopeSeries> {
        let is_named = |name: &'static str| move |series: &ScopeSeries| series.name == name;
        let make = |name| ScopeSeries::new(instruments, store, name);
        self.0
            .find_or_add_up_to(MAX_SCOPES, is_named(name), || make(name))
            .unwrap_or_else(|| self.0.find_or_add(is_named(OTHER_SCOPES), || make(OTHER_SCOPES)))
    }
}

/// The store of a scope.
#[derive(Clone, Copy)]
pub(super) struct ScopedStore<'a> {
    pub(super) attribute: &'a KeyValue,
    /// Whether it appends and decides.
    pub(super) decides: bool,
}

/// The series of a scope of a store.
pub(super) struct ScopeSeries {
    pub(super) name: &'static str,
    instruments: Arc<Instruments>,
    of_scope: Vec<KeyValue>,
    attempts: [(Class, [CountSeries; ATTEMPTS.len()]); RETRIED.len()],
    delay: ValueSeries,
    outcomes: [(&'static str, CountSeries); OUTCOMES.len()],
    /// Only a read-write store has conflicts and decisions.
    decisions: Option<DecisionSeries>,
}

struct DecisionSeries {
    conflicts: CountSeries,
    escalations: CountSeries,
    rounds: ValueSeries,
    events: ValueSeries,
}

impl ScopeSeries {
    fn new(
        instruments: &Arc<Instruments>,
        store: Option<ScopedStore<'_>>,
        name: &'static str,
    ) -> Self {
        let mut of_scope: Vec<_> = store.iter().map(|store| store.attribute.clone()).collect();
        of_scope.push(KeyValue::new("scope", name));
        let with = |attributes: &[KeyValue]| [&of_scope, attributes].concat();
        let attempts = RETRIED.map(|class| {
            let counts = ATTEMPTS.map(|attempt| {
                let attributes = with(&attempt_attributes(class, attempt));
                CountSeries::new(&instruments.retry_attempts, attributes)
            });
            (class, counts)
        });
        let outcomes = OUTCOMES.map(|outcome| {
            let attributes = with(&[KeyValue::new("outcome", outcome)]);
            (outcome, CountSeries::new(&instruments.retry_outcomes, attributes))
        });
        let decisions = store.filter(|store| store.decides).map(|_| DecisionSeries {
            conflicts: CountSeries::new(&instruments.conflicts, of_scope.clone()),
            escalations: CountSeries::new(&instruments.decide_escalations, of_scope.clone()),
            rounds: ValueSeries::new(&instruments.decide_rounds, of_scope.clone()),
            events: ValueSeries::new(&instruments.decide_events, of_scope.clone()),
        });
        let delay = ValueSeries::new(&instruments.retry_delay, of_scope.clone());
        let instruments = instruments.clone();
        Self { name, instruments, of_scope, attempts, delay, outcomes, decisions }
    }

    /// Returns the attribute that names the store, if there is one.
    #[cfg(feature = "tracing")]
    pub(super) fn store(&self) -> Option<&KeyValue> {
        self.of_scope.iter().find(|attribute| attribute.key.as_str() == "store")
    }

    /// Counts an attempt after the first, by the class of the error before it.
    pub(super) fn retried(&self, attempt: u32, reason: Class) {
        let index = usize::try_from(attempt.saturating_sub(2)).unwrap_or(usize::MAX);
        let attempts = self.attempts.iter().find(|(class, _)| *class == reason);
        let index = index.min(ATTEMPTS.len() - 1);
        match attempts {
            Some((_, counts)) => counts[index].add(1),
            // Callers may retry errors of any class.
            None => {
                let attributes = attempt_attributes(reason, ATTEMPTS[index]);
                let attributes = [&self.of_scope[..], &attributes].concat();
                self.instruments.retry_attempts.add(1, &attributes);
            }
        }
    }

    pub(super) fn paused(&self, pause: Duration) {
        self.delay.record(pause.as_secs_f64());
    }

    pub(super) fn ended(&self, outcome: &'static str) {
        if let Some((_, count)) = self.outcomes.iter().find(|(one, _)| *one == outcome) {
            count.add(1);
        }
    }

    pub(super) fn conflicted(&self) {
        if let Some(decisions) = &self.decisions {
            decisions.conflicts.add(1);
        }
    }

    pub(super) fn escalated(&self) {
        if let Some(decisions) = &self.decisions {
            decisions.escalations.add(1);
        }
    }

    pub(super) fn decided(&self, lost_rounds: u32, events: Option<u64>) {
        let Some(decisions) = &self.decisions else { return };
        decisions.rounds.record(f64::from(lost_rounds));
        if let Some(events) = events {
            decisions.events.record(events as f64);
        }
    }
}

fn attempt_attributes(reason: Class, attempt: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("reason", reason.as_str()), KeyValue::new("attempt", attempt)]
}

/// The most scopes of a store that have series of their own.
const MAX_SCOPES: usize = 48;
/// The name under which all further scopes are counted. An SDK that has a limit of series, which is
/// 2,000 for each instrument by default, would mix them with those of other stores.
const OTHER_SCOPES: &str = "other";
/// The classes of the errors that are usually retried.
const RETRIED: [Class; 4] =
    [Class::Conflict, Class::OutcomeUnknown, Class::Timeout, Class::Transient];
/// The outcomes of calls.
const OUTCOMES: [&str; 7] =
    ["budget", "canceled", "deadline", "exhausted", "first_try", "permanent", "recovered"];
/// The labels of the attempts after the first.
const ATTEMPTS: [&str; 6] = ["2", "3", "4", "5", "6", "more"];
