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
    /// Its number among the batches of the store.
    pub(super) number: i64,
    pub(super) validation: Validation,
    /// What the attempts are about to append.
    pub(super) contents: BatchContents,
}

/// Where the conditions of a batch are validated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Validation {
    /// In this process, against the log's tail up to this head. Lemma 3.
    Local { head: SequenceNumber },
    /// In this process, against the same, as if the batch of this number in front of it were appended.
    /// Lemma 4.
    Pipelined { head: SequenceNumber, front: i64 },
    /// By the server, under the log's lock.
    Server,
}

impl Batch {
    /// Returns whether an attempt has a condition.
    pub(super) fn is_conditional(&self) -> bool {
        self.attempts.iter().any(|one| one.request.guard().is_some())
    }

    /// Returns whether the server validates the conditions.
    pub(super) fn is_probed(&self) -> bool {
        self.validation == Validation::Server && self.is_conditional()
    }

    /// Returns the conditions as the server validates them; none if this process has done so.
    pub(super) fn probe(&self) -> ConflictProbe<'_> {
        let mut probe = ConflictProbe::default();
        if self.validation == Validation::Server {
            for PendingAppend { request, .. } in &self.attempts {
                let guard = request.condition.guard();
                probe.add(request.events.len(), guard, request.validated, request.refusals);
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
            Validation::Pipelined { head, front } => {
                Precondition::HeadOrPredecessor { head, predecessor: front }
            }
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
        !known.is_contended && attempts.iter().all(|one| !is_conditional(one) || is_covered(one));
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
    let validation = tail.head().map(|head| Validation::Pipelined { head, front: front.number });
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::log_tail::terms_of;
    use super::*;
    use crate::{AppendCondition, Event, Filter};

    fn lent(book: &str) -> Event {
        Event::new("BookCopyLentToReader", &serde_json::json!({ "BookID": book })).unwrap()
    }

    fn since(book: &str, after: u64) -> AppendCondition {
        let loans = Filter::any_of([("BookID", book)]).build().unwrap();
        AppendCondition::no_match_after(loans, SequenceNumber::new(after))
    }

    fn attempt(book: &str, condition: AppendCondition) -> PendingAppend {
        PendingAppend::of([lent(book)], condition)
    }

    /// Returns an attempt whose condition a search has brought up to date.
    fn searched(book: &str, condition: AppendCondition, head: u64) -> PendingAppend {
        let mut pending = attempt(book, condition);
        pending.request.validated = SequenceNumber::new(head);
        pending
    }

    /// Makes a tail from 6 to 9 in which the loan of book 7 is at 8.
    fn tail() -> LogTail {
        let mut tail = LogTail::default();
        tail.restart(SequenceNumber::new(6));
        for (number, book) in [(7, "6"), (8, "7"), (9, "8")] {
            let events: Arc<[Event]> = [lent(book)].into();
            let terms = terms_of(&events[0]);
            tail.add(SequenceNumber::new(number), &events, 0, terms.as_deref());
        }
        tail
    }

    fn known(tail: &LogTail, is_contended: bool) -> Knowledge<'_> {
        Knowledge { tail, is_contended, newest: SequenceNumber::new(20) }
    }

    /// Names the attempts of each part of a plan by the book that they append.
    fn books(plan: &Plan) -> [Vec<String>; 3] {
        let book = |one: &PendingAppend| {
            one.request.events[0].payload_json().split('"').nth(3).unwrap().to_owned()
        };
        let refused = plan.refused.iter().map(|(pending, _)| book(pending)).collect();
        let of = |attempts: &[PendingAppend]| attempts.iter().map(book).collect();
        [of(&plan.attempts), of(&plan.deferred), refused]
    }

    #[test]
    fn validates_here_what_the_tail_covers() {
        let attempts = vec![
            attempt("1", AppendCondition::none()),
            attempt("2", since("2", 6)),
            attempt("3", since("7", 8)),
            // The tail has the event that breaks it.
            attempt("4", since("7", 7)),
        ];

        let (plan, validation) = super::plan(attempts, known(&tail(), false));

        assert_eq!(validation, Validation::Local { head: SequenceNumber::new(9) });
        assert_eq!(books(&plan), [vec!["1", "2", "3"], vec![], vec!["4"]]);
        let outcome = AppendOutcome::Broken { event: SequenceNumber::new(8) };
        assert_eq!(plan.refused[0].1, outcome);
    }

    #[test]
    fn leaves_to_the_server_what_the_tail_does_not_cover() {
        for (position, is_local) in [(5, false), (6, true), (9, true), (10, false)] {
            let attempts =
                vec![attempt("1", AppendCondition::none()), attempt("2", since("2", position))];

            let (plan, validation) = super::plan(attempts, known(&tail(), false));

            assert_eq!(validation != Validation::Server, is_local, "{position}");
            assert_eq!(books(&plan)[0], ["1", "2"]);
        }
        let attempts = vec![attempt("2", since("2", 9))];
        assert_eq!(plan(attempts, known(&tail(), true)).1, Validation::Server);
    }

    #[test]
    fn takes_a_condition_up_from_where_a_search_has_brought_it() {
        // Beyond the tail's head, the search has only seen more than is needed.
        for head in [6, 9, 12] {
            let attempts = vec![searched("2", since("2", 1), head)];

            let (plan, validation) = super::plan(attempts, known(&tail(), false));

            assert_ne!(validation, Validation::Server, "{head}");
            assert_eq!(books(&plan)[0], ["2"]);
        }
        let (plan, _) = super::plan(vec![searched("3", since("7", 1), 7)], known(&tail(), false));
        assert_eq!(books(&plan)[2], ["3"]);
    }

    #[test]
    fn defers_what_depends_on_an_attempt_before_it_and_on_no_other() {
        let twice = lent("5");
        let attempts = vec![
            attempt("1", since("1", 8)),
            attempt("2", since("1", 8)),
            // Its filter matches an attempt that is deferred, and one that comes later.
            attempt("3", since("2", 8)),
            attempt("4", since("6", 9)),
            attempt("6", AppendCondition::none()),
            PendingAppend::of([twice.clone()], AppendCondition::none()),
            PendingAppend::of([twice], AppendCondition::none()),
        ];

        let (plan, _) = super::plan(attempts, known(&tail(), false));

        assert_eq!(books(&plan), [vec!["1", "3", "4", "6", "5"], vec!["2", "5"], vec![]]);
    }

    #[test]
    fn takes_an_attempt_of_an_unseen_position_alone() {
        let attempts = || {
            vec![
                attempt("1", since("1", 21)),
                attempt("2", since("2", 9)),
                attempt("3", since("3", 22)),
            ]
        };
        let (first, _) = plan(attempts(), known(&tail(), false));
        let (second, _) = plan(attempts().split_off(1), known(&tail(), false));

        assert_eq!(books(&first), [vec!["1"], vec!["2", "3"], vec![]]);
        assert_eq!(books(&second), [vec!["2"], vec!["3"], vec![]]);
    }

    /// Lemma 4: behind a batch in flight goes only what this process validates as if that batch were
    /// appended.
    #[test]
    fn sends_behind_a_batch_what_depends_neither_on_it_nor_on_the_server() {
        let tail = tail();
        let head = SequenceNumber::new(9);
        let front = |condition, validation| {
            let (plan, _) = plan(vec![attempt("9", condition)], known(&tail, false));
            Batch { attempts: plan.attempts, number: 7, validation, contents: plan.contents }
        };
        let tied = front(since("9", 8), Validation::Local { head });
        let twice = tied.attempts[0].request.events[0].clone();
        let attempts = || {
            vec![
                attempt("1", AppendCondition::none()),
                attempt("2", since("2", 8)),
                attempt("3", since("9", 8)),
                PendingAppend::of([twice.clone()], AppendCondition::none()),
                attempt("4", since("5", 5)),
                attempt("5", since("2", 8)),
            ]
        };

        let (behind, validation) = plan_behind(&tied, attempts(), &tail);

        assert_eq!(validation, Some(Validation::Pipelined { head, front: 7 }));
        assert_eq!(books(&behind), [vec!["1", "2"], vec!["3", "9", "4", "5"], vec![]]);
        for untied in [
            front(AppendCondition::none(), Validation::Local { head }),
            front(since("9", 8), Validation::Server),
        ] {
            let (behind, _) = plan_behind(&untied, attempts(), &tail);
            assert_eq!(books(&behind)[0], ["1", "9"]);
        }
    }
}
