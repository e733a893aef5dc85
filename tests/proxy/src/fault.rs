//! Faults and their state.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::registry::Registry;

/// A direction of bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// From the server to the client.
    ToClient,
    /// From the client to the server.
    ToServer,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::ToClient, Self::ToServer];
}

/// The way in which a connection ends.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ending {
    /// Gracefully: readers receive all sent bytes and then the end of the stream.
    Close,
    /// Abruptly, with a TCP reset: readers and writers receive an error.
    Reset,
}

/// The effect of a fault on its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Ends the connection in both directions. Bytes that have not passed are lost.
    Cut(Ending),
    /// Holds back the bytes of the direction for a duration. Those of the other direction pass.
    Delay(Duration),
    /// Stops reading and writing in both directions, and keeps both connections open, until
    /// [`Fault::release`], [`Fault::cut`] or [`Fault::disconnect_client`], as if the process of the
    /// client or server was stopped.
    Freeze,
    /// Holds back the bytes of the direction until [`Fault::release`], [`Fault::cut`] or
    /// [`Fault::disconnect_client`]. Those of the other direction pass.
    Stall,
}

/// An injected fault, which affects at most one connection.
///
/// Dropping it disarms it. If it holds bytes back when it is dropped, it continues until
/// [`Proxy::release_all`](crate::Proxy::release_all) or the end of the proxy.
#[derive(Debug)]
pub struct Fault {
    pub(crate) stage: Arc<watch::Sender<Stage>>,
    pub(crate) registry: Arc<Registry>,
}

/// The state of a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Armed,
    /// It will never be triggered.
    Disarmed,
    Holding,
    /// It holds back what the client has sent, and the client's connection has ended.
    ClientDisconnected(Ending),
    /// Bytes pass again.
    Released,
    Cut(Ending),
}

impl Fault {
    /// Waits until the fault is triggered, forever if it is disarmed.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn triggered(&self) {
        let mut stage = self.stage.subscribe();
        // This cannot fail, since the fault owns the sender.
        let _ = stage.wait_for(|stage| stage.is_triggered()).await;
    }

    /// Returns whether the fault has been triggered.
    pub fn has_triggered(&self) -> bool {
        self.stage.borrow().is_triggered()
    }

    /// Lets the bytes that are held back pass, and all later bytes. Disarms a fault that has not
    /// been triggered.
    pub fn release(&self) {
        self.advance(Stage::Released);
    }

    /// Ends the connection whose bytes are held back, which are lost. Disarms a fault that has not
    /// been triggered.
    pub fn cut(&self, ending: Ending) {
        self.advance(Stage::Cut(ending));
    }

    /// Ends the client's connection while its bytes are held back. The server's connection stays
    /// open. After [`release`](Self::release) the server receives what the client had sent, and
    /// what the server sends is lost. Disarms a fault that has not been triggered.
    pub fn disconnect_client(&self, ending: Ending) {
        self.advance(Stage::ClientDisconnected(ending));
    }

    fn advance(&self, next: Stage) {
        self.stage.send_if_modified(|stage| stage.advance(next));
        self.registry.forget_disarmed();
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.stage
            .send_if_modified(|stage| *stage == Stage::Armed && stage.advance(Stage::Disarmed));
        self.registry.forget_disarmed();
    }
}

impl Stage {
    /// Changes to the state `next`, if that is a valid transition. Returns whether the state has
    /// changed.
    pub(crate) fn advance(&mut self, next: Self) -> bool {
        let changed = match (*self, next) {
            (Self::Armed, _) => Self::Disarmed,
            (Self::Holding, next) => next,
            (Self::ClientDisconnected(_), next @ (Self::Cut(_) | Self::Released)) => next,
            (stage, _) => stage,
        };
        std::mem::replace(self, changed) != changed
    }

    pub(crate) fn is_holding(self) -> bool {
        matches!(self, Self::Holding | Self::ClientDisconnected(_))
    }

    fn is_triggered(self) -> bool {
        !matches!(self, Self::Armed | Self::Disarmed)
    }
}
