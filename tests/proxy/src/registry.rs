//! The registry of armed faults and of the bytes that have passed on each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::controls::Controls;
use crate::fault::Stage;
use crate::{Action, Direction};

/// The state that the connections of a proxy share.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// The controls of all connections.
    pub(crate) controls: Controls,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<ArmedFault>,
    holding: Vec<Arc<watch::Sender<Stage>>>,
    open: HashMap<u64, Passed>,
    closed: Passed,
    accepted: u64,
}

/// The numbers of bytes that have passed.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    to_client: u64,
    to_server: u64,
}

/// A fault that has not been triggered.
#[derive(Debug)]
struct ArmedFault {
    stage: Arc<watch::Sender<Stage>>,
    direction: Direction,
    after: u64,
    action: Action,
    /// The bytes that had passed when the fault was armed, by connection. Zero for later
    /// connections.
    before: HashMap<u64, u64>,
}

/// The next step in passing the bytes of a connection.
#[derive(Debug)]
pub(crate) enum Step {
    /// This number of bytes may pass.
    Pass(usize),
    /// A fault is triggered before the next byte.
    Trigger(Action, Arc<watch::Sender<Stage>>),
}

impl Registry {
    pub(crate) fn arm(
        &self,
        direction: Direction,
        after: u64,
        action: Action,
    ) -> Arc<watch::Sender<Stage>> {
        let stage = Arc::new(watch::Sender::new(Stage::Armed));
        let mut state = self.lock();
        let open = state.open.iter();
        let before = open.map(|(&connection, passed)| (connection, passed.to(direction))).collect();
        let fault = ArmedFault { stage: Arc::clone(&stage), direction, after, action, before };
        state.faults.push(fault);
        stage
    }

    /// Registers a connection and returns its number.
    pub(crate) fn open(&self) -> u64 {
        let mut state = self.lock();
        state.accepted += 1;
        let connection = state.accepted;
        state.open.insert(connection, Passed::default());
        connection
    }

    pub(crate) fn close(&self, connection: u64) {
        let mut state = self.lock();
        if let Some(passed) = state.open.remove(&connection) {
            state.closed.to_client += passed.to_client;
            state.closed.to_server += passed.to_server;
        }
    }

    /// Returns what happens to the next bytes of a connection, of which `waiting` have been read. A
    /// fault after n bytes is triggered as soon as they have passed, and a fault after zero bytes
    /// as soon as a byte is waiting.
    pub(crate) fn step(&self, connection: u64, direction: Direction, waiting: usize) -> Step {
        let mut state = self.lock();
        let passed = state.open.get(&connection).map_or(0, |passed| passed.to(direction));
        let mut allowed = waiting;
        let mut index = 0;
        while let Some(fault) = state.faults.get(index) {
            if fault.direction != direction {
                index += 1;
                continue;
            }
            let since = passed - fault.before.get(&connection).copied().unwrap_or(0);
            let left = fault.after.saturating_sub(since);
            if left > 0 || (waiting == 0 && fault.after == 0) {
                allowed = allowed.min(usize::try_from(left).unwrap_or(usize::MAX));
                index += 1;
            } else {
                let ArmedFault { stage, action, .. } = state.faults.remove(index);
                if trigger(&stage, action) {
                    state.holding.retain(|stage| stage.borrow().is_holding());
                    state.holding.push(Arc::clone(&stage));
                    return Step::Trigger(action, stage);
                }
            }
        }
        Step::Pass(allowed)
    }

    /// Delivers bytes and counts them under one lock, so that [`passed`](Self::passed) includes
    /// every delivered byte.
    pub(crate) fn pass(
        &self,
        connection: u64,
        direction: Direction,
        deliver: impl FnOnce() -> usize,
    ) {
        let mut state = self.lock();
        let bytes = deliver() as u64;
        if let Some(passed) = state.open.get_mut(&connection) {
            match direction {
                Direction::ToClient => passed.to_client += bytes,
                Direction::ToServer => passed.to_server += bytes,
            }
        }
    }

    pub(crate) fn forget_disarmed(&self) {
        self.lock().faults.retain(|fault| *fault.stage.borrow() == Stage::Armed);
    }

    pub(crate) fn release_all(&self) {
        for stage in self.lock().holding.drain(..) {
            stage.send_if_modified(|stage| stage.advance(Stage::Released));
        }
    }

    /// Returns the number of bytes that have passed on all connections.
    pub(crate) fn passed(&self, direction: Direction) -> u64 {
        let state = self.lock();
        state.closed.to(direction) + state.open.values().map(|one| one.to(direction)).sum::<u64>()
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.lock().accepted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Triggers an armed fault. Returns false if it has been disarmed.
fn trigger(stage: &watch::Sender<Stage>, action: Action) -> bool {
    stage.send_if_modified(|stage| {
        let is_armed = *stage == Stage::Armed;
        if is_armed {
            *stage = match action {
                Action::Cut(ending) => Stage::Cut(ending),
                Action::Delay(_) | Action::Freeze | Action::Stall => Stage::Holding,
            };
        }
        is_armed
    })
}

impl Passed {
    fn to(self, direction: Direction) -> u64 {
        match direction {
            Direction::ToClient => self.to_client,
            Direction::ToServer => self.to_server,
        }
    }
}
