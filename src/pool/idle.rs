use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bb8::PooledConnection;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::capacity::Slot;
use super::manager::Manager;
use super::session::Session;

/// A connection of a pool, with its slot there.
pub(super) struct Pooled {
    session: Session,
    made: Instant,
    /// Dropped after the connection.
    _place: Slot,
}

impl Pooled {
    pub(super) fn new(session: Session, slot: Slot) -> Self {
        Self { session, made: Instant::now(), _place: slot }
    }

    /// Returns whether it is to be closed rather than used again.
    pub(super) fn is_over(&self) -> bool {
        self.session.is_spent() || self.made.elapsed() >= MAX_LIFETIME
    }
}

impl Deref for Pooled {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// The connections that are not in use, and the queue of those who wait for one.
///
/// bb8 keeps the connections, but makes none: the tasks by which it makes them may end with their
/// runtime, and are counted as under way for ever then. So it is asked for a connection only when it
/// has one, and told of no age at which it would close one meanwhile.
#[derive(Clone)]
pub(super) struct Idle {
    connections: bb8::Pool<Manager>,
    /// At least one permit for each connection that is not in use. The first to wait is the first
    /// to get one.
    permits: Arc<Semaphore>,
    asking: Arc<Mutex<()>>,
}

impl Idle {
    pub(super) fn new(connections: bb8::Pool<Manager>) -> Self {
        Self { connections, permits: Arc::new(Semaphore::new(0)), asking: Arc::default() }
    }

    /// Takes a connection, if there is one.
    pub(super) fn try_take(&self) -> Option<Taken> {
        while let Ok(permit) = self.permits.try_acquire() {
            permit.forget();
            if let Some(taken) = self.pop() {
                return Some(taken);
            }
        }
        None
    }

    /// Waits for a connection.
    pub(super) async fn take(&self) -> Taken {
        loop {
            match self.permits.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_closed) => std::future::pending().await,
            }
            if let Some(taken) = self.pop() {
                return taken;
            }
        }
    }

    /// Adds a connection that was made.
    pub(super) fn add(&self, connection: Pooled) {
        // It has a slot, so there is capacity. One that is closed by now is of no use.
        if self.connections.add(connection).is_ok() {
            self.permits.add_permits(1);
        }
    }

    /// A permit may be left of a connection that was closed.
    fn pop(&self) -> Option<Taken> {
        let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if self.connections.state().idle_connections == 0 {
            return None;
        }
        let connection = self.connections.get_owned().now_or_never()?.ok()?;
        drop(asking);
        Some(Taken { connection, _returned: Returned(self.permits.clone()) })
    }
}

/// A connection in use; dropped, it goes back.
pub(super) struct Taken {
    connection: PooledConnection<'static, Manager>,
    /// Dropped after the connection.
    _returned: Returned,
}

impl Deref for Taken {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.connection
    }
}

impl DerefMut for Taken {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.connection
    }
}

/// Tells the first who waits that a connection came back.
struct Returned(Arc<Semaphore>);

impl Drop for Returned {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// How old a connection grows: what the server's process has gathered is freed with it.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
