//! The servers of a read-only store: what is known of them, and which one a read uses.

mod board;
mod choice;
mod health;
mod patience;
mod route;
mod server;
mod ticks;
mod waiters;
mod watch;
mod watcher;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;

use self::board::Board;
pub(in crate::store) use self::server::GivenRead;
use self::server::{ServerState, WatchedServer};
use self::watcher::Watcher;
use crate::log_name::LogName;
use crate::pool::{LogIdentity, Pool};
use crate::server::Server;
use crate::{Bookmark, Config, Error, Replica, ReplicaStatus, Role, SequenceNumber};

/// The servers of a read-only store.
pub(super) struct ReplicaSet {
    /// Never empty.
    servers: RwLock<Arc<[Arc<WatchedServer>]>>,
    board: Arc<Board>,
    config: Config,
    log: LogName,
    identity: Arc<LogIdentity>,
    names: AtomicUsize,
    wait: Duration,
}

impl ReplicaSet {
    pub(super) fn new(config: &Config, log: &LogName) -> Result<Self, Error> {
        let set = Self {
            servers: RwLock::new(Arc::new([])),
            board: Board::new(),
            config: config.clone(),
            log: log.clone(),
            identity: Arc::default(),
            names: AtomicUsize::new(0),
            wait: config.replica_timeout,
        };
        let servers: Result<_, _> = config.servers.iter().map(|one| set.server(one)).collect();
        *set.servers.write().unwrap_or_else(PoisonError::into_inner) = servers?;
        Ok(set)
    }

    /// Makes a server with a name that no other one had.
    fn server(&self, replica: &Replica) -> Result<Arc<WatchedServer>, Error> {
        let name = format!("replica-{}", self.names.fetch_add(1, Ordering::Relaxed));
        let server = Arc::new(Server::new(Role::Replica, name, &replica.address, &self.log));
        let pool = Pool::of_server(&self.config, &replica.address, server, self.identity.clone())?;
        Ok(Arc::new(WatchedServer::new(pool, replica.weight)))
    }

    fn servers(&self) -> Arc<[Arc<WatchedServer>]> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn len(&self) -> usize {
        self.servers().len()
    }

    /// Returns the pools of the servers.
    pub(super) fn pools(&self) -> Vec<Pool> {
        self.servers().iter().map(|server| server.pool.clone()).collect()
    }

    /// Connects to the servers, and begins to watch them. At least one must answer and hold the
    /// log.
    pub(super) async fn connect(&self) -> Result<(), Error> {
        let servers = self.servers();
        let watchers = servers.iter().map(|server| self.watcher(server));
        let outcomes = join_all(watchers.map(async |watcher| watcher.connect().await)).await;
        let is_other_log = |one: &Result<_, _>| matches!(one, Err(Error::OtherLog { .. }));
        let has_other_log = outcomes.iter().any(is_other_log);
        if has_other_log || outcomes.iter().all(Result::is_err) {
            let mut failed = outcomes.into_iter().filter(|one| !has_other_log || is_other_log(one));
            return failed.next().expect("a store has a server").map(drop);
        }
        for (server, outcome) in servers.iter().zip(outcomes) {
            if outcome.is_err() {
                server.update(&self.board, |known, now| known.health.refused(now));
            }
            self.watcher(server).start(outcome.ok());
        }
        Ok(())
    }

    pub(super) fn first_server(&self) -> Arc<Server> {
        self.servers()[0].pool.server().clone()
    }

    fn watcher(&self, server: &Arc<WatchedServer>) -> Watcher {
        Watcher {
            server: server.clone(),
            board: self.board.clone(),
            log: self.log.clone(),
            interval: self.config.watch_interval,
        }
    }

    /// Watches a server again if the runtime of its watcher has ended.
    fn ensure_watched(&self, server: &Arc<WatchedServer>) {
        if !server.watch.is_running() {
            self.watcher(server).start(None);
        }
    }

    /// Returns the state of each server.
    pub(super) fn statuses(&self) -> Vec<ReplicaStatus> {
        let servers = self.servers();
        let heads =
            servers.iter().filter_map(|server| server.known().head()).map(Bookmark::position);
        let newest = heads.max().unwrap_or(SequenceNumber::ZERO);
        servers.iter().map(|server| server.status(newest)).collect()
    }
}

impl Drop for ReplicaSet {
    fn drop(&mut self) {
        for server in self.servers().iter() {
            server.watch.stop();
        }
    }
}
