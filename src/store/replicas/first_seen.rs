use std::time::Duration;

use tokio::time::Instant;

use crate::SequenceNumber;

/// When a store first knew of each position: at each of these times, of the positions up to one.
///
/// It has a limited size. Then a time that it returns may be too late, by a tenth of the time that
/// has passed since, but it is never too early.
#[derive(Default)]
pub(super) struct FirstSeen(Vec<(SequenceNumber, Instant)>);

impl FirstSeen {
    /// Notes the highest position that the store knows of now. If it is lower than before, the
    /// positions above it were lost.
    pub(super) fn note(&mut self, newest: SequenceNumber, now: Instant) {
        while self.0.pop_if(|(position, _)| *position > newest).is_some() {}
        if self.0.last().is_some_and(|(position, _)| *position == newest) {
            return;
        }
        let before = self.0.len().checked_sub(2).map(|index| self.0[index].1);
        if before.is_some_and(|before| now.duration_since(before) < RESOLUTION) {
            self.0.pop();
        }
        if self.0.len() == MOST {
            self.thin_out(now);
        }
        self.0.push((newest, now));
    }

    /// Returns when the store first knew of the position after this one, if it knows of one.
    pub(super) fn since(&self, shown: SequenceNumber) -> Option<Instant> {
        let index = self.0.partition_point(|(position, _)| *position <= shown);
        self.0.get(index).map(|(_, at)| *at)
    }

    /// Removes the time whose removal changes an answer least, in relation to its age.
    fn thin_out(&mut self, now: Instant) {
        let error = |index: &usize| {
            let (before, after) = (self.0[index - 1].1, self.0[index + 1].1);
            let age = now.duration_since(before) + RESOLUTION;
            after.duration_since(before).as_secs_f64() / age.as_secs_f64()
        };
        let inner = 1..self.0.len() - 1;
        if let Some(least) = inner.min_by(|one, other| error(one).total_cmp(&error(other))) {
            self.0.remove(least);
        }
    }
}

/// The least time between two times that are kept.
const RESOLUTION: Duration = Duration::from_millis(10);
/// The number of times that are kept.
const MOST: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// A time is never too early. It is too late by less than the resolution, or by less than a
        /// tenth of the age.
        #[test]
        fn times_are_too_late_by_little(
            // Pauses from 1 ms to days, in each order of magnitude.
            pauses in prop::collection::vec((0..9_u32, 1..10_u64), 1..1_500),
            shown in 0..1_500_u64,
        ) {
            let start = Instant::now();
            let (mut now, mut seen, mut all) = (start, FirstSeen::default(), Vec::new());
            for (position, (magnitude, factor)) in (1_u64..).zip(&pauses) {
                now += Duration::from_millis(factor * 10_u64.pow(*magnitude));
                seen.note(SequenceNumber::new(position), now);
                all.push(now);
            }

            let found = seen.since(SequenceNumber::new(shown));

            prop_assert!(seen.0.len() <= MOST);
            prop_assert_eq!(found.is_some(), shown < pauses.len() as u64);
            if let Some(found) = found {
                let truth = all[shown as usize];
                let late = found.checked_duration_since(truth);
                let allowed = RESOLUTION + (now - truth + RESOLUTION) / 10;
                prop_assert!(late.is_some_and(|late| late <= allowed), "{late:?} {allowed:?}");
            }
        }
    }

    #[test]
    fn the_first_times_are_exact() {
        let start = Instant::now();
        let mut seen = FirstSeen::default();
        for step in 0..MOST as u64 {
            let now = start + 20 * RESOLUTION * step as u32;
            seen.note(SequenceNumber::new(10 * (step + 1)), now);
        }

        for step in 0..MOST as u64 {
            let at = Some(start + 20 * RESOLUTION * step as u32);
            assert_eq!(seen.since(SequenceNumber::new(10 * step + 9)), at);
        }
        assert_eq!(seen.since(SequenceNumber::new(10 * MOST as u64)), None);
    }
}
