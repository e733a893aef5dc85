use crate::{Bookmark, Filter};

/// The condition on which an append is accepted.
///
/// Usually it comes from the history that the decision to append is based on
/// ([`History::condition`](crate::History::condition)). Otherwise use one of the constructors.
/// There is no default. This does not compile:
///
/// ```compile_fail,E0599
/// # use eddyline::AppendCondition;
/// let condition = AppendCondition::default();
/// ```
///
/// An append without a condition states that explicitly:
///
/// ```
/// # use eddyline::AppendCondition;
/// let condition = AppendCondition::none();
/// ```
///
/// A condition consists of a filter and a position. A position alone does not compile:
///
/// ```compile_fail,E0061
/// # use eddyline::{AppendCondition, SequenceNumber};
/// let condition = AppendCondition::no_match_after(SequenceNumber::new(7));
/// ```
///
/// ```
/// # use eddyline::{AppendCondition, Filter, SequenceNumber};
/// let condition = AppendCondition::no_match_after(Filter::everything(), SequenceNumber::new(7));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct AppendCondition {
    filter_position: Option<FilterPosition>,
}

/// No event after the position may match the filter.
#[derive(Clone, Debug)]
pub(crate) struct FilterPosition {
    pub(crate) filter: Filter,
    pub(crate) after: Bookmark,
}

impl AppendCondition {
    /// Makes the condition that always holds.
    pub fn none() -> Self {
        Self { filter_position: None }
    }

    /// Makes the condition that the log contains no event that matches the filter.
    ///
    /// ```
    /// # use eddyline::{AppendCondition, Filter};
    /// let reader = Filter::types(["ReaderRegistered"]).all_of([("ReaderID", "r-1")]).build()?;
    /// let condition = AppendCondition::no_match(reader);
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn no_match(filter: Filter) -> Self {
        Self::no_match_after(filter, Bookmark::default())
    }

    /// Makes the condition that no event after the position matches the filter.
    ///
    /// Use it for a position that traveled through a client, for instance in an edit form. The
    /// position must be that of a history which a read-write store returned for the same filter.
    /// Let its [`Bookmark`] travel: if a failover has lost events up to it, the append is refused
    /// with [`Error::PositionLost`](crate::Error::PositionLost). With a
    /// [`SequenceNumber`](crate::SequenceNumber) alone, it might miss an event.
    ///
    /// ```
    /// # use eddyline::{AppendCondition, Bookmark, Error, Filter};
    /// fn from_form(book: &str, token: &str) -> Result<AppendCondition, Error> {
    ///     let filter = Filter::types(["BookTitleCorrected"]).all_of([("BookID", book)]).build()?;
    ///     Ok(AppendCondition::no_match_after(filter, token.parse::<Bookmark>()?))
    /// }
    /// ```
    pub fn no_match_after(filter: Filter, position: impl Into<Bookmark>) -> Self {
        Self { filter_position: Some(FilterPosition { filter, after: position.into() }) }
    }

    pub(crate) fn filter_position(&self) -> Option<&FilterPosition> {
        self.filter_position.as_ref()
    }
}
