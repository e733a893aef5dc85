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
    /// A moment after which its primary must not have acknowledged anything.
    pub closed: Option<Instant>,
    /// When the first event of a newer timeline was acknowledged that this one lacks.
    superseded: Option<Instant>,
    /// The highest acknowledged position at each moment, in ascending order.
    acknowledged: Vec<(Instant, u64)>,
}

impl Timeline {
    /// Adds an acknowledgment that is not older than the ones before. Returns whether the event is
    /// in this timeline.
    pub fn acknowledge(&mut self, acknowledgment: &Acknowledgment) -> bool {
        let Acknowledgment { entry, at } = acknowledgment;
        if !self.log.contains(entry) {
            self.superseded = self.superseded.or(self.closed.map(|_| *at));
            return false;
        }
        let is_open = self.closed.is_none_or(|closed| *at <= closed);
        if is_open {
            let highest = self.acknowledged.last().map_or(0, |(_, highest)| *highest);
            self.acknowledged.push((*at, highest.max(entry.position)));
        }
        is_open
    }

    /// Describes why an answer of this timeline is staler than its bound, if it is.
    ///
    /// After a failover that lost events, a standby that has them may answer until a newer timeline
    /// has an event that it lacks.
    pub fn beyond(&self, answer: &Answer, bound: Duration) -> Option<String> {
        let bounded = answer.called.checked_sub(bound);
        if let Some(at) = self.superseded.filter(|at| Some(*at) <= bounded) {
            let before = answer.called - at;
            return Some(format!(
                "without an event after a failover, which was acknowledged {before:?} before the \
                 read, with a bound of {bound:?}"
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
