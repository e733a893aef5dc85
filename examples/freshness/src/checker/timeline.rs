//! The timelines of the log.

use std::time::{Duration, Instant};

use super::Acknowledgment;
use super::log::Log;
use crate::answer::Answer;

/// The log between two failovers that lost events, with the events of all timelines before that
/// were not lost.
#[derive(Debug, Default)]
pub struct Timeline {
    pub log: Log,
    /// A moment after its primary had ended.
    pub until: Option<Instant>,
    /// A moment after which its primary must not have acknowledged anything.
    pub closed: Option<Instant>,
    /// The highest acknowledged position at each moment, in ascending order.
    acknowledged: Vec<(Instant, u64)>,
}

impl Timeline {
    /// Adds an acknowledgment that is not older than the ones before. Returns whether the event is
    /// in this timeline.
    pub fn acknowledge(&mut self, acknowledgment: &Acknowledgment) -> bool {
        let Acknowledgment { entry, at } = acknowledgment;
        let is_open = self.closed.is_none_or(|closed| *at <= closed);
        let is_known = is_open && self.log.contains(entry);
        if is_known {
            let highest = self.acknowledged.last().map_or(0, |(_, highest)| *highest);
            self.acknowledged.push((*at, highest.max(entry.position)));
        }
        is_known
    }

    /// Describes why an answer of this timeline is staler than its bound, if it is.
    pub fn beyond(&self, answer: &Answer, bound: Duration) -> Option<String> {
        let bounded = answer.called.checked_sub(bound);
        let is_over = |until| bounded.is_some_and(|bounded| until < bounded);
        if let Some(until) = self.until.filter(|until| is_over(*until)) {
            let before = answer.called - until;
            return Some(format!(
                "from before a failover that ended {before:?} before the read, with a bound of \
                 {bound:?}"
            ));
        }
        let count = self.acknowledged.partition_point(|(at, _)| Some(*at) <= bounded);
        let (at, highest) = self.acknowledged.get(count.checked_sub(1)?)?;
        (*highest > answer.content.position).then(|| {
            let before = answer.called - *at;
            format!(
                "without {highest}, which was acknowledged at least {before:?} before the read, \
                 with a bound of {bound:?}"
            )
        })
    }
}
