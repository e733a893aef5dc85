use std::sync::Arc;

use super::AppendCall;
use crate::sql::BoundCheck;
use crate::store::deadline::AttemptDeadline;
use crate::store::failure::outcome_unknown;
use crate::store::searcher::{SearchRequest, SearchTarget};
use crate::telemetry::OperationPhase;
use crate::{Appended, Bookmark, Error, SequenceNumber};

/// The next step of an attempt to append.
pub(super) enum AttemptStep {
    /// Send the append. A search has validated its condition up to this position, if it is not
    /// `None`.
    Append { validated: Option<Bookmark> },
    /// Return: the events are stored.
    Return(Appended),
    /// Search outside of the log's lock.
    Search(SearchRequest),
}

impl AppendCall<'_> {
    /// Returns the first step of an attempt.
    pub(super) fn first_step(&self, has_unknown_attempt: bool) -> AttemptStep {
        let log = &self.store.shared.log;
        if has_unknown_attempt {
            return self.search_for_conflict();
        }
        if self.condition.filter_position().is_some_and(|condition| log.is_old(condition)) {
            // A search for the events themselves follows only if the condition does not hold.
            let (events, target) = (Arc::new([]), self.conflict());
            return AttemptStep::Search(SearchRequest { events, target });
        }
        AttemptStep::Append { validated: None }
    }

    /// Searches for the append's events, and for the first event that breaks the condition.
    pub(super) fn search_for_conflict(&self) -> AttemptStep {
        self.search_for(self.conflict())
    }

    /// Searches for the append's events, and for the event at a position, which broke the
    /// condition.
    pub(super) fn search_for_event_at(&self, position: SequenceNumber) -> AttemptStep {
        self.search_for(Some(SearchTarget::EventAt(position)))
    }

    fn search_for(&self, target: Option<SearchTarget>) -> AttemptStep {
        AttemptStep::Search(SearchRequest { events: self.events.clone(), target })
    }

    fn conflict(&self) -> Option<SearchTarget> {
        self.condition.filter_position().cloned().map(SearchTarget::Conflict)
    }

    /// Searches, and derives the next step from what is found. A conflict is an error.
    pub(super) async fn search(
        &self,
        request: SearchRequest,
        deadline: AttemptDeadline,
    ) -> Result<AttemptStep, Error> {
        let (shared, operation) = (&self.store.shared, &self.operation);
        operation.enter(OperationPhase::Execute);
        let is_lookup = matches!(request.target, Some(SearchTarget::EventAt(_)));
        let mut found = shared.searcher().find(request.clone(), operation, deadline).await?;
        // An append under way may have begun the epoch. A standby may show it before the primary.
        if !found.holds_event && matches!(found.check, BoundCheck::Lost { ended: None, .. }) {
            shared.writer().wait_for_appends(&shared.log, operation, deadline).await?;
            found = shared.searcher().find(request, operation, deadline).await?;
        }
        shared.log.note_newest(found.head);
        if found.holds_event {
            // The log's owner may have deleted the event since the search.
            let stored = self.find_stored(deadline).await?;
            return Ok(self.return_or_search(stored));
        }
        if let BoundCheck::Lost { position, ended } = found.check {
            let stored = self.find_stored(deadline).await?.map(AttemptStep::Return);
            return stored.ok_or_else(|| self.store.first_server().position_lost(position, ended));
        }
        if let Some((event, event_type)) = found.event {
            // Unless it is certainly none of the append's own events, search for both in one
            // snapshot.
            if !found.covers_own_events {
                return Ok(self.search_for_event_at(event));
            }
            let after =
                self.condition.filter_position().map(|condition| condition.after.position());
            let after = after.unwrap_or_default();
            return Err(Error::Conflict { after, position: event, event_type });
        }
        // The event that broke the condition is no longer there.
        if is_lookup {
            return Ok(self.search_for_conflict());
        }
        match found.check {
            // Whether the position is lost is certain only under the log's lock: a standby shows an
            // event before the primary does, if the commit waits for it. And the append may begin
            // an epoch first.
            BoundCheck::Behind if self.has_epoch() => Ok(AttemptStep::Append { validated: None }),
            BoundCheck::Behind => self.check_position(found.head.position(), deadline).await,
            // Lemma 5: no event at or below this head will ever break the condition.
            _ => Ok(AttemptStep::Append { validated: Some(found.head) }),
        }
    }

    /// Returns the next step of an append whose validated position lies above the log's head.
    ///
    /// If the condition's own position does as well, that is an error, unless the events are stored
    /// already. If it has an epoch, the head was read under the log's lock: no run of a server will
    /// append to that epoch any more up to the position, so its event is lost.
    pub(super) async fn check_position(
        &self,
        head: SequenceNumber,
        deadline: AttemptDeadline,
    ) -> Result<AttemptStep, Error> {
        if let Some(condition) = self.condition.filter_position()
            && condition.after.position() > head
            && self.find_stored(deadline).await?.is_none()
        {
            let position = condition.after.position();
            return Err(match self.has_epoch() {
                true => self.store.first_server().position_lost(position, Some(head)),
                false => Error::PositionAhead { position, head },
            });
        }
        Ok(self.search_for_conflict())
    }

    /// Returns whether the condition's position has an epoch.
    fn has_epoch(&self) -> bool {
        let condition = self.condition.filter_position();
        condition.is_some_and(|condition| condition.after.epoch().is_some())
    }

    /// Returns the next step of an append that was not appended now, although an earlier request of
    /// this attempt may have stored its events.
    pub(super) async fn find_own_events(
        &self,
        deadline: AttemptDeadline,
    ) -> Result<AttemptStep, Error> {
        Ok(self.return_or_search(self.find_possibly_stored(None, deadline).await?))
    }

    /// Returns the positions of the events if the attempt that failed with this error has stored
    /// them, or else the error.
    pub(super) async fn stored_or(
        &self,
        error: Error,
        deadline: AttemptDeadline,
    ) -> Result<Appended, Error> {
        self.find_possibly_stored(Some(&error), deadline).await?.ok_or(error)
    }

    /// Returns the positions of events that this attempt may have stored, if the log holds them. If
    /// that cannot be found out, the outcome is unknown because of `cause`, or else of the error of
    /// the search.
    async fn find_possibly_stored(
        &self,
        cause: Option<&Error>,
        deadline: AttemptDeadline,
    ) -> Result<Option<Appended>, Error> {
        match self.find_stored(deadline).await {
            Ok(stored) => Ok(stored.map(Appended::as_first)),
            Err(duplicate @ Error::DuplicateEvent { .. }) => Err(duplicate),
            Err(error) => {
                let cause = cause.cloned().unwrap_or(error);
                Err(outcome_unknown(&self.store.first_server(), &self.events, cause))
            }
        }
    }

    fn return_or_search(&self, stored: Option<Appended>) -> AttemptStep {
        match stored {
            Some(appended) => AttemptStep::Return(appended),
            None => self.search_for_conflict(),
        }
    }

    /// Returns the positions of the events if the log holds all of them, and `None` if it holds
    /// none of them. Anything else is an error: the ids belong to other events.
    async fn find_stored(&self, deadline: AttemptDeadline) -> Result<Option<Appended>, Error> {
        let (shared, operation) = (&self.store.shared, &self.operation);
        operation.enter(OperationPhase::Execute);
        let held = shared.searcher().held_events(&self.events, operation, deadline).await?;
        let is_partial = held.len() < self.events.len();
        let other_contents = held.iter().find(|one| !one.is_same);
        let duplicate = other_contents.or_else(|| held.first().filter(|_| is_partial));
        if let Some(duplicate) = duplicate {
            let event_id = self.events[duplicate.index].id();
            let position = duplicate.position.position();
            return Err(Error::DuplicateEvent { event_id, position });
        }
        let positions = || held.iter().map(|one| one.position.position());
        let stored = positions().min().zip(positions().max());
        let epoch = held.first().map(|one| one.position).unwrap_or_default();
        if let Some((_, last)) = stored {
            shared.log.note_newest(epoch.at(last));
        }
        Ok(stored.map(|(first, last)| Appended::repeat(first, epoch.at(last))))
    }
}
