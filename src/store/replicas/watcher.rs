use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::board::Board;
use super::server::{ServerState, WatchedServer};
use super::ticks::{Ticks, sleep_until};
use super::watch::Watch;
use crate::log_name::LogName;
use crate::pool::{Session, fetch_row};
use crate::sql::{self, Observation};
use crate::{Error, Role, schema};

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
    /// Whether a server that refuses connections is tried again only after the pause for which it
    /// is left out.
    pub(super) has_pauses: bool,
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
                Err(_) => self.server.update(&self.board, |known, now| known.health.refused(now)),
            }
            self.pause(began, session.is_some(), &mut ticks).await;
        }
    }

    /// Asks for the server's state. Returns whether its head has moved.
    pub(super) async fn observe(&self, session: &mut Option<Session>) -> Result<bool, Error> {
        self.server.watch.take_demand();
        let sent_at = Instant::now();
        let is_connected = session.is_some();
        let answer = {
            let mut answer = pin!(self.ask(session));
            tokio::select! {
                biased;
                answer = &mut answer => answer,
                () = self.silence(sent_at, is_connected) => {
                    self.server.update(&self.board, |known, now| known.health.silent(now));
                    answer.await
                }
            }
        };
        let state = answer.inspect_err(|_| {
            session.take_if(|session| session.is_spent());
        })?;
        let before = self.server.known().head();
        self.server.observed(&self.board, state, sent_at);
        Ok(before != Some(state.head))
    }

    async fn ask(&self, session: &mut Option<Session>) -> Result<ServerState, Error> {
        let session = match session {
            Some(session) => session,
            None => session.insert(self.connect().await?),
        };
        let statement = sql::observe(&self.log);
        let handle = session.prepare(&statement.text).await?;
        session.start_clock();
        let row = timeout(LONGEST_WAIT, fetch_row(session.client(), &handle, &statement)).await;
        let row = row.map_err(|elapsed| {
            session.discard();
            session.server().lost(elapsed)
        })?;
        let row = row.map_err(|error| session.failed(error))?;
        let row = row.ok_or_else(|| session.server().unversioned())?;
        let observed = Observation::decode(&row).map_err(|error| session.failed(error))?;
        let pool = &self.server.pool;
        pool.recognize(observed.log_id)?;
        if observed.role() == Role::Primary {
            pool.identity().note_primary(session.server(), session.system(), observed.timeline);
        }
        Ok(ServerState { head: observed.head, role: observed.role() })
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
                out_until.filter(|_| self.has_pauses).unwrap_or(regular)
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

/// How long a server may be silent while no read asks whether it is alive.
const LONG_SILENCE: Duration = Duration::from_secs(1);
/// The shortest time between attempts to connect.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(250);
/// The pause between observations of a host while callers wait for a primary.
const SEEKING_INTERVAL: Duration = Duration::from_millis(20);
/// How long an answer is waited for until another connection is tried.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
