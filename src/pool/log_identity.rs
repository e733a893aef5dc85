use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use crate::Role;
use crate::server::Server;

/// What a store knows of its log, by which it tells other logs and former primaries apart. All
/// pools of the store share it.
#[derive(Debug, Default)]
pub(crate) struct LogIdentity {
    id: OnceLock<Uuid>,
    newest_timeline: AtomicU32,
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

    /// Notes the timeline of a primary. Connections to primaries of lower timelines are not used
    /// any more: a standby was promoted, and a primary that still runs on its former timeline is
    /// alone.
    pub(crate) fn note_timeline(&self, timeline: u32) {
        self.newest_timeline.fetch_max(timeline, Ordering::Relaxed);
    }

    fn newest_timeline(&self) -> u32 {
        self.newest_timeline.load(Ordering::Relaxed)
    }
}

/// The timeline on which a server was when a connection to it was made.
pub(super) struct Timeline {
    number: u32,
    /// `None` for a replica, which may follow its primary to a newer timeline.
    identity: Option<Arc<LogIdentity>>,
}

impl Timeline {
    /// Creates the timeline of a new connection.
    pub(super) fn of_login(identity: &Arc<LogIdentity>, server: &Server, number: u32) -> Self {
        if server.role == Role::Replica {
            return Self { number, identity: None };
        }
        identity.note_timeline(number);
        Self { number, identity: Some(identity.clone()) }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Returns the newest timeline of a primary, if the connection leads to a former primary.
    pub(super) fn superseded_by(&self) -> Option<u32> {
        let newest = self.identity.as_ref()?.newest_timeline();
        (newest > self.number).then_some(newest)
    }
}
