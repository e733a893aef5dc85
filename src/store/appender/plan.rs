use super::batch_contents::BatchContents;
use super::log_tail::LogTail;
use super::queue::PendingAppend;
use crate::sql::{ConflictProbe, Precondition};
use crate::store::deadline::AttemptDeadline;
use crate::store::outcome::AppendOutcome;
use crate::{Bookmark, SequenceNumber};

/// Requests that share one transaction. None of them depends on another one.
pub(super) struct Batch {
    pub(super) requests: Vec<PendingAppend>,
    /// The number of the batch among those of the store.
    pub(super) number: i64,
    pub(super) validation: Validation,
    /// The ids and the events of the requests.
    pub(super) contents: BatchContents,
}

/// The way in which the conditions of a batch are validated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Validation {
    /// In this process, against the log's tail up to this head. Lemma 3.
    Local { head: Bookmark },
    /// In this process, against the tail and against the batch with this number, the predecessor.
    /// Lemma 4.
    Pipelined { head: Bookmark, predecessor: i64 },
    /// By the append procedure, under the log's lock. Lemma 2.
    Server,
}

impl Batch {
    /// Returns the latest deadline of the requests.
    pub(super) fn deadline(&self) -> AttemptDeadline {
        AttemptDeadline::join(self.requests.iter().map(|one| one.deadline))
    }

    /// Returns whether a request has a condition.
    pub(super) fn is_conditional(&self) -> bool {
        self.requests.iter().any(|one| one.request.condition().is_some())
    }

    /// Returns whether the server validates conditions of the batch, for which the call of the
    /// procedure has a [`ConflictProbe`].
    pub(super) fn is_probed(&self) -> bool {
        self.validation == Validation::Server && self.is_conditional()
    }

    /// Returns the conditions for the server to validate. There are none if this process has done
    /// so.
    pub(super) fn probe(&self) -> ConflictProbe<'_> {
        let mut probe = ConflictProbe::default();
        if self.validation == Validation::Server {
            for PendingAppend { request, .. } in &self.requests {
                let condition = request.condition.filter_position();
                let (events, count) = (request.events.len(), request.too_old_count);
                probe.add(events, condition, request.validated, count);
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

/// The requests that were taken from the queue, by what happens to them.
#[derive(Default)]
pub(super) struct Plan {
    /// The requests of the batch. If its precondition is about the head, the server appends all of
    /// them or none. If it validates conditions, it leaves out the requests with a conflict.
    pub(super) requests: Vec<PendingAppend>,
    pub(super) contents: BatchContents,
    /// The requests that wait for a later batch: they depend on the outcome of another request;
    /// they, or the only request of this batch, have a validated position that this store has not
    /// seen; or, if the batch is pipelined, they cannot be validated in the process or need a lock
    /// timeout of their own.
    pub(super) deferred: Vec<PendingAppend>,
    /// The requests whose conditions are broken by an event of the tail. They are not sent.
    pub(super) conflicting: Vec<(PendingAppend, AppendOutcome)>,
    /// Whether the batch has a single request because its validated position was not seen yet.
    has_unseen_position: bool,
}

/// What is known of the log when a batch is planned.
#[derive(Clone, Copy)]
pub(super) struct Knowledge<'a> {
    pub(super) tail: &'a LogTail,
    /// Whether the log's head has probably moved beyond the tail: something other than this
    /// connection appends as well, or the next transaction may run in another backend.
    pub(super) is_contended: bool,
    /// The highest position that this store has seen in the newest epoch.
    pub(super) newest: Bookmark,
}

impl Knowledge<'_> {
    /// Returns whether this store has seen the position, or a higher one of its epoch.
    fn has_seen(&self, position: Bookmark) -> bool {
        position.epoch().is_none_or(|epoch| self.newest.epoch() == Some(epoch))
            && position.position() <= self.newest.position()
    }
}

/// Plans a batch. The first request is never deferred.
pub(super) fn plan(requests: Vec<PendingAppend>, known: Knowledge<'_>) -> (Plan, Validation) {
    // Requests that are deferred below count as well. That may choose the server without need,
    // which is slower, but as right.
    let validation = choose_validation(&requests, known);
    let mut plan = Plan::with_capacity(requests.len());
    for pending in requests {
        // The server appends nothing of a batch if the log has not reached one of its validated
        // positions, or if one is of another epoch. So a request whose validated position was not
        // seen makes a batch of its own.
        let request = &pending.request;
        let is_unseen = request.condition().is_some() && !known.has_seen(request.validated);
        let is_first = plan.requests.is_empty();
        let is_excluded = plan.has_unseen_position || is_unseen && !is_first;
        if is_excluded || plan.contents.may_affect(&pending) {
            plan.deferred.push(pending);
            continue;
        }
        plan.has_unseen_position = is_unseen;
        plan.add(pending, known.tail);
    }
    (plan, validation)
}

/// Returns how the conditions of a batch are validated: in this process if the tail covers all of
/// them, otherwise all of them by the server.
fn choose_validation(requests: &[PendingAppend], known: Knowledge<'_>) -> Validation {
    let is_covered = |one: &PendingAppend| covered_from(one, known.tail).is_some();
    let is_local = !known.is_contended
        && requests.iter().all(|one| one.request.condition().is_none() || is_covered(one));
    match known.tail.head() {
        Some(head) if is_local => Validation::Local { head },
        _ => Validation::Server,
    }
}

/// Plans a batch that is sent before its predecessor is answered, as if the predecessor were
/// appended (Lemma 4). Requests that this process cannot validate that way are deferred.
pub(super) fn plan_behind(
    predecessor: &Batch,
    requests: Vec<PendingAppend>,
    tail: &LogTail,
) -> (Plan, Option<Validation>) {
    let validation =
        tail.head().map(|head| Validation::Pipelined { head, predecessor: predecessor.number });
    // Lemma 4: only a predecessor that was validated in the process is certain to follow the tail's
    // head directly. Before any other predecessor, more events may be committed.
    let follows_tail = predecessor.is_conditional() && predecessor.validation != Validation::Server;
    let mut plan = Plan::with_capacity(requests.len());
    for pending in requests {
        let is_valid = pending.request.condition().is_none()
            || follows_tail && covered_from(&pending, tail).is_some();
        let may_depend =
            predecessor.contents.may_affect(&pending) || plan.contents.may_affect(&pending);
        match is_valid && !may_depend {
            true => plan.add(pending, tail),
            false => plan.deferred.push(pending),
        }
    }
    (plan, validation)
}

impl Plan {
    fn with_capacity(requests: usize) -> Self {
        Self { contents: BatchContents::with_capacity(requests), ..Self::default() }
    }

    /// Adds a request to the batch, or to those with a conflict if an event of the tail breaks its
    /// condition.
    fn add(&mut self, pending: PendingAppend, tail: &LogTail) {
        match first_match(&pending, tail) {
            Some(event) => {
                self.conflicting.push((pending, AppendOutcome::ConditionBroken { event }))
            }
            None => {
                self.contents.add(&pending);
                self.requests.push(pending);
            }
        }
    }
}

/// Returns a position above which the tail holds every event that may break a request's condition.
///
/// It may be any position from the condition's own to the validated one: no event in between breaks
/// the condition (Lemma 5). If a search has seen more of the log than the tail, the tail's head is
/// returned, since no event of the tail breaks the condition. The search may have seen events of
/// the predecessor, behind which the batch is pipelined. Otherwise something else has appended: the
/// precondition does not hold, and the batch is sent again after the tail has restarted.
///
/// A validated position of another epoch is left to the server and to a search (Lemma 8).
fn covered_from(pending: &PendingAppend, tail: &LogTail) -> Option<SequenceNumber> {
    let (condition, _) = pending.request.condition()?;
    let (validated, head) = (pending.request.validated, tail.head()?);
    let is_current = validated.epoch().is_none_or(|epoch| head.epoch() == Some(epoch));
    let from = validated.position().min(head.position()).max(condition.after.position());
    (is_current && tail.covers(from)).then_some(from)
}

fn first_match(pending: &PendingAppend, tail: &LogTail) -> Option<SequenceNumber> {
    let from = covered_from(pending, tail)?;
    let (condition, lookup) = pending.request.condition()?;
    tail.first_match(&condition.filter, lookup, from)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::super::log_tail::terms_of;
    use super::*;
    use crate::bookmark::Epoch;
    use crate::{AppendCondition, Event, Filter};

    /// The epoch of the tail.
    const EPOCH: u128 = 7;

    fn lent(book: &str) -> Event {
        Event::new("BookCopyLentToReader", &serde_json::json!({ "BookID": book })).unwrap()
    }

    fn at(position: u64, epoch: u128) -> Bookmark {
        Bookmark::new(SequenceNumber::new(position), Epoch::new(Uuid::from_u128(epoch)))
    }

    fn since(book: &str, after: u64) -> AppendCondition {
        let loans = Filter::any_of([("BookID", book)]).build().unwrap();
        AppendCondition::no_match_after(loans, SequenceNumber::new(after))
    }

    fn request(book: &str, condition: AppendCondition) -> PendingAppend {
        PendingAppend::of([lent(book)], condition)
    }

    /// Returns a request whose condition a search has validated up to `head`.
    fn searched(book: &str, condition: AppendCondition, head: u64) -> PendingAppend {
        let mut pending = request(book, condition);
        pending.request.validated = at(head, EPOCH);
        pending
    }

    /// Creates a tail from 6 to 9 in which the loan of book 7 is at 8.
    fn tail() -> LogTail {
        let mut tail = LogTail::default();
        tail.restart(at(6, EPOCH));
        for (number, book) in [(7, "6"), (8, "7"), (9, "8")] {
            let events: Arc<[Event]> = [lent(book)].into();
            let terms = terms_of(&events[0]);
            tail.add(SequenceNumber::new(number), &events, 0, terms.as_deref());
        }
        tail
    }

    fn known(tail: &LogTail, is_contended: bool) -> Knowledge<'_> {
        Knowledge { tail, is_contended, newest: at(20, EPOCH) }
    }

    /// Returns the requests of each part of a plan, by the book of their first event.
    fn books(plan: &Plan) -> [Vec<String>; 3] {
        let book = |one: &PendingAppend| {
            one.request.events[0].payload_json().split('"').nth(3).unwrap().to_owned()
        };
        let conflicting = plan.conflicting.iter().map(|(pending, _)| book(pending)).collect();
        let of = |requests: &[PendingAppend]| requests.iter().map(book).collect();
        [of(&plan.requests), of(&plan.deferred), conflicting]
    }

    #[test]
    fn conditions_that_the_tail_covers_are_validated_in_the_process() {
        let requests = vec![
            request("1", AppendCondition::none()),
            request("2", since("2", 6)),
            request("3", since("7", 8)),
            // The tail holds the event that breaks this condition.
            request("4", since("7", 7)),
        ];

        let (plan, validation) = super::plan(requests, known(&tail(), false));

        assert_eq!(validation, Validation::Local { head: at(9, EPOCH) });
        assert_eq!(books(&plan), [vec!["1", "2", "3"], vec![], vec!["4"]]);
        let outcome = AppendOutcome::ConditionBroken { event: SequenceNumber::new(8) };
        assert_eq!(plan.conflicting[0].1, outcome);
    }

    #[test]
    fn conditions_that_the_tail_does_not_cover_are_validated_by_the_server() {
        for (position, is_local) in [(5, false), (6, true), (9, true), (10, false)] {
            let requests =
                vec![request("1", AppendCondition::none()), request("2", since("2", position))];

            let (plan, validation) = super::plan(requests, known(&tail(), false));

            assert_eq!(validation != Validation::Server, is_local, "{position}");
            assert_eq!(books(&plan)[0], ["1", "2"]);
        }
        let requests = vec![request("2", since("2", 9))];
        assert_eq!(plan(requests, known(&tail(), true)).1, Validation::Server);
    }

    #[test]
    fn a_condition_is_validated_from_the_head_of_its_search_on() {
        // A search may have seen more than the tail.
        for head in [6, 9, 12] {
            let requests = vec![searched("2", since("2", 1), head)];

            let (plan, validation) = super::plan(requests, known(&tail(), false));

            assert_ne!(validation, Validation::Server, "{head}");
            assert_eq!(books(&plan)[0], ["2"]);
        }
        let (plan, _) = super::plan(vec![searched("3", since("7", 1), 7)], known(&tail(), false));
        assert_eq!(books(&plan)[2], ["3"]);
    }

    /// Lemma 8: the process knows the events of the tail's epoch only.
    #[test]
    fn a_position_of_another_epoch_is_validated_by_the_server_in_a_batch_of_its_own() {
        let requests = || {
            let mut old = request("2", since("2", 8));
            old.request.validated = at(8, EPOCH + 1);
            vec![request("1", since("1", 8)), old, searched("3", since("3", 8), 8)]
        };

        let (first, validation) = plan(requests(), known(&tail(), false));
        let (second, _) = plan(requests().split_off(1), known(&tail(), false));

        assert_eq!(validation, Validation::Server);
        assert_eq!(books(&first), [vec!["1", "3"], vec!["2"], vec![]]);
        assert_eq!(books(&second), [vec!["2"], vec!["3"], vec![]]);
    }

    #[test]
    fn a_request_is_deferred_only_if_it_depends_on_an_earlier_one() {
        let twice = lent("5");
        let requests = vec![
            request("1", since("1", 8)),
            request("2", since("1", 8)),
            // Its filter matches an event of a deferred request and of a later request.
            request("3", since("2", 8)),
            request("4", since("6", 9)),
            request("6", AppendCondition::none()),
            PendingAppend::of([twice.clone()], AppendCondition::none()),
            PendingAppend::of([twice], AppendCondition::none()),
        ];

        let (plan, _) = super::plan(requests, known(&tail(), false));

        assert_eq!(books(&plan), [vec!["1", "3", "4", "6", "5"], vec!["2", "5"], vec![]]);
    }

    #[test]
    fn a_request_with_an_unseen_position_has_a_batch_of_its_own() {
        let requests = || {
            vec![
                request("1", since("1", 21)),
                request("2", since("2", 9)),
                request("3", since("3", 22)),
            ]
        };
        let (first, _) = plan(requests(), known(&tail(), false));
        let (second, _) = plan(requests().split_off(1), known(&tail(), false));

        assert_eq!(books(&first), [vec!["1"], vec!["2", "3"], vec![]]);
        assert_eq!(books(&second), [vec!["2"], vec!["3"], vec![]]);
    }

    /// Lemma 4: only requests that this process can validate as if the predecessor were appended
    /// are pipelined.
    #[test]
    fn requests_that_depend_on_the_predecessor_or_the_server_are_not_pipelined() {
        let tail = tail();
        let head = at(9, EPOCH);
        let predecessor = |condition, validation| {
            let (plan, _) = plan(vec![request("9", condition)], known(&tail, false));
            Batch { requests: plan.requests, number: 7, validation, contents: plan.contents }
        };
        let conditional = predecessor(since("9", 8), Validation::Local { head });
        let twice = conditional.requests[0].request.events[0].clone();
        let requests = || {
            vec![
                request("1", AppendCondition::none()),
                request("2", since("2", 8)),
                request("3", since("9", 8)),
                PendingAppend::of([twice.clone()], AppendCondition::none()),
                request("4", since("5", 5)),
                request("5", since("2", 8)),
            ]
        };

        let (behind, validation) = plan_behind(&conditional, requests(), &tail);

        assert_eq!(validation, Some(Validation::Pipelined { head, predecessor: 7 }));
        assert_eq!(books(&behind), [vec!["1", "2"], vec!["3", "9", "4", "5"], vec![]]);
        for loose in [
            predecessor(AppendCondition::none(), Validation::Local { head }),
            predecessor(since("9", 8), Validation::Server),
        ] {
            let (behind, _) = plan_behind(&loose, requests(), &tail);
            assert_eq!(books(&behind)[0], ["1", "9"]);
        }
    }
}
