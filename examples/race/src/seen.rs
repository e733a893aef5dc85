//! The sequence numbers that a reader saw.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A set of sequence numbers, held as the runs that they form.
///
/// A log has few gaps, so a reader of a million events holds a handful of runs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct SeenNumbers {
    /// Each run's last number by its first; runs neither overlap nor touch.
    runs: BTreeMap<u64, u64>,
}

impl SeenNumbers {
    /// Adds a number.
    pub fn insert(&mut self, number: u64) {
        let below = self.runs.range(..=number).next_back();
        let below = below.map(|(&first, &last)| (first, last));
        let first = match below {
            Some((_, last)) if last >= number => return,
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = number.checked_add(1).and_then(|next| self.runs.remove(&next)).unwrap_or(number);
        self.runs.insert(first, last);
    }

    /// Returns whether the number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        let below = self.runs.range(..=number).next_back();
        below.is_some_and(|(_, &last)| last >= number)
    }

    /// Returns the numbers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().flat_map(|(&first, &last)| first..=last)
    }
}

impl Extend<u64> for SeenNumbers {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, numbers: I) {
        numbers.into_iter().for_each(|number| self.insert(number));
    }
}

impl FromIterator<u64> for SeenNumbers {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut seen = Self::default();
        seen.extend(numbers);
        seen
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn holds_what_was_put_in_whatever_the_order() {
        let mut random = SmallRng::seed_from_u64(7);
        for _ in 0..200 {
            let numbers: Vec<u64> = (0..40).map(|_| random.random_range(1..60)).collect();

            let seen = SeenNumbers::from_iter(numbers.iter().copied());

            let expected = BTreeSet::from_iter(numbers);
            assert!(seen.iter().eq(expected.iter().copied()));
            assert!((0..70).all(|number| seen.contains(number) == expected.contains(&number)));
        }
    }

    #[test]
    fn joins_what_touches() {
        let seen = SeenNumbers::from_iter([5, 1, 3, 2, 4, 9]);

        assert_eq!(seen.runs, BTreeMap::from([(1, 5), (9, 9)]));
    }
}
