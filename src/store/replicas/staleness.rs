use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::Bookmark;

/// The heads of the primary's log, each with a time of this process's clock.
///
/// If the primary was asked at a time and answered with a head, then every event that was committed
/// before that time is at that head or below. No clock of a server plays a part.
#[derive(Default)]
pub(super) struct PrimaryHeads(VecDeque<AskedHead>);

#[derive(Clone, Copy)]
struct AskedHead {
    asked_at: Instant,
    head: Bookmark,
}

impl PrimaryHeads {
    /// Adds the answer to a question that was asked after all others were answered.
    pub(super) fn add(&mut self, asked_at: Instant, head: Bookmark) {
        if let Some(last) = self.0.back().copied() {
            let goes_on =
                last.head.epoch() == head.epoch() && last.head.position() <= head.position();
            let before = self.0.len().checked_sub(2).map(|index| self.0[index].asked_at);
            let is_close = before.is_some_and(|before| asked_at - before < RESOLUTION);
            if !goes_on {
                self.0.clear();
            } else if last.head == head || is_close {
                // The new head is valid for the older time too.
                self.0.pop_back();
            }
        }
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(AskedHead { asked_at, head });
    }

    /// Forgets the heads, because a server has lost events below one of them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the lowest head at or above every event that was committed before this time, if one
    /// is known.
    ///
    /// Without a time, it is before everything.
    pub(super) fn covering(&self, time: Option<Instant>) -> Option<Bookmark> {
        let mut heads = self.0.iter();
        heads.find(|asked| time <= Some(asked.asked_at)).map(|asked| asked.head)
    }
}

/// The least time between two heads that are kept.
const RESOLUTION: Duration = Duration::from_millis(50);
/// The number of heads that are kept. Without an older one, a read asks for a higher head than it
/// would have to.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SequenceNumber;

    proptest! {
        /// A read that asks for the head covering a time sees every event that was committed before
        /// that time, and asks for no more than the first answer after the time plus the
        /// resolution.
        #[test]
        fn a_head_covers_what_was_committed_before_it_was_asked_for(
            answers in prop::collection::vec((1..80_u64, 0..3_u64), 1..100),
            at in 0..8_000_u64,
        ) {
            let start = Instant::now();
            let mut heads = PrimaryHeads::default();
            let (mut time, mut position) = (start, 0);
            let mut all = Vec::new();
            for (pause, events) in answers {
                time += Duration::from_millis(pause);
                position += events;
                heads.add(time, SequenceNumber::new(position).into());
                all.push((time, position));
            }
            let at = start + Duration::from_millis(at);

            let covering = heads.covering(Some(at)).map(|head| head.position().value());

            let needed = all.iter().find(|(asked_at, _)| *asked_at >= at).map(|(_, head)| *head);
            prop_assert_eq!(covering.is_some(), needed.is_some());
            prop_assert!(covering >= needed);
            let later = at + 2 * RESOLUTION;
            if let Some((_, head)) = all.iter().find(|(asked_at, _)| *asked_at >= later) {
                prop_assert!(covering <= Some(*head));
            }
        }
    }

    #[test]
    fn a_head_that_went_backwards_covers_nothing_before_it() {
        let start = Instant::now();
        let mut heads = PrimaryHeads::default();
        heads.add(start, SequenceNumber::new(9).into());

        let later = start + Duration::from_secs(1);
        heads.add(later, SequenceNumber::new(5).into());

        assert_eq!(heads.covering(Some(start)), Some(SequenceNumber::new(5).into()));
        assert_eq!(heads.covering(Some(later + Duration::from_secs(1))), None);
    }
}
