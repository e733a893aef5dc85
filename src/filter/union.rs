use std::iter::Sum;
use std::ops::BitOr;

use super::containment::Containment;
use super::normal_form::Alternatives;
use super::{Filter, Size};
use crate::Error;
use crate::limits::MAX_FILTER_TERMS;

impl Filter {
    /// Joins filters by OR: an event matches the union if it matches one of the filters. The
    /// operator `|` does the same: `one | other`.
    ///
    /// A filter has one period for all of its items. So all of the filters must have the same
    /// period, or none. The union has that period.
    ///
    /// ```
    /// use eddyline::{Error, Filter};
    ///
    /// let course = Filter::all_of([("tags", ["course:c1"])]).build()?;
    /// let student = Filter::all_of([("tags", ["student:s1"])]).build()?;
    ///
    /// let either = (&course | &student)?;
    /// let tags = [("tags", ["course:c1"]), ("tags", ["student:s1"])];
    /// assert_eq!(either, Filter::any_of(tags).build()?);
    ///
    /// let period = "2026-01-01T00:00:00Z".parse::<eddyline::jiff::Timestamp>().expect("a time")..;
    /// assert!((either.occurred(period.clone())? | course.clone()).is_err());
    /// let since = (either | course)?.occurred(period)?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`] if there is no filter, if the filters have different periods, or if
    /// together they have more than [`MAX_FILTER_TERMS`] event types and values, or more than ten
    /// times as many in all of their alternatives.
    pub fn union(filters: impl IntoIterator<Item = Self>) -> Result<Self, Error> {
        let filters: Vec<_> = filters.into_iter().collect();
        let Some(first) = filters.first() else {
            return Err(Error::invalid_filter("a list of filters is empty"));
        };
        let (from, until) = (first.definition.from, first.definition.until);
        if filters.iter().any(|one| (one.definition.from, one.definition.until) != (from, until)) {
            return Err(Error::invalid_filter(
                "filters with different periods cannot be joined: \
                 join them first and narrow the union by Filter::occurred, or use each by itself",
            ));
        }
        let size: Size = filters.iter().map(|one| one.definition.size).sum();
        size.check()?;

        let mut alternatives = Alternatives::default();
        for item in filters.iter().flat_map(Self::items) {
            for containment in item.containments() {
                alternatives.add(item.types().clone(), containment.clone());
            }
            if item.containments().is_empty() {
                alternatives.add(item.types().clone(), Containment::default());
            }
        }
        Ok(Self::from_parts(alternatives.normalize(), size, from, until))
    }
}

/// Joins two filters, as [`Filter::union`] does.
impl BitOr for Filter {
    type Output = Result<Self, Error>;

    fn bitor(self, other: Self) -> Result<Self, Error> {
        Self::union([self, other])
    }
}

/// Joins two filters, as [`Filter::union`] does.
impl BitOr for &Filter {
    type Output = Result<Filter, Error>;

    fn bitor(self, other: Self) -> Result<Filter, Error> {
        self.clone() | other.clone()
    }
}

/// Joins another filter to a union, so that `one | other | third` needs one `?`.
impl BitOr<Filter> for Result<Filter, Error> {
    type Output = Self;

    fn bitor(self, other: Filter) -> Self {
        self? | other
    }
}

/// Joins another filter to a union, so that `&one | &other | &third` needs one `?`.
impl BitOr<&Filter> for Result<Filter, Error> {
    type Output = Self;

    fn bitor(self, other: &Filter) -> Self {
        self? | other.clone()
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), |one, other| Self {
            terms: one.terms + other.terms,
            values: one.values + other.values,
        })
    }
}

impl Size {
    /// Checks the limits of a filter's size.
    pub(super) fn check(self) -> Result<(), Error> {
        let Self { terms, values } = self;
        if terms > MAX_FILTER_TERMS {
            return Err(Error::invalid_filter(format!(
                "has {terms} event types and values, more than the limit of {MAX_FILTER_TERMS}"
            )));
        }
        let most = 10 * MAX_FILTER_TERMS;
        if values > most {
            return Err(Error::invalid_filter(format!(
                "has {values} values in all of its alternatives together, more than the limit of \
                 {most}: use fewer predicates in all_of, or several filters"
            )));
        }
        Ok(())
    }
}
