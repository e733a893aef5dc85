use super::batch_contents::BatchContents;
use super::log_tail::LogTail;
use super::queue::PendingAppend;
use crate::SequenceNumber;
use crate::sql::{ConflictProbe, Precondition};
use crate::store::deadline::AttemptDeadline;
use crate::store::outcome::AppendOutcome;

/// Attempts that share one transaction. None of them depends on another one.
pub(super) struct Batch {
    pub(super) attempts: Vec<PendingAppend>,
    /// The number of the batch among those of the store.
    pub(super) number: i64,
    pub(super) validation: Validation,
    /// The ids and the events of the attempts.
    pub(super) contents: BatchContents,
}

/// The way in which the conditions of a batch are validated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Validation {
    /// In this process, against the log's tail up to this head. Lemma 3.
    Local { head: SequenceNumber },
    /// In this process, against the tail and against the batch with this number, the predecessor.
    /// Lemma 4.
    Pipelined { head: SequenceNumber, predecessor: i64 },
    /// By the append procedure, under the log's lock. Lemma 2.
    Server,
}

impl Batch {
    /// Returns the deadline of the last attempt.
    pub(super) fn deadline(&self) -> AttemptDeadline {
        AttemptDeadline::join(self.attempts.iter().map(|one| one.deadline))
    }

    /// Returns whether an attempt has a condition.
    pub(super) fn is_conditional(&self) -> bool {
        self.attempts.iter().any(|one| one.request.guard().is_some())
    }

    /// Returns whether the server validates the conditions.
    pub(super) fn is_probed(&self) -> bool {
        self.validation == Validation::Server && self.is_conditional()
    }

    /// Returns the conditions for the server to validate. There are none if this process has done
    /// so.
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

    /// Returns the precondition that the procedure checks under the log's lock.
    pub(super) fn precondition<'a>(&self, probe: &'a ConflictProbe<'a>) -> Precondition<'a> {
        if !self.is_conditional() {
            return Precondition::None;
        }
        match self.validation {
            // Lemma 3.
            Validation::Local { head } => Precondition::Head(head),
            // Lemma 4.
            Validation::Pipelined { head, predecessor } => {
                Precondition::HeadOrPredecessor { head, predecessor }
            }
            // Lemma 2.
            Validation::Server => Precondition::NoMatch(probe),
        }
    }
}

/// The attempts that were taken from the queue, by what happens to them.
#[derive(Default)]
pub(super) struct Plan {
    /// The attempts of the batch. They are appended if its precondition holds.
    pub(super) attempts: Vec<PendingAppend>,
    pub(super) contents: BatchContents,
    /// The attempts that wait for the next batch, because they depend on the outcome of another
    /// one.
    pub(super) deferred: Vec<PendingAppend>,
    /// The attempts whose conditions are broken already. They are not sent.
    pub(super) refused: Vec<(PendingAppend, AppendOutcome)>,
    /// Whether the batch has a single attempt because this process has not seen its position.
    has_unseen_position: bool,
}

/// The part of the log that this process knows when it plans a batch.
#[derive(Clone, Copy)]
pub(super) struct Knowledge<'a> {
    pub(super) tail: &'a LogTail,
    /// Whether the log's head has probably moved beyond the tail: other processes append as well,
    /// or the next transaction may go to another server.
    pub(super) is_contended: bool,
    /// The highest position that this process has seen.
    pub(super) newest: SequenceNumber,
}

/// Plans a batch. The first attempt is never deferred.
pub(super) fn plan(attempts: Vec<PendingAppend>, known: Knowledge<'_>) -> (Plan, Validation) {
    let validation = choose_validation(&attempts, known);
    let mut plan = Plan::with_capacity(attempts.len());
    for pending in attempts {
        // The server refuses a whole batch if the log has not reached one of its positions. So an
        // attempt whose position this process has not seen makes a batch of its own.
        let request = &pending.request;
        let is_unseen = request.guard().is_some() && request.validated > known.newest;
        let is_first = plan.attempts.is_empty();
        let is_excluded = plan.has_unseen_position || is_unseen && !is_first;
        if is_excluded || plan.contents.may_decide(&pending) {
            plan.deferred.push(pending);
            continue;
        }
        plan.has_unseen_position = is_unseen;
        plan.add(pending, known.tail);
    }
    (plan, validation)
}

/// Returns how the conditions of a batch are validated: in this process only if the tail covers all
/// of their positions.
fn choose_validation(attempts: &[PendingAppend], known: Knowledge<'_>) -> Validation {
    let is_covered = |one: &PendingAppend| covered_from(one, known.tail).is_some();
    let is_local = !known.is_contended
        && attempts.iter().all(|one| one.request.guard().is_none() || is_covered(one));
    match known.tail.head() {
        Some(head) if is_local => Validation::Local { head },
        _ => Validation::Server,
    }
}

/// Plans a batch that is sent before its predecessor is answered, as if the predecessor were
/// appended (Lemma 4). Attempts that this process cannot validate that way are deferred.
pub(super) fn plan_behind(
    predecessor: &Batch,
    attempts: Vec<PendingAppend>,
    tail: &LogTail,
) -> (Plan, Option<Validation>) {
    let validation =
        tail.head().map(|head| Validation::Pipelined { head, predecessor: predecessor.number });
    // Lemma 4: a predecessor without conditions may follow any event, so that others may be
    // committed between the tail's head and the predecessor.
    let is_tied = predecessor.is_conditional() && predecessor.validation != Validation::Server;
    let mut plan = Plan::with_capacity(attempts.len());
    for pending in attempts {
        let is_valid =
            pending.request.guard().is_none() || is_tied && covered_from(&pending, tail).is_some();
        let may_depend =
            predecessor.contents.may_decide(&pending) || plan.contents.may_decide(&pending);
        match is_valid && !may_depend {
            true => plan.add(pending, tail),
            false => plan.deferred.push(pending),
        }
    }
    (plan, validation)
}

impl Plan {
    fn with_capacity(attempts: usize) -> Self {
        Self { contents: BatchContents::with_capacity(attempts), ..Self::default() }
    }

    /// Adds an attempt to the batch, or refuses it if an event of the tail breaks its condition.
    fn add(&mut self, pending: PendingAppend, tail: &LogTail) {
        match first_match(&pending, tail) {
            Some(event) => self.refused.push((pending, AppendOutcome::ConditionBroken { event })),
            None => {
                self.contents.add(&pending);
                self.attempts.push(pending);
            }
        }
    }
}

/// Returns a position above which the tail holds every event that may break an attempt's condition.
///
/// It may be any position from the condition's own to the one up to which the condition is
/// validated: no event in between breaks the condition (Lemma 5).
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

    /// Returns an attempt whose condition a search has validated up to `head`.
    fn searched(book: &str, condition: AppendCondition, head: u64) -> PendingAppend {
        let mut pending = attempt(book, condition);
        pending.request.validated = SequenceNumber::new(head);
        pending
    }

    /// Creates a tail from 6 to 9 in which the loan of book 7 is at 8.
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

    /// Returns the attempts of each part of a plan, by the book of their first event.
    fn books(plan: &Plan) -> [Vec<String>; 3] {
        let book = |one: &PendingAppend| {
            one.request.events[0].payload_json().split('"').nth(3).unwrap().to_owned()
        };
        let refused = plan.refused.iter().map(|(pending, _)| book(pending)).collect();
        let of = |attempts: &[PendingAppend]| attempts.iter().map(book).collect();
        [of(&plan.attempts), of(&plan.deferred), refused]
    }

    #[test]
    fn conditions_that_the_tail_covers_are_validated_in_the_process() {
        let attempts = vec![
            attempt("1", AppendCondition::none()),
            attempt("2", since("2", 6)),
            attempt("3", since("7", 8)),
            // The tail holds the event that breaks this condition.
            attempt("4", since("7", 7)),
        ];

        let (plan, validation) = super::plan(attempts, known(&tail(), false));

        assert_eq!(validation, Validation::Local { head: SequenceNumber::new(9) });
        assert_eq!(books(&plan), [vec!["1", "2", "3"], vec![], vec!["4"]]);
        let outcome = AppendOutcome::ConditionBroken { event: SequenceNumber::new(8) };
        assert_eq!(plan.refused[0].1, outcome);
    }

    #[test]
    fn conditions_that_the_tail_does_not_cover_are_validated_by_the_server() {
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
    fn a_condition_is_validated_from_the_head_of_its_search_on() {
        // A search may have seen more than the tail.
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
    fn an_attempt_is_deferred_only_if_it_depends_on_an_earlier_one() {
        let twice = lent("5");
        let attempts = vec![
            attempt("1", since("1", 8)),
            attempt("2", since("1", 8)),
            // Its filter matches an event of a deferred attempt and of a later attempt.
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
    fn an_attempt_with_an_unseen_position_has_a_batch_of_its_own() {
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

    /// Lemma 4: only attempts that this process can validate as if the predecessor were appended
    /// are pipelined.
    #[test]
    fn attempts_that_depend_on_the_predecessor_or_the_server_are_not_pipelined() {
        let tail = tail();
        let head = SequenceNumber::new(9);
        let predecessor = |condition, validation| {
            let (plan, _) = plan(vec![attempt("9", condition)], known(&tail, false));
            Batch { attempts: plan.attempts, number: 7, validation, contents: plan.contents }
        };
        let tied = predecessor(since("9", 8), Validation::Local { head });
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

        assert_eq!(validation, Some(Validation::Pipelined { head, predecessor: 7 }));
        assert_eq!(books(&behind), [vec!["1", "2"], vec!["3", "9", "4", "5"], vec![]]);
        for untied in [
            predecessor(AppendCondition::none(), Validation::Local { head }),
            predecessor(since("9", 8), Validation::Server),
        ] {
            let (behind, _) = plan_behind(&untied, attempts(), &tail);
            assert_eq!(books(&behind)[0], ["1", "9"]);
        }
    }
}
