use std::sync::{Mutex, MutexGuard, PoisonError};

use super::session::Session;

/// A process of the server, at the other end of a connection.
///
/// Its number alone may be another's later on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Backend {
    pub(super) process: i64,
    /// In microseconds since 1970.
    pub(super) started: i64,
}

/// The processes at the other end of connections that were lost, or given up without an answer.
///
/// Such a process may not know yet that nobody listens any more, and may hold the log's lock while
/// it waits for the rest of what was to be sent. Whoever gets the next connection ends it.
#[derive(Default)]
pub(super) struct Abandoned(Mutex<Vec<Backend>>);

impl Abandoned {
    pub(super) fn extend(&self, backend: Option<Backend>) {
        self.lock().extend(backend);
    }

    /// Ends the processes. Where the connection is lost meanwhile they are left to the next one;
    /// where the server refuses, to themselves.
    pub(super) async fn end(&self, session: &mut Session) {
        let backends = self.lock().clone();
        if backends.is_empty() {
            return;
        }
        let _refused = session.end(&backends).await;
        if !session.is_spent() {
            self.lock().retain(|backend| !backends.contains(backend));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Backend>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
