use std::collections::HashSet;

use uuid::Uuid;

use super::log_tail::{EventIndex, LogTail};
use super::queue::PendingAppend;
use crate::SequenceNumber;
use crate::sql::{ConflictProbe, Precondition};
use crate::store::outcome::AppendOutcome;

/// Attempts whose events go into one transaction. None of them depends on another one.
pub(super) struct Batch {
    pub(super) attempts: Vec<PendingAppend>,
    pub(super) validation: Validation,
    /// What the attempts are about to append.
    pub(super) contents: BatchContents,
}

/// Where the conditions of a batch are validated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Validation {
    /// In this process, against the log's tail up to this head. Lemma 3.
    Local { head: SequenceNumber },
    /// In this process, against the same, as if the batch in front of it were appended. Lemma 4.
    Pipelined { head: SequenceNumber },
    /// By the server, under the log's lock.
    Server,
}

impl Batch {
    /// Returns whether an attempt has a condition.
    pub(super) fn is_conditional(&self) -> bool {
        self.attempts.iter().any(|one| one.request.guard().is_some())
    }

    /// Returns the conditions as the server validates them; none if this process has done so.
    pub(super) fn probe(&self) -> ConflictProbe<'_> {
        let mut probe = ConflictProbe::default();
        if self.validation == Validation::Server {
            for PendingAppend { request, .. } in &self.attempts {
                let guard = request.condition.guard();
                probe.add(request.events.len(), guard, request.validated);
            }
        }
        probe
    }

    /// Returns what has to hold under the log's lock.
    pub(super) fn precondition<'a>(&self, probe: &'a ConflictProbe<'a>) -> Precondition<'a> {
        if !self.is_conditional() {
            return Precondition::None;
        }
        match self.validation {
            Validation::Local { head } => Precondition::Head(head),
            Validation::Pipelined { head } => Precondition::HeadOrPredecessor(head),
            Validation::Server => Precondition::NoMatch(probe),
        }
    }
}

/// What becomes of the attempts that were taken from the queue.
#[derive(Default)]
pub(super) struct Plan {
    /// They are appended, if the batch's precondition holds.
    pub(super) attempts: Vec<PendingAppend>,
    pub(super) contents: BatchContents,
    /// They depend on what becomes of another attempt, and wait for the next batch.
    pub(super) deferred: Vec<PendingAppend>,
    /// They are not appended, whatever the server says.
    pub(super) refused: Vec<(PendingAppend, AppendOutcome)>,
    /// Whether the batch is of one attempt, whose position this process has not seen.
    is_of_unseen: bool,
}

/// What this process knows of the log when it plans a batch.
#[derive(Clone, Copy)]
pub(super) struct Knowledge<'a> {
    /// What the connection has seen.
    pub(super) tail: &'a LogTail,
    /// Whether other processes append as well, or the next transaction may go to another server, so
    /// that the tail is not likely to be the log's.
    pub(super) is_contended: bool,
    /// The highest position that this process has seen.
    pub(super) newest: SequenceNumber,
}

/// Plans a batch of the attempts. The first one is never deferred.
pub(super) fn plan(attempts: Vec<PendingAppend>, known: Knowledge<'_>) -> (Plan, Validation) {
    let is_covered = |one: &PendingAppend| covered_from(one, known.tail).is_some();
    let is_conditional = |one: &PendingAppend| one.request.guard().is_some();
    let is_local =
        !known.is_contended
        && attempts.iter().all(|one| !is_conditional(one) || is_covered(one));
    let validation = match known.tail.head() {
        Some(head) if is_local => Validation::Local { head },
        _ => Validation::Server,
    };
    let mut plan = Plan::with_capacity(attempts.len());
    for pending in attempts {
        // The log refuses all of a batch if it has not reached one of the positions. So a position that
        // this process has not seen goes alone.
        let is_unseen = is_conditional(&pending) && pending.request.validated > known.newest;
        let is_first = plan.attempts.is_empty();
        if plan.is_of_unseen || is_unseen && !is_first || plan.contents.decide(&pending) {
            plan.deferred.push(pending);
            continue;
        }
        plan.is_of_unseen = is_unseen;
        plan.add(pending, known.tail);
    }
    (plan, validation)
}

/// Plans a batch that is sent before the one in front of it is answered, as if that one were appended.
/// Everything that this process cannot validate so is deferred.
pub(super) fn plan_behind(
    front: &Batch,
    attempts: Vec<PendingAppend>,
    tail: &LogTail,
) -> (Plan, Option<Validation>) {
    let validation = tail.head().map(|head| Validation::Pipelined { head });
    // If the front has no conditions, it does not say where it has to follow: others may come before it.
    let is_tied = front.is_conditional() && front.validation != Validation::Server;
    let mut plan = Plan::with_capacity(attempts.len());
    for pending in attempts {
        let is_conditional = pending.request.guard().is_some();
        let is_known = is_tied && covered_from(&pending, tail).is_some();
        if is_conditional && !is_known
            || front.contents.decide(&pending)
            || plan.contents.decide(&pending)
        {
            plan.deferred.push(pending);
        } else {
            plan.add(pending, tail);
        }
    }
    (plan, validation)
}

impl Plan {
    fn with_capacity(attempts: usize) -> Self {
        Self { contents: BatchContents::with_capacity(attempts), ..Self::default() }
    }

    /// Adds an attempt, unless the tail has an event that breaks its condition.
    fn add(&mut self, pending: PendingAppend, tail: &LogTail) {
        match first_match(&pending, tail) {
            Some(event) => self.refused.push((pending, AppendOutcome::Broken { event })),
            None => {
                self.contents.add(&pending);
                self.attempts.push(pending);
            }
        }
    }
}

/// Returns the position from which on the tail has every event that may break an attempt's condition.
///
/// No event breaks it between the condition's position and the one up to which it is validated, so any
/// position from the one to the other will do.
fn covered_from(pending: &PendingAppend, tail: &LogTail) -> Option<SequenceNumber> {
    let (guard, _) = pending.request.guard()?;
    let from = pending.request.validated.min(tail.head()?).max(guard.after);
    tail.covers(from).then_some(from)
}

fn first_match(pending: &PendingAppend, tail: &LogTail) -> Option<SequenceNumber> {
    let from = covered_from(pending, tail)?;
    let (guard, lookup) = pending.request.guard()?;
    tail.first_match(&guard.filter, lookup, from)
}

/// What the attempts of a batch are about to append.
#[derive(Default)]
pub(super) struct BatchContents {
    ids: HashSet<Uuid>,
    events: EventIndex,
    count: u64,
    /// Whether an event is so large that any condition might match it.
    is_opaque: bool,
}

impl BatchContents {
    /// Makes room for the events of so many attempts.
    fn with_capacity(attempts: usize) -> Self {
        let ids = HashSet::with_capacity(attempts);
        Self { ids, events: EventIndex::with_capacity(attempts), ..Self::default() }
    }

    /// Returns whether they may decide what becomes of another attempt.
    fn decide(&self, pending: &PendingAppend) -> bool {
        let request = &pending.request;
        let is_matched = request.guard().is_some_and(|(guard, lookup)| {
            self.is_opaque || self.events.has_match(&guard.filter, lookup)
        });
        is_matched || request.events.iter().any(|event| self.ids.contains(&event.id()))
    }

    fn add(&mut self, pending: &PendingAppend) {
        let request = &pending.request;
        for (index, event) in request.events.iter().enumerate() {
            self.count += 1;
            self.ids.insert(event.id());
            let number = SequenceNumber::new(self.count);
            let terms = request.terms(index);
            self.is_opaque |= !self.events.add(number, &request.events, index, terms);
        }
    }
}
