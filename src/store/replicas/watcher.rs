use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_postgres::Row;

use super::board::Board;
use super::ledger::ServerView;
use super::server::{Known, ServerState, WatchedServer};
use super::ticks::{Ticks, sleep_until};
use super::watch::Watch;
use crate::log_name::LogName;
use crate::pool::{Session, SystemId, fetch_row};
use crate::sql::{self, EpochList, Observation, Statement};
use crate::telemetry::StoreTelemetry;
use crate::{Error, ReplicaState, Role, schema};

/// The watcher of a server: asks it for its state, over a connection of its own.
///
/// It asks seldom, often while reads wait for a position, and at once if a read waits longer than
/// usual. It never has more than one statement under way.
#[derive(Clone)]
pub(super) struct Watcher {
    pub(super) server: Arc<WatchedServer>,
    pub(super) board: Arc<Board>,
    pub(super) log: LogName,
    /// The pause while no read waits.
    pub(super) interval: Duration,
    pub(super) kind: WatchedKind,
    pub(super) telemetry: StoreTelemetry,
}

/// The answer to a watcher.
struct WatchAnswer {
    observed: Observation,
    /// The cluster of the server.
    system: SystemId,
    sent_at: Instant,
}

/// What a watched server is for its store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum WatchedKind {
    /// A host of a read-write store's address. It is only watched for a promotion, and one that
    /// refuses connections is tried again without the pauses of a replica.
    Host,
    /// The primary of a read-only store, which is not one of its replicas.
    Primary,
    Replica,
}

impl Watcher {
    /// Starts to watch, unless the server is being watched. The session is one that has passed the
    /// check of the log.
    pub(super) fn start(&self, session: Option<Session>) {
        Watch::start(&self.server, || self.clone().run(session));
    }

    async fn run(self, mut session: Option<Session>) {
        let mut ticks = Ticks::new();
        loop {
            let began = Instant::now();
            let had_session = session.is_some();
            match self.observe(&mut session).await {
                Ok(has_moved) if has_moved => ticks.restart(),
                Ok(_) => {}
                // The connection may have ended for a reason of its own: the next one shows.
                Err(_) if had_session && session.is_none() => continue,
                Err(error) => self.fail(&error),
            }
            self.pause(began, session.is_some(), &mut ticks).await;
        }
    }

    /// Asks for the server's state. Returns whether its head has moved.
    pub(super) async fn observe(&self, session: &mut Option<Session>) -> Result<bool, Error> {
        self.server.watch.take_demand();
        session.take_if(|session| session.is_spent());
        let is_connected = session.is_some();
        let answer = {
            let mut answer = pin!(self.ask(session));
            tokio::select! {
                biased;
                answer = &mut answer => answer,
                () = self.silence(Instant::now(), is_connected) => {
                    self.update(|known, now| known.health.silent(now));
                    answer.await
                }
            }
        };
        let recorded = answer.and_then(|answer| self.record(&answer));
        session.take_if(|session| session.is_spent());
        recorded
    }

    /// Sends the question.
    async fn ask(&self, session: &mut Option<Session>) -> Result<WatchAnswer, Error> {
        let session = match session {
            Some(session) => session,
            None => session.insert(self.connect().await?),
        };
        let sent_at = Instant::now();
        let row = fetch(session, &sql::observe(&self.log)).await?;
        let observed = Observation::decode(&row).map_err(|error| session.failed(error))?;
        let pool = &self.server.pool;
        pool.recognize(observed.log_id)?;
        let (system, timeline) = (session.system(), observed.timeline);
        match observed.role() {
            Role::Primary => pool.identity().note_primary(session.server(), system, timeline),
            Role::Replica => pool.identity().note_timeline(system, timeline),
        }
        let (epochs, epoch) = (self.server.known().epochs.clone(), observed.head.epoch());
        if epochs.is_none_or(|list| epoch.is_some_and(|epoch| epoch != list.current)) {
            let row = fetch(session, &sql::epochs(&self.log)).await?;
            let epochs = EpochList::decode(&row).map_err(|error| session.failed(error))?;
            self.server.known().epochs = Some(Arc::new(epochs));
        }
        Ok(WatchAnswer { observed, system, sent_at })
    }

    /// Records an answer. Returns whether the head has moved. Fails if the server cannot be used.
    fn record(&self, answer: &WatchAnswer) -> Result<bool, Error> {
        let WatchAnswer { observed, sent_at, .. } = answer;
        let (pool, head) = (&self.server.pool, observed.head);
        let fault = match self.kind {
            WatchedKind::Host => None,
            WatchedKind::Primary | WatchedKind::Replica => self.judge(self.view(answer))?,
        };
        let before = self.server.known().head();
        let has_fallen = before.is_some_and(|before| head.position() < before.position());
        if has_fallen && self.kind == WatchedKind::Replica {
            self.telemetry.replica_fault(pool.server(), "backwards");
        }
        let state = ServerState { head, role: observed.role() };
        self.counting_faults(|| self.server.observed(&self.board, state, *sent_at, fault));
        if self.kind == WatchedKind::Primary && fault.is_none() {
            self.server.add_head(*sent_at, head);
        }
        Ok(before != Some(head))
    }

    /// Counts a reason not to read from the server that was found meanwhile.
    fn counting_faults(&self, update: impl FnOnce()) {
        let before = self.server.known().fault();
        update();
        let fault = self.server.known().fault().filter(|fault| before != Some(*fault));
        if let Some(fault) = fault.filter(|_| self.kind == WatchedKind::Replica) {
            self.telemetry.replica_fault(self.server.pool.server(), fault.as_str());
        }
    }

    /// Returns why the server must not be read from, if it must not.
    fn judge(&self, view: ServerView) -> Result<Option<ReplicaState>, Error> {
        if self.kind == WatchedKind::Primary {
            self.check_primary(&view)?;
        }
        Ok(self.board.ledger().judge(&self.server.pool.server().name, view))
    }

    fn view(&self, answer: &WatchAnswer) -> ServerView {
        let WatchAnswer { observed, system, sent_at } = *answer;
        let known = self.server.known();
        ServerView {
            head: observed.head,
            epochs: known.epochs.clone().expect("they are asked for before the first answer"),
            system,
            timeline: observed.timeline,
            role: observed.role(),
            started_at: observed.started_at,
            asked_at: sent_at,
            answered_at: Instant::now(),
            is_out: known.health.is_out(),
            is_primary: self.kind == WatchedKind::Primary,
        }
    }

    /// Fails if another server was promoted. The connection is closed then, so that the next one
    /// leads to that server if the address names it.
    fn check_primary(&self, view: &ServerView) -> Result<(), Error> {
        let (pool, system, timeline) = (&self.server.pool, view.system, view.timeline);
        if self.board.ledger().has_successor(view) {
            // The timeline of a promoted server is higher than all that it knew.
            pool.identity().note_timeline(system, timeline + 1);
        }
        let newest = pool.identity().newest_timeline(system).load(Ordering::SeqCst);
        if timeline >= newest {
            return Ok(());
        }
        // What it said of the log's head may have been outdated.
        self.server.forget_heads();
        Err(pool.server().superseded(timeline, newest))
    }

    /// Records that the server cannot be used.
    fn fail(&self, error: &Error) {
        self.board.ledger().leave_out(&self.server.pool.server().name);
        self.counting_faults(|| {
            self.update(|known, now| {
                known.health.refused(now);
                if matches!(error, Error::OtherLog { .. }) {
                    known.exclude(ReplicaState::OtherLog);
                }
            });
        });
    }

    fn update(&self, update: impl FnOnce(&mut Known, Instant)) {
        self.server.update(&self.board, update);
    }

    /// Connects to the server. Checks the log, unless the server has answered already.
    pub(super) async fn connect(&self) -> Result<Session, Error> {
        let pool = &self.server.pool;
        let session = pool.connect().await?;
        let is_known = self.server.known().head().is_some();
        pool.with_connect_timeout(async {
            if !is_known {
                let (log_id, _) = schema::check(&session, &self.log).await?;
                pool.recognize(log_id)?;
            }
            session.rename(" watcher").await
        })
        .await?;
        Ok(session)
    }

    /// Returns once the server has been silent for too long: if a read asks whether it is alive,
    /// for longer than it usually takes.
    async fn silence(&self, sent_at: Instant, is_connected: bool) {
        let watch = &self.server.watch;
        let long = tokio::time::sleep_until(sent_at + LONG_SILENCE);
        if !is_connected {
            return long.await;
        }
        tokio::select! {
            () = long => return,
            () = watch.concerned() => {}
        }
        let patience = self.server.known().patience.duration();
        let mut ends = sent_at + patience;
        loop {
            tokio::time::sleep_until(ends).await;
            // If the timer is late, the runtime stood still, and the answer may have arrived.
            let late = ends.elapsed();
            if late < patience / 2 {
                return;
            }
            ends = Instant::now() + patience / 2;
        }
    }

    /// Waits until the next observation is due.
    async fn pause(&self, last: Instant, is_connected: bool, ticks: &mut Ticks) {
        let (watch, identity) = (&self.server.watch, self.server.pool.identity());
        let mut is_idle = true;
        let mut sleep = pin!(sleep_until(last));
        let mut sleeps_until = last;
        loop {
            let (out_until, patience) = {
                let known = self.server.known();
                (known.health.out_until(), known.patience.duration())
            };
            let is_awaited = !self.board.waiters.is_empty();
            let is_sought = identity.is_sought();
            let due = if !is_connected {
                let regular = last + self.interval.max(RECONNECT_INTERVAL);
                out_until.filter(|_| self.kind != WatchedKind::Host).unwrap_or(regular)
            } else if is_sought {
                last + SEEKING_INTERVAL.min(self.interval)
            } else if watch.is_demanded() {
                last + Ticks::SHORTEST
            } else if is_awaited {
                if std::mem::take(&mut is_idle) {
                    ticks.arrive();
                }
                last + ticks.pause()
            } else if watch.is_concerned() {
                last + 5 * patience
            } else {
                ticks.restart();
                let due = last + self.interval;
                out_until.filter(|until| *until > last).map_or(due, |until| due.min(until))
            };
            // Reads that arrive do not begin the sleep anew: it may occupy a thread.
            if due != sleeps_until {
                sleep.set(sleep_until(due));
                sleeps_until = due;
            }
            tokio::select! {
                () = &mut sleep => {
                    if is_awaited {
                        ticks.grow();
                    }
                    return;
                }
                () = watch.woken() => is_idle = true,
                () = identity.sought(), if !is_sought => {}
            }
        }
    }
}

/// Sends a statement that returns a row.
async fn fetch(session: &mut Session, statement: &Statement<'_>) -> Result<Row, Error> {
    let handle = session.prepare(&statement.text).await?;
    session.start_clock();
    let row = timeout(LONGEST_WAIT, fetch_row(session.client(), &handle, statement)).await;
    let row = row.map_err(|elapsed| {
        session.discard();
        session.server().lost(elapsed)
    })?;
    let row = row.map_err(|error| session.failed(error))?;
    row.ok_or_else(|| session.server().unversioned())
}

/// How long a server may be silent while no read asks whether it is alive.
const LONG_SILENCE: Duration = Duration::from_secs(1);
/// The shortest time between attempts to connect.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(250);
/// The pause between observations of a host while callers wait for a primary.
const SEEKING_INTERVAL: Duration = Duration::from_millis(20);
/// How long an answer is waited for until another connection is tried.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
