use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::board::Board;
use super::choice::{Load, cost};
use super::health::Health;
use super::patience::Patience;
use super::staleness::PrimaryHeads;
use super::watch::Watch;
use crate::log_name::LogName;
use crate::pool::{LogIdentity, Pool};
use crate::server::Server;
use crate::sql::EpochList;
use crate::telemetry::PoolTelemetry;
use crate::{Bookmark, Config, Error, Replica, ReplicaState, ReplicaStatus, Role, SequenceNumber};

/// A server of a read-only store, with what the store knows of it.
pub(super) struct WatchedServer {
    pub(super) pool: Pool,
    pub(super) replica: Replica,
    in_flight: AtomicUsize,
    /// [`Load::given`].
    given: AtomicU64,
    known: Mutex<Known>,
    pub(super) watch: Watch,
    /// The heads that the watcher has seen, if the server is the primary.
    heads: watch::Sender<PrimaryHeads>,
}

/// What is known of a server.
pub(super) struct Known {
    pub(super) health: Health,
    pub(super) patience: Patience,
    pub(super) epochs: Option<Arc<EpochList>>,
    /// Why the server must not be read from, although it answers.
    fault: Option<ReplicaState>,
    /// Whether the server was a replica, and is expected to be one.
    was_replica: bool,
    last: Option<LastAnswer>,
}

/// What the last answer of a server said.
#[derive(Clone, Copy)]
struct LastAnswer {
    state: ServerState,
    received_at: Instant,
}

/// The state of a server in one of its answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerState {
    pub(super) head: Bookmark,
    pub(super) role: Role,
}

impl WatchedServer {
    /// Makes the server of a replica's address. No connection is opened yet.
    pub(super) fn new(
        config: &Config,
        log: &LogName,
        identity: &Arc<LogIdentity>,
        name: impl Into<Arc<str>>,
        replica: Replica,
        telemetry: PoolTelemetry,
    ) -> Result<Arc<Self>, Error> {
        let server = Arc::new(Server::new(Role::Replica, name, &replica.address, log));
        let pool = Pool::of_server(config, &replica.address, server, identity.clone(), telemetry)?;
        let known = Known {
            health: Health::up(Instant::now()),
            patience: Patience::default(),
            epochs: None,
            fault: None,
            was_replica: false,
            last: None,
        };
        Ok(Arc::new(Self {
            pool,
            replica,
            in_flight: AtomicUsize::new(0),
            given: AtomicU64::new(0),
            known: Mutex::new(known),
            watch: Watch::default(),
            heads: watch::Sender::new(PrimaryHeads::default()),
        }))
    }

    /// Returns whether the server is read from only if no other is left.
    pub(super) fn is_spare(&self) -> bool {
        self.replica.weight == 0.0
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn load(&self) -> Load {
        Load {
            in_flight: self.in_flight.load(Ordering::Relaxed),
            weight: if self.is_spare() { 1.0 } else { self.replica.weight },
            given: self.given.load(Ordering::Relaxed),
        }
    }

    /// Counts a read that is given to the server. A server that had no reads for a while is not
    /// given those that it missed.
    pub(super) fn give(&self, board: &Board) {
        let load = self.load();
        let given = board.advance_given(load.given);
        self.given.store(given + cost(load.weight), Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends a read that was given to the server.
    pub(super) fn release(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Records the answer to the watcher, and why the server must not be read from, if it must not.
    pub(super) fn observed(
        &self,
        board: &Board,
        state: ServerState,
        sent_at: Instant,
        fault: Option<ReplicaState>,
    ) {
        self.update(board, |known, now| {
            known.fault = fault;
            known.note(state, sent_at, now);
            known.patience.answered(now - sent_at);
            known.health.observed(now);
        });
    }

    /// Adds a head that the watcher has seen at the primary.
    pub(super) fn add_head(&self, sent_at: Instant, head: Bookmark) {
        self.heads.send_modify(|heads| heads.add(sent_at, head));
    }

    /// Subscribes to the heads that the watcher sees.
    pub(super) fn heads(&self) -> watch::Receiver<PrimaryHeads> {
        self.heads.subscribe()
    }

    /// Forgets the heads so far.
    pub(super) fn forget_heads(&self) {
        self.heads.send_modify(PrimaryHeads::clear);
    }

    /// Changes what is known, and tells the reads that wait for it.
    pub(super) fn update(&self, board: &Board, update: impl FnOnce(&mut Known, Instant)) {
        let mut known = self.known();
        let state = |known: &Known| {
            let epoch = known.head().and_then(Bookmark::epoch);
            (known.health.is_up(), known.health.is_out(), known.fault, epoch)
        };
        let (before, shown) = (state(&known), known.shown());
        let now = Instant::now();
        update(&mut known, now);
        let has_changed = before != state(&known);
        if shown != known.shown() {
            // While `known` is locked, so that a later answer is recorded later.
            board.progress.set(&self.pool.server().name, known.shown(), now);
        }
        let head = known.usable_head();
        drop(known);
        if has_changed {
            board.announce_change();
        }
        if let Some(head) = head {
            board.waiters.wake(head.position());
        }
    }

    pub(super) fn status(&self, newest: SequenceNumber) -> ReplicaStatus {
        let (server, known) = (self.pool.server(), self.known());
        let position = known.head().map(Bookmark::position);
        ReplicaStatus {
            name: server.name.to_string(),
            address: format!("{}:{}", server.host, server.port),
            role: known.last.map(|last| last.state.role),
            state: known.state(),
            position,
            behind: position.map(|position| newest.value().saturating_sub(position.value())),
            answered: known.last.map(|last| last.received_at.elapsed()),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            weight: self.replica.weight,
        }
    }
}

impl Known {
    /// Records an answer.
    fn note(&mut self, state: ServerState, sent_at: Instant, now: Instant) {
        // An answer that was under way while another one arrived may be older than that.
        let is_older = self.last.is_some_and(|last| {
            last.received_at > sent_at && last.state.head.position() > state.head.position()
        });
        if is_older {
            return;
        }
        self.last = Some(LastAnswer { state, received_at: now });
        match state.role {
            Role::Replica => self.was_replica = true,
            Role::Primary if self.was_replica => self.fault = Some(ReplicaState::Promoted),
            Role::Primary => {}
        }
    }

    /// Records why the server must not be read from.
    pub(super) fn exclude(&mut self, fault: ReplicaState) {
        self.fault = Some(fault);
    }

    pub(super) fn fault(&self) -> Option<ReplicaState> {
        self.fault
    }

    pub(super) fn is_excluded(&self) -> bool {
        self.fault.is_some()
    }

    pub(super) fn is_up(&self) -> bool {
        self.health.is_up() && !self.is_excluded()
    }

    pub(super) fn wants_trial(&self) -> bool {
        self.health.wants_trial() && !self.is_excluded()
    }

    /// Returns the position that the server is known to have reached.
    pub(super) fn head(&self) -> Option<Bookmark> {
        self.last.map(|last| last.state.head)
    }

    /// Returns the position that the server is known to have reached in the history of the store's
    /// log.
    fn shown(&self) -> Option<SequenceNumber> {
        let is_other = matches!(self.fault, Some(ReplicaState::Diverged | ReplicaState::OtherLog));
        self.head().map(Bookmark::position).filter(|_| !is_other)
    }

    /// Returns the position that reads may find at the server now.
    pub(super) fn usable_head(&self) -> Option<Bookmark> {
        self.head().filter(|_| self.is_up() || self.wants_trial())
    }

    fn state(&self) -> ReplicaState {
        match self.fault {
            Some(fault) => fault,
            None if self.health.is_up() => ReplicaState::Up,
            None if self.health.is_out() => ReplicaState::Out,
            None => ReplicaState::Probing,
        }
    }
}

/// A read that a server was given. Dropping it ends the read.
pub(in crate::store) struct GivenRead {
    pub(super) server: Arc<WatchedServer>,
    board: Arc<Board>,
    pub(super) began: Instant,
    /// Whether the read decides if the server is taken back, until it is known.
    is_trial: bool,
    /// Why the server is the primary, if it is the last resort.
    pub(super) fallback: Option<FallbackReason>,
}

/// Why a read uses the primary as the last resort.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FallbackReason {
    /// No replica has reached the position.
    Behind,
    /// No replica can be reached.
    Unreachable,
}

impl FallbackReason {
    /// Returns the name of the reason in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Behind => "behind",
            Self::Unreachable => "unreachable",
        }
    }
}

impl GivenRead {
    /// Gives a read to a server.
    pub(super) fn new(server: Arc<WatchedServer>, board: Arc<Board>) -> Self {
        server.give(&board);
        Self { server, board, began: Instant::now(), is_trial: false, fallback: None }
    }

    /// Marks the server as the last resort.
    pub(super) fn falling_back(mut self, reason: FallbackReason) -> Self {
        self.fallback = Some(reason);
        self
    }

    /// Makes this the read that decides whether the server is taken back. Returns `None` if there
    /// is another one.
    pub(super) fn into_trial(mut self) -> Option<Self> {
        self.is_trial = self.server.known().health.start_trial();
        self.is_trial.then_some(self)
    }

    /// Records that the server answered.
    pub(super) fn answered(&mut self, state: ServerState) {
        self.is_trial = false;
        let began = self.began;
        self.server.update(&self.board, |known, now| {
            known.note(state, began, now);
            known.health.read_succeeded(began, now);
        });
    }

    /// Records that the read failed.
    pub(in crate::store) fn failed(&mut self, error: &Error) {
        let (was_trial, began) = (std::mem::take(&mut self.is_trial), self.began);
        self.server.update(&self.board, |known, now| match error {
            // A pool without a free connection says nothing about the server.
            Error::PoolExhausted { .. } if was_trial => known.health.trial_abandoned(),
            Error::PoolExhausted { .. } => {}
            error if !error.is_of_server() && !matches!(error, Error::TimedOut { .. }) => {
                known.health.read_succeeded(began, now);
            }
            _ if was_trial => known.health.trial_failed(now),
            _ => known.health.read_failed(now),
        });
        self.server.watch.demand();
    }
}

impl Drop for GivenRead {
    fn drop(&mut self) {
        self.server.release();
        if self.is_trial {
            self.server.update(&self.board, |known, _| known.health.trial_abandoned());
            // Another read may begin the trial.
            self.board.announce_change();
        }
    }
}
