use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::armory::Armory;

/// Says which way bytes go.
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

/// Says how a connection ends.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ending {
    /// In good order: whoever reads comes to the end of what was sent.
    Close,
    /// Abruptly: whoever reads or writes meets an error.
    Reset,
}

/// Says what a fault does to the connection that it strikes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Ends the connection in both directions. Bytes that did not pass are lost.
    Cut(Ending),
    /// Holds back the bytes of the direction for so long; those of the other one pass.
    Delay(Duration),
    /// Stops reading and writing in both directions, and keeps both connections open, until
    /// [`Fault::release`], [`Fault::cut`] or [`Fault::hang_up`]: so a client or a server behaves whose
    /// process is stopped.
    Freeze,
    /// Holds back the bytes of the direction until [`Fault::release`], [`Fault::cut`] or
    /// [`Fault::hang_up`]; those of the other one pass.
    Stall,
}

/// A fault that was armed, and strikes at most one connection.
///
/// Dropped before it struck, it never does. Dropped while it holds bytes back, it goes on to do so
/// until [`Proxy::release_all`](crate::Proxy::release_all) or the end of the proxy.
#[derive(Debug)]
pub struct Fault {
    pub(crate) stage: Arc<watch::Sender<Stage>>,
    pub(crate) armory: Arc<Armory>,
}

/// How far a fault has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Armed,
    /// It never strikes.
    Disarmed,
    Holding,
    /// It still holds back what the client sent, but the client's connection has ended.
    HungUp(Ending),
    /// Bytes pass again.
    Released,
    Cut(Ending),
}

impl Fault {
    /// Waits until the fault strikes, for ever if it was disarmed.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn struck(&self) {
        let mut stage = self.stage.subscribe();
        // The sender lives as long as this.
        let _ = stage.wait_for(|stage| stage.has_struck()).await;
    }

    /// Says whether the fault has struck a connection.
    pub fn has_struck(&self) -> bool {
        self.stage.borrow().has_struck()
    }

    /// Lets the bytes that are held back pass, and those after them. A fault that has not struck is
    /// disarmed.
    pub fn release(&self) {
        self.turn(Stage::Released);
    }

    /// Ends the connection whose bytes are held back; they are lost. A fault that has not struck is
    /// disarmed.
    pub fn cut(&self, ending: Ending) {
        self.turn(Stage::Cut(ending));
    }

    /// Ends the client's connection while its bytes are held back. The server's stays, and after
    /// [`release`](Self::release) it receives what the client had sent; what it says itself is lost.
    /// A fault that has not struck is disarmed.
    pub fn hang_up(&self, ending: Ending) {
        self.turn(Stage::HungUp(ending));
    }

    fn turn(&self, next: Stage) {
        self.stage.send_if_modified(|stage| stage.turn(next));
        self.armory.forget_disarmed();
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.stage.send_if_modified(|stage| *stage == Stage::Armed && stage.turn(Stage::Disarmed));
        self.armory.forget_disarmed();
    }
}

impl Stage {
    /// Goes on to what is asked for, as far as that can be; returns whether anything changed.
    pub(crate) fn turn(&mut self, next: Self) -> bool {
        let turned = match (*self, next) {
            (Self::Armed, _) => Self::Disarmed,
            (Self::Holding, next) => next,
            (Self::HungUp(_), next @ (Self::Cut(_) | Self::Released)) => next,
            (stage, _) => stage,
        };
        std::mem::replace(self, turned) != turned
    }

    pub(crate) fn is_holding(self) -> bool {
        matches!(self, Self::Holding | Self::HungUp(_))
    }

    fn has_struck(self) -> bool {
        !matches!(self, Self::Armed | Self::Disarmed)
    }
}
