//! The faults that are armed, and how many bytes have passed where.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::fault::Stage;
use crate::hold::Switches;
use crate::{Action, Direction};

/// What the connections of a proxy share.
#[derive(Debug, Default)]
pub(crate) struct Armory {
    /// Those of all connections.
    pub(crate) switches: Switches,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Armed>,
    holding: Vec<Arc<watch::Sender<Stage>>>,
    open: HashMap<u64, Passed>,
    closed: Passed,
    accepted: u64,
}

/// How many bytes have passed.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    to_client: u64,
    to_server: u64,
}

/// A fault that has not struck.
#[derive(Debug)]
struct Armed {
    stage: Arc<watch::Sender<Stage>>,
    direction: Direction,
    after: u64,
    action: Action,
    /// What had passed when it was armed, by connection; of a later one nothing had.
    before: HashMap<u64, u64>,
}

/// What the next bytes of a connection meet.
#[derive(Debug)]
pub(crate) enum Step {
    /// So many may pass.
    Pass(usize),
    /// A fault strikes before the next one.
    Strike(Action, Arc<watch::Sender<Stage>>),
}

impl Armory {
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
        let fault = Armed { stage: Arc::clone(&stage), direction, after, action, before };
        state.faults.push(fault);
        stage
    }

    /// Makes a connection known; returns its number.
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

    /// Judges what the next bytes of a connection meet. A fault strikes as soon as its bytes have
    /// passed; one of no bytes, as soon as there is one to pass.
    pub(crate) fn step(&self, connection: u64, direction: Direction, waiting: usize) -> Step {
        let mut state = self.lock();
        let passed = state.open.get(&connection).map_or(0, |passed| passed.to(direction));
        let mut room = waiting;
        let mut index = 0;
        while let Some(fault) = state.faults.get(index) {
            if fault.direction != direction {
                index += 1;
                continue;
            }
            let since = passed - fault.before.get(&connection).copied().unwrap_or(0);
            let left = fault.after.saturating_sub(since);
            if left > 0 || (waiting == 0 && fault.after == 0) {
                room = room.min(usize::try_from(left).unwrap_or(usize::MAX));
                index += 1;
            } else {
                let Armed { stage, action, .. } = state.faults.remove(index);
                if strike(&stage, action) {
                    state.holding.retain(|stage| stage.borrow().is_holding());
                    state.holding.push(Arc::clone(&stage));
                    return Step::Strike(action, stage);
                }
            }
        }
        Step::Pass(room)
    }

    /// Lets bytes pass, and counts them before anybody can ask: what was answered was counted.
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
            stage.send_if_modified(|stage| stage.turn(Stage::Released));
        }
    }

    /// Returns how many bytes have passed, on all connections.
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

/// Lets an armed fault strike; returns whether it did, and had not been disarmed.
fn strike(stage: &watch::Sender<Stage>, action: Action) -> bool {
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
