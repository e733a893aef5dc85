use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Appender;
use super::queue::PendingAppend;
use crate::telemetry::OperationPhase;

/// The requests that a worker sends again before those in the queue, each group as a batch. The
/// last group is sent first. Groups of a batch and of the batch that was pipelined behind it may be
/// in any order: the later batch does not depend on the earlier one.
pub(super) struct Requeued {
    /// Counts the requests, since metrics cannot see them here.
    appender: Arc<Appender>,
    groups: Vec<Vec<PendingAppend>>,
}

impl Requeued {
    pub(super) fn new(appender: Arc<Appender>) -> Self {
        Self { appender, groups: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn extend(&mut self, groups: Vec<Vec<PendingAppend>>) {
        for group in &groups {
            group.iter().for_each(|pending| pending.request.operation.enter(OperationPhase::Queue));
            self.appender.requeued.fetch_add(group.len(), Ordering::Relaxed);
        }
        self.groups.extend(groups);
    }

    /// Takes the group to send next.
    pub(super) fn pop(&mut self) -> Option<Vec<PendingAppend>> {
        let group = self.groups.pop()?;
        self.appender.requeued.fetch_sub(group.len(), Ordering::Relaxed);
        Some(group)
    }
}

impl Drop for Requeued {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::log_state::LogState;
    use crate::telemetry::Observable;
    use crate::{AppendCondition, Config};

    fn appender() -> Arc<Appender> {
        let config = Config::new("postgres://localhost/library").unwrap();
        let name = config.check().unwrap();
        let pool = crate::pool::Pool::of_primary(&config, &name, None).unwrap();
        Appender::new(&config, pool, Arc::new(LogState::new(name)))
    }

    #[test]
    fn requests_wait_until_their_group_is_sent_or_the_worker_ends() {
        let appender = appender();
        let waiting = || appender.state().waiting;
        let request = || PendingAppend::of([], AppendCondition::none());
        let mut requeued = Requeued::new(appender.clone());

        requeued.extend(vec![vec![request()], vec![request(), request()]]);
        let before = waiting();
        let sent = requeued.pop().map(|group| group.len());
        let after = waiting();
        drop(requeued);

        assert_eq!((before, sent, after, waiting()), (3, Some(2), 1, 0));
    }
}
