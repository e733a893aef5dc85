use std::iter::Sum;
use std::ops::BitOr;

use super::containment::Containment;
use super::normal::Alternatives;
use super::{Filter, Size};
use crate::Error;
use crate::limits::MAX_FILTER_TERMS;

impl Filter {
    /// Joins filters by OR: an event matches if any of them matches it. `one | other` does the
    /// same for two or more.
    ///
    /// The union matches no event but those. A filter has one period for all of its items, so
    /// filters are joined only if they have the same one, or none; the period of the union is
    /// theirs.
    ///
    /// ```
    /// use eddyline::{Error, Filter};
    ///
    /// let course = Filter::all_of([("tags", ["course:c1"])]).build()?;
    /// let student = Filter::all_of([("tags", ["student:s1"])]).build()?;
    ///
    /// let either = (&course | &student)?;
    /// assert_eq!(either, Filter::any_of([("tags", ["course:c1"]), ("tags", ["student:s1"])]).build()?);
    ///
    /// let period = "2026-01-01T00:00:00Z".parse::<eddyline::jiff::Timestamp>().expect("a time")..;
    /// assert!((either.occurred(period.clone())? | course.clone()).is_err());
    /// let since = (either | course)?.occurred(period)?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`] if there is no filter to join, if the filters have different periods,
    /// or if they name more than [`MAX_FILTER_TERMS`] event types and values together, or more than ten times as
    /// many in all of their alternatives.
    pub fn union(filters: impl IntoIterator<Item = Self>) -> Result<Self, Error> {
        let filters: Vec<_> = filters.into_iter().collect();
        let Some(first) = filters.first() else {
            return Err(Error::invalid_filter("a list of filters is empty"));
        };
        let (from, until) = (first.parts.from, first.parts.until);
        if filters.iter().any(|one| (one.parts.from, one.parts.until) != (from, until)) {
            return Err(Error::invalid_filter(
                "filters of different periods cannot be joined: \
                 join them first and narrow the union by Filter::occurred, or read each by itself",
            ));
        }
        let size: Size = filters.iter().map(|one| one.parts.size).sum();
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
        Ok(Self::from_parts(alternatives.normalise(), size, from, until))
    }
}

/// As [`Filter::union`].
impl BitOr for Filter {
    type Output = Result<Self, Error>;

    fn bitor(self, other: Self) -> Result<Self, Error> {
        Self::union([self, other])
    }
}

/// As [`Filter::union`].
impl BitOr for &Filter {
    type Output = Result<Filter, Error>;

    fn bitor(self, other: Self) -> Result<Filter, Error> {
        self.clone() | other.clone()
    }
}

/// Joins another filter, so that `one | other | third` needs one `?`.
impl BitOr<Filter> for Result<Filter, Error> {
    type Output = Self;

    fn bitor(self, other: Filter) -> Self {
        self? | other
    }
}

/// Joins another filter, so that `&one | &other | &third` needs one `?`.
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
    /// Checks that a filter may be so large.
    pub(super) fn check(self) -> Result<(), Error> {
        let Self { terms, values } = self;
        if terms > MAX_FILTER_TERMS {
            return Err(Error::invalid_filter(format!(
                "names {terms} event types and values, the most are {MAX_FILTER_TERMS}"
            )));
        }
        let most = 10 * MAX_FILTER_TERMS;
        if values > most {
            return Err(Error::invalid_filter(format!(
                "demands {values} values in all of its alternatives together, the most are {most}: \
                 name fewer predicates in all_of, or make several filters"
            )));
        }
        Ok(())
    }
}
