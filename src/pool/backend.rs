use std::sync::{Mutex, PoisonError};

use tokio_postgres::Client;

use super::session::{Form, sent};
use crate::sql;

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
    pub(super) fn add(&self, backend: Backend) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(backend);
    }

    /// Ends the processes; those that cannot be ended now are left to the next one who tries.
    pub(super) async fn end(&self, client: &Client) {
        loop {
            let Some(backend) = self.first() else { return };
            let end = sql::end_backend(backend.process, backend.started);
            if sent(client, &Form::Unnamed, &end).await.is_err() {
                return;
            }
            self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| *one != backend);
        }
    }

    fn first(&self) -> Option<Backend> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).first().copied()
    }
}
