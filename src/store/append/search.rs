use std::sync::Arc;

use super::AppendCall;
use crate::store::deadline::AttemptDeadline;
use crate::store::failure::outcome_unknown;
use crate::store::searcher::SearchRequest;
use crate::{Appended, Error, SequenceNumber};

/// The next step of an attempt to append.
pub(super) enum AttemptStep {
    /// Send the append. Its condition is known to hold up to this position.
    Append(SequenceNumber),
    /// Return: the events are stored.
    Return(Appended),
    /// Search outside of the log's lock.
    Search(SearchRequest),
}

impl AppendCall<'_> {
    /// Returns the first step of an attempt.
    pub(super) fn first_step(&self, may_be_stored: bool) -> AttemptStep {
        let log = &self.store.shared.log;
        if may_be_stored {
            return AttemptStep::Search(self.search_request(None));
        }
        if self.condition.guard().is_some_and(|guard| log.is_old(guard)) {
            // The events themselves are searched for only if the condition does not hold.
            let request = SearchRequest { events: Arc::new([]), ..self.search_request(None) };
            return AttemptStep::Search(request);
        }
        AttemptStep::Append(SequenceNumber::ZERO)
    }

    /// Returns a request for the append's events, and for the event at a position or, without one,
    /// for the first event that breaks the condition.
    pub(super) fn search_request(&self, at: Option<SequenceNumber>) -> SearchRequest {
        let guard = self.condition.guard().filter(|_| at.is_none()).cloned();
        SearchRequest { events: self.events.clone(), at, guard }
    }

    /// Searches, and derives the next step from what is found. A conflict is an error.
    pub(super) async fn search(
        &self,
        request: SearchRequest,
        deadline: AttemptDeadline,
    ) -> Result<AttemptStep, Error> {
        let shared = &self.store.shared;
        let (at, covers_ids) = (request.at, !request.events.is_empty());
        let found = shared.searcher().find(request, deadline).await?;
        shared.log.note_newest(found.head);
        if found.holds_event {
            // The log's owner may have deleted the event since the search.
            let stored = self.find_stored(deadline).await?;
            return Ok(self.return_or_search(stored));
        }
        if let Some((event, event_type)) = found.event {
            // The event may be one of the append's own, unless the same snapshot has shown that the
            // log holds none of them.
            if !covers_ids || found.needs_own_search {
                return Ok(AttemptStep::Search(self.search_request(Some(event))));
            }
            let after = self.condition.guard().map(|guard| guard.after).unwrap_or_default();
            return Err(Error::Conflict { after, position: event, event_type });
        }
        Ok(match at {
            // The event that broke the condition is no longer there.
            Some(_) => AttemptStep::Search(self.search_request(None)),
            // Lemma 5: no event at or below this head will ever break the condition.
            None => AttemptStep::Append(found.head),
        })
    }

    /// Returns the next step of an append that the server refused because the log's head lies below
    /// the position up to which the condition is validated.
    ///
    /// If the head lies below the condition's own position, that is an error, unless the events are
    /// stored already.
    pub(super) async fn check_position(
        &self,
        head: SequenceNumber,
        deadline: AttemptDeadline,
    ) -> Result<AttemptStep, Error> {
        match self.condition.guard().filter(|guard| guard.after > head) {
            Some(guard) if self.find_stored(deadline).await?.is_none() => {
                Err(Error::PositionAhead { position: guard.after, head })
            }
            _ => Ok(AttemptStep::Search(self.search_request(None))),
        }
    }

    /// Returns the next step of an append whose ids the log holds, perhaps because this attempt was
    /// canceled after its commit and then sent again.
    pub(super) async fn find_own_events(
        &self,
        deadline: AttemptDeadline,
    ) -> Result<AttemptStep, Error> {
        let stored = self.find_stored(deadline).await?;
        Ok(self.return_or_search(stored.map(Appended::as_first)))
    }

    /// Returns the positions of the events if the attempt that failed with this error has stored
    /// them, or else the error.
    pub(super) async fn stored_or(
        &self,
        error: Error,
        deadline: AttemptDeadline,
    ) -> Result<Appended, Error> {
        match self.find_stored(deadline).await {
            Ok(Some(appended)) => Ok(appended.as_first()),
            Ok(None) => Err(error),
            Err(_) => Err(outcome_unknown(self.store.first().server(), &self.events, error)),
        }
    }

    fn return_or_search(&self, stored: Option<Appended>) -> AttemptStep {
        match stored {
            Some(appended) => AttemptStep::Return(appended),
            None => AttemptStep::Search(self.search_request(None)),
        }
    }

    /// Returns the positions of the events if the log holds all of them, and `None` if it holds
    /// none of them. Anything else is an error: the ids belong to other events.
    async fn find_stored(&self, deadline: AttemptDeadline) -> Result<Option<Appended>, Error> {
        let shared = &self.store.shared;
        let held = shared.searcher().held_events(&self.events, deadline).await?;
        let is_partial = held.len() < self.events.len();
        let foreign =
            held.iter().find(|held| !held.is_same).or_else(|| held.first().filter(|_| is_partial));
        if let Some(foreign) = foreign {
            let event_id = self.events[foreign.index].id();
            return Err(Error::DuplicateEvent { event_id, position: foreign.position });
        }
        let positions = || held.iter().map(|held| held.position);
        let stored = positions().min().zip(positions().max());
        if let Some((_, last)) = stored {
            shared.log.note_newest(last);
        }
        Ok(stored.map(|(first, last)| Appended::repeat(first, last)))
    }
}
