use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::first_seen::FirstSeen;
use crate::SequenceNumber;
use crate::telemetry::{Observable, ReplicaLevels};

/// The head of each server of a store in its last answer, and since when the store has known of
/// each position. Metrics show how far each replica lies behind.
#[derive(Default)]
pub(super) struct Progress(Mutex<ServerHeads>);

#[derive(Default)]
struct ServerHeads {
    servers: Vec<ServerHead>,
    seen: FirstSeen,
}

struct ServerHead {
    name: Arc<str>,
    is_replica: bool,
    /// `None` until it has answered.
    head: Option<SequenceNumber>,
}

impl Progress {
    /// Adds a server. The primary has no lag, but tells what there is.
    pub(super) fn add(&self, name: &Arc<str>, is_replica: bool) {
        let server = ServerHead { name: name.clone(), is_replica, head: None };
        self.heads().servers.push(server);
    }

    pub(super) fn remove(&self, name: &str) {
        self.heads().servers.retain(|server| *server.name != *name);
    }

    /// Removes all servers, because their store ends.
    pub(super) fn clear(&self) {
        self.heads().servers.clear();
    }

    /// Sets the head of a server. Calls for one server are made in the order of its answers.
    pub(super) fn set(&self, name: &str, head: Option<SequenceNumber>, now: Instant) {
        let mut heads = self.heads();
        let Some(server) = heads.servers.iter_mut().find(|server| *server.name == *name) else {
            return;
        };
        server.head = head;
        if let Some(newest) = heads.newest() {
            heads.seen.note(newest, now);
        }
    }

    fn heads(&self) -> MutexGuard<'_, ServerHeads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerHeads {
    fn newest(&self) -> Option<SequenceNumber> {
        self.servers.iter().filter_map(|server| server.head).max()
    }

    fn levels(&self, server: &ServerHead, now: Instant) -> Option<ReplicaLevels> {
        let (head, newest) = (server.head?, self.newest()?);
        let is_behind = head < newest;
        let since = is_behind.then(|| self.seen.since(head)).flatten();
        Some(ReplicaLevels {
            name: server.name.clone(),
            lag: newest.value() - head.value(),
            delay: since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
        })
    }
}

impl Observable<Vec<ReplicaLevels>> for Progress {
    fn state(&self) -> Vec<ReplicaLevels> {
        let (heads, now) = (self.heads(), Instant::now());
        let replicas = heads.servers.iter().filter(|server| server.is_replica);
        replicas.filter_map(|server| heads.levels(server, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct ObservedServers {
        progress: Progress,
        now: Instant,
    }

    impl ObservedServers {
        fn new() -> Self {
            let progress = Progress::default();
            progress.add(&"primary".into(), false);
            progress.add(&"replica-0".into(), true);
            progress.add(&"replica-1".into(), true);
            Self { progress, now: Instant::now() }
        }

        fn set(&self, name: &str, head: u64, second: u32) {
            let head = Some(SequenceNumber::new(head));
            self.progress.set(name, head, self.now + SECOND * second);
        }

        /// Returns the lag and the delay in seconds of each replica that has answered.
        fn at(&self, second: u32) -> Vec<(u64, u64)> {
            let (heads, now) = (self.progress.heads(), self.now + SECOND * second);
            let levels = heads.servers[1..].iter().filter_map(|one| heads.levels(one, now));
            levels.map(|one| (one.lag, one.delay.as_secs())).collect()
        }
    }

    #[test]
    fn a_replica_that_has_not_answered_has_no_lag() {
        let servers = ObservedServers::new();
        servers.set("primary", 10, 0);

        servers.set("replica-1", 7, 1);

        assert_eq!(servers.at(4), [(3, 4)]);
    }

    #[test]
    fn the_delay_is_that_of_the_oldest_position_that_is_missing() {
        let servers = ObservedServers::new();
        for (second, head) in [(0, 10), (1, 20), (2, 30)] {
            servers.set("primary", head, second);
        }

        let mut seen = Vec::new();
        for (head, other) in [(5, 19), (10, 20), (25, 30)] {
            servers.set("replica-0", head, 3);
            servers.set("replica-1", other, 3);
            seen.push(servers.at(9));
        }

        let expected = [[(25, 9), (11, 8)], [(20, 8), (10, 7)], [(5, 7), (0, 0)]];
        assert_eq!(seen, expected);
    }

    /// A failover has lost positions 11 to 20.
    #[test]
    fn lost_positions_are_not_missing_at_a_replica() {
        let servers = ObservedServers::new();
        servers.set("replica-0", 10, 0);
        servers.set("replica-1", 10, 0);
        servers.set("primary", 20, 1);

        servers.set("primary", 10, 2);
        let before = servers.at(9);
        servers.set("primary", 11, 5);

        assert_eq!((before, servers.at(9)), (vec![(0, 0); 2], vec![(1, 4); 2]));
    }

    #[test]
    fn a_server_that_is_removed_counts_no_more() {
        let servers = ObservedServers::new();
        servers.set("replica-0", 10, 0);
        servers.set("replica-1", 20, 0);
        let before = servers.at(1);

        servers.progress.remove("replica-1");
        // The answer to a read that had begun before.
        servers.set("replica-1", 30, 1);

        assert_eq!((before, servers.at(1)), (vec![(10, 1), (0, 0)], vec![(0, 0)]));
    }
}
