//! The servers of a store: what is known of them, and which one a read uses.

mod board;
mod choice;
mod first_seen;
mod fresh;
mod health;
mod hosts;
mod ledger;
mod patience;
mod progress;
mod route;
mod select;
mod server;
mod staleness;
mod ticks;
mod tried;
mod wait;
mod waiters;
mod watch;
mod watcher;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use futures_util::future::join_all;

use self::board::Board;
pub(in crate::store) use self::hosts::HostWatchers;
pub(in crate::store) use self::server::GivenRead;
use self::server::{ServerState, WatchedServer};
use self::watcher::{WatchedKind, Watcher};
use crate::address::{Address, TargetSession};
use crate::log_name::LogName;
use crate::pool::{LogIdentity, Pool};
use crate::server::Server;
use crate::telemetry::StoreTelemetry;
use crate::{Bookmark, Config, Error, Fallback, Replica, ReplicaStatus, SequenceNumber};

/// The servers of a read-only store.
pub(super) struct ReplicaSet {
    /// Never empty.
    servers: RwLock<Arc<[Arc<WatchedServer>]>>,
    primary: Option<(Arc<WatchedServer>, Fallback)>,
    board: Arc<Board>,
    config: Config,
    log: LogName,
    identity: Arc<LogIdentity>,
    names: AtomicUsize,
    telemetry: StoreTelemetry,
}

impl ReplicaSet {
    pub(super) fn new(
        config: &Config,
        log: &LogName,
        telemetry: StoreTelemetry,
    ) -> Result<Self, Error> {
        let mut set = Self {
            servers: RwLock::new(Arc::new([])),
            primary: None,
            board: Board::new(),
            config: config.clone(),
            log: log.clone(),
            identity: Arc::default(),
            names: AtomicUsize::new(0),
            telemetry,
        };
        let progress = Arc::downgrade(&set.board.progress);
        set.telemetry.observe_replicas(progress);
        for replica in &config.servers {
            let server = set.server(replica)?;
            set.insert(server)?;
        }
        if let Some((address, fallback)) = &config.primary {
            let primary = set.primary_server(address)?;
            set.board.progress.add(&primary.pool.server().name, false);
            set.primary = Some((primary, *fallback));
            if *fallback != Fallback::Never {
                set.telemetry.announce_fallbacks();
            }
        }
        Ok(set)
    }

    /// Makes the primary, whose sessions are read-only like those of the replicas.
    fn primary_server(&self, address: &Address) -> Result<Arc<WatchedServer>, Error> {
        let mut address = address.clone();
        address.target_session = match address.target_session {
            TargetSession::Any | TargetSession::Primary | TargetSession::ReadWrite => {
                TargetSession::Primary
            }
            TargetSession::PreferStandby | TargetSession::ReadOnly | TargetSession::Standby => {
                let reason = "target_session_attrs asks for a server that is not the primary";
                return Err(Error::invalid_config("primary", reason));
            }
        };
        self.watched("primary".into(), address.into())
    }

    /// Makes a server with a name that no other one had.
    fn server(&self, replica: &Replica) -> Result<Arc<WatchedServer>, Error> {
        let name = format!("replica-{}", self.names.fetch_add(1, Ordering::Relaxed));
        self.watched(name, replica.clone())
    }

    fn watched(&self, name: String, replica: Replica) -> Result<Arc<WatchedServer>, Error> {
        let telemetry = self.telemetry.pool(&name);
        let (config, log, identity) = (&self.config, &self.log, &self.identity);
        let server = WatchedServer::new(config, log, identity, name, replica, telemetry)?;
        server.pool.observe();
        Ok(server)
    }

    fn servers(&self) -> Arc<[Arc<WatchedServer>]> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Arc<[Arc<WatchedServer>]>> {
        self.servers.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn primary(&self) -> Option<&Arc<WatchedServer>> {
        self.primary.as_ref().map(|(primary, _)| primary)
    }

    /// Returns the pools of the replicas, and then that of the primary if it is known.
    pub(super) fn pools(&self) -> Vec<Pool> {
        let servers = self.servers();
        servers.iter().chain(self.primary()).map(|server| server.pool.clone()).collect()
    }

    /// Connects to the servers, and begins to watch them. At least one must answer and hold the
    /// log.
    pub(super) async fn connect(&self) -> Result<(), Error> {
        let replicas = self.servers();
        let servers: Vec<_> = replicas.iter().chain(self.primary()).collect();
        let connect = async |server: &&Arc<WatchedServer>| self.watcher(server).connect().await;
        let mut outcomes = join_all(servers.iter().map(connect)).await;
        let is_other_log = |one: &Result<_, _>| matches!(one, Err(Error::OtherLog { .. }));
        if let Some(other) = outcomes.iter().position(is_other_log) {
            return outcomes.swap_remove(other).map(drop);
        }
        if outcomes[..replicas.len()].iter().all(Result::is_err) {
            return outcomes.swap_remove(0).map(drop);
        }
        for (server, outcome) in servers.into_iter().zip(outcomes) {
            if outcome.is_err() {
                server.update(&self.board, |known, now| known.health.refused(now));
            }
            self.watcher(server).start(outcome.ok());
        }
        Ok(())
    }

    /// Connects to another server, and begins to read from it. Returns its name.
    pub(super) async fn add(&self, replica: &Replica) -> Result<String, Error> {
        replica.check()?;
        let server = self.server(replica)?;
        check_new(&server, &self.servers())?;
        let session = self.watcher(&server).connect().await?;
        self.insert(server.clone())?;
        self.watcher(&server).start(Some(session));
        self.board.announce_change();
        self.telemetry.announce(server.pool.server());
        Ok(server.pool.server().name.to_string())
    }

    fn insert(&self, server: Arc<WatchedServer>) -> Result<(), Error> {
        let mut servers = self.write();
        check_new(&server, &servers)?;
        self.telemetry.announce_replica(server.pool.server());
        self.board.progress.add(&server.pool.server().name, true);
        *servers = servers.iter().cloned().chain([server]).collect();
        Ok(())
    }

    /// Begins no more reads on a server. Those that have begun go on.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        let mut servers = self.write();
        let named = |server: &&Arc<WatchedServer>| *server.pool.server().name == *name;
        let Some(removed) = servers.iter().find(named).cloned() else {
            let names: Vec<_> = servers.iter().map(|one| &*one.pool.server().name).collect();
            let reason = format!("{name:?} is none of {}", names.join(", "));
            return Err(Error::invalid_config("replica", reason));
        };
        if servers.len() == 1 {
            let reason = format!("{name} is the last one: add another one first");
            return Err(Error::invalid_config("replica", reason));
        }
        *servers = servers.iter().filter(|server| !named(server)).cloned().collect();
        drop(servers);
        removed.watch.stop();
        self.board.ledger().remove(&removed.pool.server().name);
        self.board.progress.remove(&removed.pool.server().name);
        self.board.announce_change();
        Ok(())
    }

    pub(super) fn first_server(&self) -> Arc<Server> {
        self.servers()[0].pool.server().clone()
    }

    fn watcher(&self, server: &Arc<WatchedServer>) -> Watcher {
        let is_primary = self.primary().is_some_and(|primary| Arc::ptr_eq(primary, server));
        let kind = if is_primary { WatchedKind::Primary } else { WatchedKind::Replica };
        Watcher {
            server: server.clone(),
            board: self.board.clone(),
            log: self.log.clone(),
            interval: self.config.watch_interval,
            kind,
            telemetry: self.telemetry.clone(),
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
        let known = servers.iter().chain(self.primary());
        let heads = known.filter_map(|server| server.known().head()).map(Bookmark::position);
        let newest = heads.max().unwrap_or(SequenceNumber::ZERO);
        servers.iter().map(|server| server.status(newest)).collect()
    }
}

impl Drop for ReplicaSet {
    fn drop(&mut self) {
        for server in self.servers().iter().chain(self.primary()) {
            server.watch.stop();
        }
        // Reads in flight keep what is known of the servers, which grows old.
        self.board.progress.clear();
    }
}

/// Refuses a server that the store reads from already.
fn check_new(new: &WatchedServer, servers: &[Arc<WatchedServer>]) -> Result<(), Error> {
    let is_same =
        |server: &&Arc<WatchedServer>| server.replica.address.is_same_server(&new.replica.address);
    match servers.iter().find(is_same) {
        Some(server) => {
            let reason = format!("{} is named twice", server.pool.server());
            Err(Error::invalid_config("replica", reason))
        }
        None => Ok(()),
    }
}
