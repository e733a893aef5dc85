use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bb8::PooledConnection;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::capacity::Slot;
use super::manager::Manager;
use super::session::Session;

/// A connection of a pool, with its slot.
pub(super) struct Pooled {
    session: Session,
    opened_at: Instant,
    /// Dropped after the connection.
    slot: Slot,
}

impl Pooled {
    pub(super) fn new(session: Session, slot: Slot) -> Self {
        Self { session, opened_at: Instant::now(), slot }
    }

    /// Returns whether to close the connection instead of reusing it.
    pub(super) fn is_expired(&self) -> bool {
        self.session.is_spent() || self.opened_at.elapsed() >= MAX_LIFETIME
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

/// The idle connections of a pool, and the queue of the callers that wait for one.
///
/// bb8 stores the connections, but opens none: if a runtime ends, bb8 counts the connections that
/// its tasks were opening there as pending forever. So a connection is requested from bb8 only if
/// it has an idle one, and bb8 has no maximum lifetime or idle timeout by which it would close one
/// meanwhile.
#[derive(Clone)]
pub(super) struct Idle {
    connections: bb8::Pool<Manager>,
    /// At least one permit for each idle connection. Callers get permits in the order in which they
    /// began to wait.
    permits: Arc<Semaphore>,
    /// Held while the number of idle connections is checked and one is taken.
    checkout_lock: Arc<Mutex<()>>,
}

impl Idle {
    pub(super) fn new(connections: bb8::Pool<Manager>) -> Self {
        Self { connections, permits: Arc::new(Semaphore::new(0)), checkout_lock: Arc::default() }
    }

    /// Takes an idle connection, if there is one.
    pub(super) fn try_take(&self) -> Option<CheckedOut> {
        while let Ok(permit) = self.permits.try_acquire() {
            permit.forget();
            if let Some(connection) = self.check_out() {
                return Some(connection);
            }
        }
        None
    }

    /// Waits for an idle connection, and takes it.
    pub(super) async fn take(&self) -> CheckedOut {
        loop {
            match self.permits.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_closed) => std::future::pending().await,
            }
            if let Some(connection) = self.check_out() {
                return connection;
            }
        }
    }

    /// Adds a new connection.
    pub(super) fn add(&self, connection: Pooled) {
        // The slot guarantees capacity, so bb8 refuses only a connection that is closed already.
        if self.connections.add(connection).is_ok() {
            self.permits.add_permits(1);
        }
    }

    /// Takes an idle connection. Returns `None` if the caller's permit was left over from a
    /// connection that was closed.
    fn check_out(&self) -> Option<CheckedOut> {
        let guard = self.checkout_lock.lock().unwrap_or_else(PoisonError::into_inner);
        if self.connections.state().idle_connections == 0 {
            return None;
        }
        let connection = self.connections.get_owned().now_or_never()?.ok()?;
        drop(guard);
        Some(CheckedOut { connection, _permit: ReturnPermit(self.permits.clone()) })
    }
}

/// A connection in use. Dropping it returns it to the pool.
pub(super) struct CheckedOut {
    connection: PooledConnection<'static, Manager>,
    /// Dropped after the connection.
    _permit: ReturnPermit,
}

impl Deref for CheckedOut {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.connection
    }
}

impl DerefMut for CheckedOut {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.connection
    }
}

impl CheckedOut {
    /// Begins the use of the connection by a caller.
    pub(super) fn lease(&mut self) {
        self.connection.slot.lease();
    }

    /// Ends the use of the connection.
    pub(super) fn release(&mut self) {
        self.connection.slot.release();
    }
}

/// A guard that adds a permit when it is dropped, which wakes the first waiting caller.
struct ReturnPermit(Arc<Semaphore>);

impl Drop for ReturnPermit {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// The age at which a connection is closed, so that its backend's memory is freed.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
