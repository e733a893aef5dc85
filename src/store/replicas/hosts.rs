use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::board::Board;
use super::server::WatchedServer;
use super::watcher::{WatchedKind, Watcher};
use crate::log_name::LogName;
use crate::pool::LogIdentity;
use crate::telemetry::StoreTelemetry;
use crate::{Config, Error};

/// The watchers of the hosts of a read-write store, which notice a promotion.
///
/// A store with a single host has none: they would tell no more than each new connection does.
pub(in crate::store) struct HostWatchers(Vec<Watcher>);

impl HostWatchers {
    pub(in crate::store) fn new(
        config: &Config,
        log: &LogName,
        identity: &Arc<LogIdentity>,
        telemetry: &StoreTelemetry,
    ) -> Result<Self, Error> {
        let address = &config.servers.first().expect("a configuration names a server").address;
        if address.endpoints.len() == 1 {
            return Ok(Self(Vec::new()));
        }
        let board = Board::new();
        let watchers = address.hosts().map(|mut host| {
            if host.driver.get_application_name().is_none() {
                host.driver.application_name("eddyline primary");
            }
            // No caller gets one of its connections, so only attempts to connect are counted.
            let pool = telemetry.pool("primary");
            // A host may be a standby, and its watcher writes nothing.
            let server = WatchedServer::new(config, log, identity, "primary", host.into(), pool)?;
            Ok(Watcher {
                server,
                board: board.clone(),
                log: log.clone(),
                interval: config.watch_interval,
                kind: WatchedKind::Host,
                telemetry: telemetry.clone(),
            })
        });
        watchers.collect::<Result<_, _>>().map(Self)
    }

    /// Asks each host once, and begins to watch it. A host that does not answer soon is not waited
    /// for.
    ///
    /// Fails if a host has another log.
    pub(in crate::store) async fn connect(&self) -> Result<(), Error> {
        let ask = async |watcher: &Watcher| {
            let mut session = None;
            let asked = timeout(LONGEST_WAIT, watcher.observe(&mut session)).await;
            let is_answered = matches!(asked, Ok(Ok(_)));
            watcher.start(session.filter(|_| is_answered));
            match asked {
                Ok(Err(error @ Error::OtherLog { .. })) => Err(error),
                _ => Ok(()),
            }
        };
        join_all(self.0.iter().map(ask)).await.into_iter().collect()
    }

    /// Watches the hosts again whose watchers' runtime has ended.
    pub(in crate::store) fn ensure_running(&self) {
        for watcher in self.0.iter().filter(|watcher| !watcher.server.watch.is_running()) {
            watcher.start(None);
        }
    }
}

impl Drop for HostWatchers {
    fn drop(&mut self) {
        for watcher in &self.0 {
            watcher.server.watch.stop();
        }
    }
}

/// How long connecting waits for the answers of hosts other than the primary.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
