use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::pool::SystemId;
use crate::sql::EpochList;
use crate::{Bookmark, ReplicaState, Role};

/// What the servers of a store last said about themselves, by which those are found that must not
/// be read from.
#[derive(Default)]
pub(super) struct Ledger(BTreeMap<Arc<str>, ServerView>);

/// What a server said about itself.
#[derive(Clone, Debug)]
pub(super) struct ServerView {
    pub(super) head: Bookmark,
    pub(super) epochs: Arc<EpochList>,
    /// The cluster of the server, to which the number of the timeline belongs.
    pub(super) system: SystemId,
    pub(super) timeline: u32,
    pub(super) role: Role,
    /// When the server started, by its own clock. It is only compared with itself.
    pub(super) started_at: Timestamp,
    /// When it was asked.
    pub(super) asked_at: Instant,
    /// When it answered.
    pub(super) answered_at: Instant,
    /// Whether it is left out after a failure.
    pub(super) is_out: bool,
    /// Whether the store was told that it is the primary.
    pub(super) is_primary: bool,
}

impl Ledger {
    /// Records the view of a server. Returns why it must not be read from, if it must not.
    pub(super) fn judge(&mut self, name: &Arc<str>, view: ServerView) -> Option<ReplicaState> {
        let is_known = self.is_known_elsewhere(name, &view);
        self.0.insert(name.clone(), view);
        if is_known {
            return Some(ReplicaState::Duplicate);
        }
        let (view, newest) = (self.0.get(name)?, self.newest()?);
        has_diverged(view, newest).then_some(ReplicaState::Diverged)
    }

    /// Records that a server is left out after a failure.
    pub(super) fn leave_out(&mut self, name: &Arc<str>) {
        if let Some(view) = self.0.get_mut(name) {
            view.is_out = true;
        }
    }

    /// Forgets a server that was removed.
    pub(super) fn remove(&mut self, name: &Arc<str>) {
        self.0.remove(name);
    }

    /// Returns whether a replica that was named earlier is the same server. Two servers do not
    /// start in the same microsecond.
    fn is_known_elsewhere(&self, name: &Arc<str>, view: &ServerView) -> bool {
        !view.is_primary
            && self.0.iter().take_while(|(other, _)| *other != name).any(|(_, other)| {
                !other.is_primary && !other.is_out && other.started_at == view.started_at
            })
    }

    /// Returns whether another server has taken over from a primary: it knows the end of the epoch
    /// in which the primary still is. SAFETY.md, Lemma 8: if both were the same server, the primary
    /// would have been restarted, and could not have been asked after the other one answered.
    pub(super) fn has_successor(&self, primary: &ServerView) -> bool {
        self.0.values().any(|view| {
            view.epochs.has_ended(primary.epochs.current) && view.answered_at < primary.asked_at
        })
    }

    /// Returns the server with the newest known history: one whose epoch has not ended in any
    /// other, and of those the one of the highest timeline. A standby may show a lower timeline
    /// than that which it follows.
    fn newest(&self) -> Option<&ServerView> {
        let has_followers = |view: &ServerView| {
            self.0.values().any(|other| other.epochs.has_ended(view.epochs.current))
        };
        let last = self.0.values().filter(|view| !has_followers(view));
        // Of several equal ones the last, so that the order is reversed.
        last.rev().max_by_key(|view| (view.timeline, view.is_primary, view.role == Role::Primary))
    }
}

/// Returns whether a server has events that the newest history does not have (Lemma 8).
fn has_diverged(view: &ServerView, newest: &ServerView) -> bool {
    let Some(epoch) = view.head.epoch() else { return false };
    match newest.epochs.end_of(epoch) {
        Some(end) => view.head.position() > end,
        // A server of the newest timeline may not have replayed the beginning of the epoch, and
        // what is known of it may be older. A server of an older timeline began the epoch after
        // the newest one had left that timeline.
        None => {
            (newest.system == view.system && newest.timeline > view.timeline)
                || newest.role == Role::Primary && newest.asked_at > view.answered_at
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::SequenceNumber;
    use crate::bookmark::Epoch;

    fn epoch(number: u128) -> Epoch {
        Epoch::new(Uuid::from_u128(number))
    }

    /// The history of a log: for each epoch that began, the head at its end.
    fn view(ended: &[(u128, u64)], current: u128, head: u64, timeline: u32) -> ServerView {
        let ended =
            ended.iter().map(|(epoch, end)| (self::epoch(*epoch), SequenceNumber::new(*end)));
        let epochs = EpochList { current: epoch(current), ended: ended.collect() };
        let now = Instant::now();
        ServerView {
            head: Bookmark::new(SequenceNumber::new(head), epoch(current)),
            epochs: Arc::new(epochs),
            system: 7,
            timeline,
            role: Role::Replica,
            started_at: Timestamp::UNIX_EPOCH,
            asked_at: now,
            answered_at: now,
            is_out: false,
            is_primary: false,
        }
    }

    fn started(view: ServerView, second: i64) -> ServerView {
        ServerView { started_at: Timestamp::from_second(second).unwrap(), ..view }
    }

    fn names() -> [Arc<str>; 3] {
        ["primary", "replica-0", "replica-1"].map(Arc::from)
    }

    proptest! {
        /// Replicas of one history that have replayed different parts of it never diverge, however
        /// the histories of their observations are ordered.
        #[test]
        fn a_replica_that_lags_has_not_diverged(
            lengths in prop::collection::vec(1..5_u64, 1..6),
            replayed in prop::collection::vec((0..6_usize, 0..5_u64), 2),
        ) {
            let mut ends = Vec::new();
            let mut head = 0;
            for (number, length) in lengths.iter().enumerate() {
                head += length;
                ends.push((number as u128, head));
            }
            let mut ledger = Ledger::default();
            for (index, (epochs, missing)) in replayed.into_iter().enumerate() {
                let current = epochs.min(ends.len() - 1);
                let head = ends[current].1.saturating_sub(missing).max(1);
                let timeline = current as u32 + 1;
                let view = view(&ends[..current], current as u128, head, timeline);
                let view = started(view, index as i64);

                prop_assert_eq!(ledger.judge(&names()[index + 1], view), None);
            }
        }
    }

    #[test]
    fn a_server_with_events_that_the_promoted_one_does_not_have_has_diverged() {
        let mut ledger = Ledger::default();
        let [_, promoted, other] = names();
        ledger.judge(&promoted, started(view(&[(1, 10)], 2, 12, 2), 1));

        let verdicts = [10, 11].map(|head| ledger.judge(&other, started(view(&[], 1, head, 1), 2)));
        let own_epoch = ledger.judge(&other, started(view(&[(1, 10)], 3, 11, 1), 2));

        assert_eq!(verdicts, [None, Some(ReplicaState::Diverged)]);
        assert_eq!(own_epoch, Some(ReplicaState::Diverged));
    }

    /// The replica follows the promoted server, but does not show its timeline yet.
    #[test]
    fn a_replica_of_a_promoted_server_outdates_a_primary_that_is_asked_later() {
        let mut ledger = Ledger::default();
        let [primary, replica, _] = names();
        let mut isolated = started(view(&[], 1, 11, 1), 1);
        (isolated.role, isolated.is_primary) = (Role::Primary, true);
        ledger.judge(&primary, isolated.clone());
        let following = started(view(&[(1, 10)], 2, 12, 1), 2);

        let replica = ledger.judge(&replica, following.clone());
        let at_the_same_time = ledger.has_successor(&isolated);
        isolated.asked_at = following.answered_at + Duration::from_millis(1);
        let later = ledger.has_successor(&isolated);

        assert_eq!((replica, at_the_same_time, later), (None, false, true));
        assert_eq!(ledger.judge(&primary, isolated), Some(ReplicaState::Diverged));
    }

    #[test]
    fn a_replica_in_another_epoch_has_diverged_if_the_primary_is_asked_later() {
        let mut ledger = Ledger::default();
        let [primary, replica, _] = names();
        let mut known = started(view(&[(1, 10)], 2, 12, 1), 1);
        (known.role, known.is_primary) = (Role::Primary, true);
        ledger.judge(&primary, known.clone());
        let other = started(view(&[(1, 10)], 3, 13, 1), 2);

        let before = ledger.judge(&replica, other.clone());
        known.asked_at = other.answered_at + Duration::from_millis(1);
        ledger.judge(&primary, known);
        let after = ledger.judge(&replica, other);

        assert_eq!((before, after), (None, Some(ReplicaState::Diverged)));
    }

    #[test]
    fn a_server_under_two_names_is_used_under_the_first_that_is_not_left_out() {
        let mut ledger = Ledger::default();
        let [primary, first, second] = names();
        let same = view(&[], 1, 5, 1);

        ledger.judge(&primary, ServerView { is_primary: true, ..same.clone() });
        let one = ledger.judge(&first, same.clone());
        let other = ledger.judge(&second, same.clone());
        ledger.leave_out(&first);
        let instead = ledger.judge(&second, same);

        assert_eq!((one, other, instead), (None, Some(ReplicaState::Duplicate), None));
    }
}
