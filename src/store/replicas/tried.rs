use std::sync::Arc;

use super::health::Symptom;
use super::server::WatchedServer;
use crate::{Bookmark, Error};

/// The servers that an attempt of a read has tried.
#[derive(Default)]
pub(super) struct Tried {
    servers: Vec<TriedServer>,
    /// Servers that have reached the position of the read, but do not know its epoch, with their
    /// own.
    other_epochs: Vec<(Arc<WatchedServer>, Bookmark)>,
    /// The last failure.
    pub(super) failure: Option<Error>,
}

struct TriedServer {
    server: Arc<WatchedServer>,
    /// Whether the server refused the connection, lost it, or did not answer.
    is_unreachable: bool,
}

impl Tried {
    /// Adds a server that failed, or that is behind although it is the last resort (`None`).
    pub(super) fn add(&mut self, server: Arc<WatchedServer>, failure: Option<Error>) {
        let is_unreachable = matches!(
            failure,
            Some(Error::ConnectionLost { .. } | Error::TimedOut { .. } | Error::Unreachable { .. })
        );
        self.servers.push(TriedServer { server, is_unreachable });
        self.failure = failure.or(self.failure.take());
    }

    /// Adds a server that does not know the epoch of the position, as its head showed.
    pub(super) fn add_other_epoch(&mut self, server: Arc<WatchedServer>, head: Bookmark) {
        self.other_epochs.push((server, head));
    }

    pub(super) fn contains(&self, server: &Arc<WatchedServer>) -> bool {
        self.servers.iter().any(|tried| Arc::ptr_eq(&tried.server, server))
    }

    /// Returns whether a server with this head is in the epoch in which it did not know that of the
    /// position.
    pub(super) fn lacks_epoch(&self, server: &Arc<WatchedServer>, head: Bookmark) -> bool {
        let mut others = self.other_epochs.iter();
        others.any(|(one, seen)| Arc::ptr_eq(one, server) && seen.epoch() == head.epoch())
    }

    /// Returns whether a server cannot be reached or must not be read from, as this read or the
    /// server's watcher has found.
    pub(super) fn shows_unreachable(&self, server: &Arc<WatchedServer>) -> bool {
        let mut tried = self.servers.iter().filter(|tried| Arc::ptr_eq(&tried.server, server));
        let known = server.known();
        tried.any(|tried| tried.is_unreachable)
            || known.is_excluded()
            || matches!(known.health.symptom(), Some(Symptom::Refusal | Symptom::Silence))
    }
}
