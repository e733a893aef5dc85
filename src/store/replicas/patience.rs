use std::time::Duration;

/// How long a server may take to answer its watcher, from how long it took so far.
///
/// A server that is far away, or on a busy machine, is not suspected for being as slow as always.
#[derive(Default)]
pub(super) struct Patience {
    /// The longest of the last answers. Older ones count less and less.
    slowest: Duration,
}

impl Patience {
    /// Records how long the server took to answer. An answer after the end of the patience counts
    /// as if it had come at its end, so that a server which stood still is not waited for much
    /// longer afterwards.
    pub(super) fn answered(&mut self, time: Duration) {
        let fading = self.slowest - self.slowest / 8;
        self.slowest = fading.max(time.min(self.duration()));
    }

    pub(super) fn duration(&self) -> Duration {
        (2 * self.slowest).max(SHORTEST)
    }
}

/// With it, a read on a server that stands still is asked again after twice as long.
const SHORTEST: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A server that always takes as long as this is waited for long enough after a few
        /// answers, and after it was fast again for a while, as short as at first.
        #[test]
        fn follows_the_times_of_the_server(millis in 0..5_000_u64) {
            let mut patience = Patience::default();
            let time = Duration::from_millis(millis);

            (0..10).for_each(|_| patience.answered(time));
            prop_assert!(patience.duration() > time);
            (0..100).for_each(|_| patience.answered(Duration::ZERO));
            prop_assert_eq!(patience.duration(), SHORTEST);
        }
    }

    #[test]
    fn one_late_answer_at_most_doubles_it() {
        let mut patience = Patience::default();

        patience.answered(Duration::from_secs(60));

        assert_eq!(patience.duration(), 2 * SHORTEST);
    }
}
