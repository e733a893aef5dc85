//! The positions that a reader saw.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A set of positions, stored as runs of consecutive ones.
///
/// A log has few gaps, so a reader of a million events has only a handful of runs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct PositionSet {
    /// The last position of each run by its first one. Runs neither overlap nor touch.
    runs: BTreeMap<u64, u64>,
}

impl PositionSet {
    /// Adds a position.
    pub fn insert(&mut self, position: u64) {
        let below = self.runs.range(..=position).next_back();
        let below = below.map(|(&first, &last)| (first, last));
        let first = match below {
            Some((_, last)) if last >= position => return,
            Some((first, last)) if last + 1 == position => first,
            _ => position,
        };
        let last =
            position.checked_add(1).and_then(|next| self.runs.remove(&next)).unwrap_or(position);
        self.runs.insert(first, last);
    }

    /// Returns whether the set contains the position.
    pub fn contains(&self, position: u64) -> bool {
        let below = self.runs.range(..=position).next_back();
        below.is_some_and(|(_, &last)| last >= position)
    }

    /// Returns the positions in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().flat_map(|(&first, &last)| first..=last)
    }
}

impl Extend<u64> for PositionSet {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, positions: I) {
        positions.into_iter().for_each(|position| self.insert(position));
    }
}

impl FromIterator<u64> for PositionSet {
    fn from_iter<I: IntoIterator<Item = u64>>(positions: I) -> Self {
        let mut seen = Self::default();
        seen.extend(positions);
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
    fn contains_inserted_positions_in_any_order() {
        let mut random = SmallRng::seed_from_u64(7);
        for _ in 0..200 {
            let positions: Vec<u64> = (0..40).map(|_| random.random_range(1..60)).collect();

            let seen = PositionSet::from_iter(positions.iter().copied());

            let expected = BTreeSet::from_iter(positions);
            assert!(seen.iter().eq(expected.iter().copied()));
            assert!(
                (0..70).all(|position| seen.contains(position) == expected.contains(&position))
            );
        }
    }

    #[test]
    fn merges_adjacent_runs() {
        let seen = PositionSet::from_iter([5, 1, 3, 2, 4, 9]);

        assert_eq!(seen.runs, BTreeMap::from([(1, 5), (9, 9)]));
    }
}
