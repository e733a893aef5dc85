use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::server::Server;

/// What a store knows of its log, by which it tells other logs and former primaries apart. All
/// pools and watchers of the store share it.
#[derive(Default)]
pub(crate) struct LogIdentity {
    id: OnceLock<Uuid>,
    /// The timelines of each cluster. A copy of the log may be on another cluster, whose timelines
    /// begin anew.
    timelines: Mutex<HashMap<SystemId, ClusterTimelines>>,
    newest: watch::Sender<NewestPrimary>,
    connections: Mutex<Vec<PrimaryConnection>>,
    /// How many callers wait for a primary after an attempt to connect failed.
    seekers: watch::Sender<usize>,
}

/// The identifier of a cluster of servers, each of which is a physical copy of another.
pub(crate) type SystemId = i64;

/// The highest timelines of a cluster.
#[derive(Default)]
struct ClusterTimelines {
    newest: Arc<AtomicU32>,
    /// That of a primary that was seen. A standby may show a promotion before the promoted server
    /// is seen.
    of_primary: u32,
}

/// The primary whose promotion was noted last.
#[derive(Clone, Default)]
pub(super) struct NewestPrimary {
    /// How many promotions were noted.
    pub(super) promotions: u32,
    server: Option<(Arc<str>, u16)>,
    /// The cluster of the first primary. The primary of another one was not promoted: it has a copy
    /// of the log.
    system: Option<SystemId>,
}

impl NewestPrimary {
    /// Returns whether a host of the store's address is this primary.
    pub(super) fn is_at(&self, host: &Server) -> bool {
        self.server.as_ref().is_some_and(|(name, port)| *name == host.host && *port == host.port)
    }
}

/// A connection to a primary, and the task that receives its messages.
struct PrimaryConnection {
    system: SystemId,
    timeline: u32,
    task: AbortHandle,
}

impl LogIdentity {
    /// Returns the log's identity, once a server has told it.
    pub(crate) fn id(&self) -> Option<Uuid> {
        self.id.get().copied()
    }

    /// Sets the log's identity, unless it is known. Returns the known one.
    pub(crate) fn learn(&self, id: Uuid) -> Uuid {
        *self.id.get_or_init(|| id)
    }

    /// Notes the timeline of a primary that has the log.
    pub(crate) fn note_primary(&self, server: &Server, system: SystemId, timeline: u32) {
        self.note_timeline(system, timeline);
        let mut timelines = self.timelines();
        let known = timelines.entry(system).or_default();
        if known.of_primary >= timeline || known.newest.load(Ordering::SeqCst) > timeline {
            return;
        }
        known.of_primary = timeline;
        self.newest.send_if_modified(|primary| {
            let is_of_cluster = *primary.system.get_or_insert(system) == system;
            if is_of_cluster {
                primary.promotions += 1;
                primary.server = Some((server.host.clone(), server.port));
            }
            is_of_cluster
        });
    }

    /// Notes the timeline of a server, or one that a promotion must have begun. If it is the
    /// highest of its cluster so far, a standby was promoted, and a primary that still runs on a
    /// lower timeline is alone: the connections to it are closed. The requests on them fail as with
    /// any lost connection.
    pub(crate) fn note_timeline(&self, system: SystemId, timeline: u32) {
        let newest = self.newest_timeline(system);
        if newest.fetch_max(timeline, Ordering::SeqCst) >= timeline {
            return;
        }
        let is_former = |one: &&PrimaryConnection| one.system == system && one.timeline < timeline;
        for connection in self.connections().iter().filter(is_former) {
            connection.task.abort();
        }
    }

    /// Returns the highest timeline of a cluster that was noted.
    pub(crate) fn newest_timeline(&self, system: SystemId) -> Arc<AtomicU32> {
        self.timelines().entry(system).or_default().newest.clone()
    }

    fn timelines(&self) -> MutexGuard<'_, HashMap<SystemId, ClusterTimelines>> {
        self.timelines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to promotions.
    pub(super) fn newest(&self) -> watch::Receiver<NewestPrimary> {
        self.newest.subscribe()
    }

    /// Makes the store look for a primary often, until the guard is dropped.
    pub(super) fn seek(&self) -> Seeker<'_> {
        self.seekers.send_modify(|seekers| *seekers += 1);
        Seeker(self)
    }

    /// Returns whether callers wait for a primary.
    pub(crate) fn is_sought(&self) -> bool {
        *self.seekers.borrow() > 0
    }

    /// Waits until a caller waits for a primary.
    pub(crate) async fn sought(&self) {
        // The sender lives as long as `self`.
        let _ = self.seekers.subscribe().wait_for(|seekers| *seekers > 0).await;
    }

    fn connections(&self) -> MutexGuard<'_, Vec<PrimaryConnection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that waits for a primary.
pub(super) struct Seeker<'a>(&'a LogIdentity);

impl Drop for Seeker<'_> {
    fn drop(&mut self) {
        self.0.seekers.send_modify(|seekers| *seekers -= 1);
    }
}

/// The cluster of a server, and the timeline on which the server was when a connection to it was
/// made.
pub(super) struct Timeline {
    system: SystemId,
    number: u32,
    /// `None` if the server may be a standby, which follows its primary to a newer timeline.
    of_primary: Option<PrimaryTimeline>,
}

struct PrimaryTimeline {
    identity: Arc<LogIdentity>,
    /// The newest timeline of the cluster.
    newest: Arc<AtomicU32>,
}

impl Timeline {
    /// Creates the timeline of a connection to a primary.
    pub(super) fn of_primary(
        identity: &Arc<LogIdentity>,
        server: &Server,
        system: SystemId,
        number: u32,
    ) -> Self {
        identity.note_primary(server, system, number);
        let newest = identity.newest_timeline(system);
        let of_primary = Some(PrimaryTimeline { identity: identity.clone(), newest });
        Self { system, number, of_primary }
    }

    /// Creates the timeline of a connection to a server that may be a standby.
    pub(super) fn of_any(system: SystemId, number: u32) -> Self {
        Self { system, number, of_primary: None }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn system(&self) -> SystemId {
        self.system
    }

    /// Returns the newest timeline of a primary, if the connection leads to a former primary.
    pub(super) fn superseded_by(&self) -> Option<u32> {
        let newest = self.of_primary.as_ref()?.newest.load(Ordering::SeqCst);
        (newest > self.number).then_some(newest)
    }

    /// Ends the task of the connection once the connection leads to a former primary.
    pub(super) fn limit(&self, task: &AbortHandle) {
        let Some(PrimaryTimeline { identity, .. }) = &self.of_primary else { return };
        let mut connections = identity.connections();
        connections.retain(|one| !one.task.is_finished());
        let (system, timeline) = (self.system, self.number);
        connections.push(PrimaryConnection { system, timeline, task: task.clone() });
        drop(connections);
        // A promotion that was noted before the connection was added did not end its task.
        if self.superseded_by().is_some() {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Config, Role};

    fn server(port: u16) -> Server {
        let config = Config::new(&format!("postgres://127.0.0.1:{port}/library")).unwrap();
        let log = config.check().unwrap();
        Server::new(Role::Primary, "primary", &config.servers[0].address, &log)
    }

    /// Primaries in the order in which they are seen: the cluster, the timeline and the port of
    /// each.
    fn primaries() -> impl Strategy<Value = Vec<(SystemId, u32, u16)>> {
        prop::collection::vec((1..3_i64, 1..6_u32, 1..4_u16), 1..20)
    }

    proptest! {
        /// In whatever order primaries are seen: exactly the connections to those of the highest
        /// timeline of each cluster are left, and the newest primary is the first one that was seen
        /// on the highest timeline of the first cluster.
        #[test]
        fn connections_to_former_primaries_end(primaries in primaries()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let identity = Arc::new(LogIdentity::default());
                let mut connections = Vec::new();
                let (mut highest, mut newest) = (HashMap::new(), 0);
                for (system, number, port) in &primaries {
                    let timeline =
                        Timeline::of_primary(&identity, &server(*port), *system, *number);
                    let task = tokio::spawn(std::future::pending::<()>());
                    timeline.limit(&task.abort_handle());
                    connections.push((timeline, task));
                    if highest.get(system).is_none_or(|highest| number > highest) {
                        highest.insert(*system, *number);
                        newest = if *system == primaries[0].0 { *port } else { newest };
                    }
                }
                tokio::task::yield_now().await;

                for (timeline, task) in connections {
                    let is_former = timeline.number() < highest[&timeline.system()];
                    assert_eq!(timeline.superseded_by().is_some(), is_former);
                    assert_eq!(task.is_finished(), is_former);
                }
                assert!(identity.newest().borrow().is_at(&server(newest)));
            });
        }
    }
}
