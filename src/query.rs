use crate::{Bookmark, Error, Filter, SequenceNumber};

/// A read of events: a filter, and which part of the matching events to read.
///
/// A `&Filter` is a query for every matching event, oldest first.
///
/// ```
/// use eddyline::{Filter, Query};
///
/// let returned = Filter::types(["BookCopyReturnedByReader"]).build()?;
/// let last_ten = Query::new(&returned).newest_first().limit(10);
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Query {
    pub(crate) filter: Filter,
    pub(crate) after: Bookmark,
    pub(crate) up_to: Option<SequenceNumber>,
    pub(crate) limit: Option<u32>,
    pub(crate) newest_first: bool,
}

impl Query {
    /// Makes a query for every event that matches the filter, oldest first.
    pub fn new(filter: &Filter) -> Self {
        Self {
            filter: filter.clone(),
            after: Bookmark::default(),
            up_to: None,
            limit: None,
            newest_first: false,
        }
    }

    /// Leaves out the event at this position and those before it. Defaults to leaving out none.
    ///
    /// Use a [`Bookmark`] to read on, for instance in a loop that keeps a read model up to date: no
    /// server answers that has not reached its position, and if its event was lost in a failover,
    /// the read fails with [`Error::PositionLost`] instead of missing events. A [`SequenceNumber`]
    /// alone is not checked.
    ///
    /// ```
    /// use eddyline::{Filter, Query, SequenceNumber};
    ///
    /// let last_seen = SequenceNumber::new(1_000);
    /// let next_page = Query::new(&Filter::everything()).after(last_seen).limit(100);
    /// ```
    pub fn after(self, position: impl Into<Bookmark>) -> Self {
        Self { after: position.into(), ..self }
    }

    /// Leaves out the events after this position. Defaults to the log's head.
    ///
    /// A decision cannot be based on such a query: [`Store::decide`](crate::Store::decide) refuses
    /// it.
    pub fn up_to(self, position: SequenceNumber) -> Self {
        Self { up_to: Some(position), ..self }
    }

    /// Sets the most events to read. Defaults to no limit.
    ///
    /// A decision cannot be based on the oldest events alone:
    /// [`Store::decide`](crate::Store::decide) refuses a query with a limit unless it reads the
    /// [newest first](Self::newest_first).
    pub fn limit(self, events: u32) -> Self {
        Self { limit: Some(events), ..self }
    }

    /// Reads the newest event first. Defaults to the oldest first.
    pub fn newest_first(self) -> Self {
        Self { newest_first: true, ..self }
    }

    /// Checks that the query leaves out no newer events, since a decision has to see them.
    pub(crate) fn check_for_decision(&self) -> Result<(), Error> {
        if self.up_to.is_some() {
            return Err(Error::invalid_query(
                "a decision must see the newest events, and up_to leaves them out: remove up_to",
            ));
        }
        if self.limit.is_some() && !self.newest_first {
            return Err(Error::invalid_query(
                "a decision must see the newest events, and this limit keeps the oldest: \
                 remove the limit, or add newest_first",
            ));
        }
        Ok(())
    }

    /// Returns the position that an answer represents.
    pub(crate) fn position(
        &self,
        head: SequenceNumber,
        events: usize,
        last: Option<SequenceNumber>,
    ) -> SequenceNumber {
        let highest = self.up_to.map_or(head, |up_to| up_to.min(head));
        let is_cut = self.limit.is_some_and(|limit| events >= limit as usize);
        if is_cut && !self.newest_first {
            last.unwrap_or(self.after.position()).min(highest)
        } else {
            highest
        }
    }
}

impl From<Filter> for Query {
    fn from(filter: Filter) -> Self {
        Self::new(&filter)
    }
}

impl From<&Query> for Query {
    fn from(query: &Query) -> Self {
        query.clone()
    }
}

impl From<&Filter> for Query {
    fn from(filter: &Filter) -> Self {
        Self::new(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_that_of_the_last_event_if_a_limit_left_out_newer_ones() {
        let query = Query::new(&Filter::everything()).limit(2);
        let (head, last) = (SequenceNumber::new(9), SequenceNumber::new(4));

        assert_eq!(query.position(head, 2, Some(last)), last);
        assert_eq!(query.position(head, 1, Some(last)), head);
        assert_eq!(query.clone().limit(0).position(head, 0, None), SequenceNumber::ZERO);
        assert_eq!(query.newest_first().position(head, 2, Some(last)), head);
    }

    #[test]
    fn position_is_at_most_up_to() {
        let query = Query::new(&Filter::everything());
        let head = SequenceNumber::new(9);

        for (up_to, position) in [(4, 4), (9, 9), (12, 9)] {
            let query = query.clone().up_to(SequenceNumber::new(up_to));
            assert_eq!(query.position(head, 0, None), SequenceNumber::new(position));
        }
    }
}
