use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::SequenceNumber;

/// The reads that wait until a server has reached their position.
#[derive(Default)]
pub(super) struct Waiters(Mutex<Registry>);

#[derive(Default)]
struct Registry {
    /// By position, and then in the order of arrival.
    waiting: BTreeMap<(SequenceNumber, u64), oneshot::Sender<()>>,
    arrivals: u64,
    has_lone_read: bool,
}

impl Waiters {
    /// Adds a read.
    pub(super) fn add(self: &Arc<Self>, position: SequenceNumber) -> WaitingRead {
        let (sender, reached) = oneshot::channel();
        let mut registry = self.registry();
        registry.arrivals += 1;
        let key = (position, registry.arrivals);
        registry.waiting.insert(key, sender);
        WaitingRead { waiters: self.clone(), key, reached }
    }

    /// Lets a read ask the servers itself. Returns `None` if another read waits or does so.
    pub(super) fn begin_alone(self: &Arc<Self>) -> Option<LoneRead> {
        let mut registry = self.registry();
        let is_alone = registry.waiting.is_empty() && !registry.has_lone_read;
        registry.has_lone_read |= is_alone;
        drop(registry);
        is_alone.then(|| LoneRead(self.clone()))
    }

    /// Wakes the reads whose position is reached, and no others.
    pub(super) fn wake(&self, reached: SequenceNumber) {
        let mut registry = self.registry();
        while let Some(first) = registry.waiting.first_entry()
            && first.key().0 <= reached
        {
            // A read that has gone removes itself.
            let _ = first.remove().send(());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.registry().waiting.is_empty()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The read that asks the servers itself. Dropping it lets another one do so.
pub(super) struct LoneRead(Arc<Waiters>);

impl LoneRead {
    /// Returns whether no other read waits.
    pub(super) fn is_alone(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for LoneRead {
    fn drop(&mut self) {
        self.0.registry().has_lone_read = false;
    }
}

/// A read that waits. Dropping it ends the wait.
pub(super) struct WaitingRead {
    waiters: Arc<Waiters>,
    key: (SequenceNumber, u64),
    reached: oneshot::Receiver<()>,
}

impl WaitingRead {
    /// Waits until a server has reached the position. It may be awaited once.
    pub(super) async fn reached(&mut self) {
        // The sender is kept until the position is reached.
        let _ = (&mut self.reached).await;
    }
}

impl Drop for WaitingRead {
    fn drop(&mut self) {
        self.waiters.registry().waiting.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Add(u64),
        Drop(usize),
        Reach(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..20_u64).prop_map(Step::Add),
            (0..20_usize).prop_map(Step::Drop),
            (0..20_u64).prop_map(Step::Reach),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        /// Exactly those are woken whose position was reached while they waited.
        #[test]
        fn reads_are_woken_at_their_position(steps in steps()) {
            let waiters = Arc::new(Waiters::default());
            let mut waiting: Vec<(u64, bool, WaitingRead)> = Vec::new();
            for step in steps {
                match step {
                    Step::Add(position) => {
                        let waiter = waiters.add(SequenceNumber::new(position));
                        waiting.push((position, false, waiter));
                    }
                    Step::Drop(index) if index < waiting.len() => drop(waiting.remove(index)),
                    Step::Drop(_) => {}
                    Step::Reach(reached) => {
                        waiters.wake(SequenceNumber::new(reached));
                        for (position, is_reached, _) in &mut waiting {
                            *is_reached |= *position <= reached;
                        }
                    }
                }
                let is_empty = waiting.iter().all(|(_, is_reached, _)| *is_reached);
                prop_assert_eq!(waiters.is_empty(), is_empty);
                // At most one read asks the servers itself, and only while none waits.
                let lone = waiters.begin_alone();
                prop_assert_eq!(lone.as_ref().is_some_and(LoneRead::is_alone), is_empty);
                prop_assert!(waiters.begin_alone().is_none());
            }
            for (_, is_reached, mut waiter) in waiting {
                prop_assert_eq!(waiter.reached().now_or_never().is_some(), is_reached);
            }
        }
    }
}
