//! The relay of bytes in one direction of a connection.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::connection::ProxiedConnection;
use crate::controls::Pace;
use crate::fault::Stage;
use crate::registry::Step;
use crate::{Action, Direction, Ending};

/// The bytes on their way from one socket to another. [`run`](Self::run) may be dropped and called
/// again at any await.
pub(crate) struct Relay {
    pub(crate) source: OwnedReadHalf,
    pub(crate) sink: OwnedWriteHalf,
    /// The bytes that were read and have not passed.
    pub(crate) waiting: Vec<u8>,
    direction: Direction,
    has_source_ended: bool,
    /// Writes to the sink fail. The source is still read: it must not block, and the other
    /// direction notices the disconnection.
    is_sink_gone: bool,
    pace: Pace,
}

/// The reason to end a connection before both of its sides have ended it.
pub(crate) enum Break {
    Cut(Ending),
    /// The client's side ends. The fault decides when the server's side ends.
    ClientDisconnected(Ending, Arc<watch::Sender<Stage>>),
}

impl Relay {
    pub(crate) fn new(direction: Direction, source: OwnedReadHalf, sink: OwnedWriteHalf) -> Self {
        Self {
            source,
            sink,
            waiting: Vec::new(),
            direction,
            has_source_ended: false,
            is_sink_gone: false,
            pace: Pace::new(),
        }
    }

    /// Passes bytes until the source ends, and then shuts down the sink. Fails if a fault breaks
    /// the connection.
    pub(crate) async fn run(&mut self, proxied: &ProxiedConnection) -> Result<(), Break> {
        loop {
            proxied.thawed().await;
            match proxied.registry.step(proxied.connection, self.direction, self.waiting.len()) {
                Step::Trigger(Action::Freeze, stage) => {
                    proxied.controls.freeze(true);
                    let outcome = freeze(stage).await;
                    proxied.controls.freeze(false);
                    outcome?;
                }
                Step::Trigger(action, stage) => self.hold(action, stage).await?,
                Step::Pass(0) if self.has_source_ended => {
                    // An error means that the sink has disconnected.
                    let _ = self.sink.shutdown().await;
                    return Ok(());
                }
                Step::Pass(allowed) => {
                    tokio::select! {
                        biased;
                        () = proxied.frozen() => {}
                        () = self.read_or_deliver(proxied, allowed) => {}
                    }
                }
            }
        }
    }

    /// Reads all available bytes of the source, without waiting.
    pub(crate) fn read_rest(&mut self) {
        while !self.has_source_ended && self.read() {}
    }

    /// Reads if no byte may pass, and else passes bytes.
    async fn read_or_deliver(&mut self, proxied: &ProxiedConnection, allowed: usize) {
        if allowed == 0 {
            return self.fill().await;
        }
        let allowed = self.pace.wait(&proxied.registry.controls, self.direction, allowed).await;
        self.deliver(proxied, allowed).await;
    }

    /// Holds the bytes of this direction back until the fault ends.
    async fn hold(
        &mut self,
        action: Action,
        stage: Arc<watch::Sender<Stage>>,
    ) -> Result<(), Break> {
        let pause = match action {
            Action::Delay(pause) => Some(pause),
            Action::Cut(_) | Action::Freeze | Action::Stall => None,
        };
        let end = Instant::now() + pause.unwrap_or_default();
        let mut changes = stage.subscribe();
        loop {
            let now = *changes.borrow_and_update();
            if let Some(outcome) = outcome(now, &stage) {
                return outcome;
            }
            let can_read_more = !self.has_source_ended && self.waiting.len() < MAX_HELD;
            tokio::select! {
                // This cannot fail, since `stage` is the sender.
                _ = changes.changed() => {}
                () = sleep_until(end), if pause.is_some() => {
                    stage.send_if_modified(|stage| stage.advance(Stage::Released));
                }
                // Bytes that the client sent before it disconnected must be read from its socket.
                () = self.fill(), if can_read_more => {}
            }
        }
    }

    async fn fill(&mut self) {
        match self.source.readable().await {
            Ok(()) => drop(self.read()),
            Err(_) => self.has_source_ended = true,
        }
    }

    /// Reads once, without waiting. Returns whether there were bytes.
    fn read(&mut self) -> bool {
        self.waiting.reserve(CHUNK);
        match self.source.try_read_buf(&mut self.waiting) {
            Ok(count) if count > 0 => return true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => self.has_source_ended = true,
        }
        false
    }

    async fn deliver(&mut self, proxied: &ProxiedConnection, allowed: usize) {
        self.is_sink_gone = self.is_sink_gone || self.sink.writable().await.is_err();
        proxied.registry.pass(proxied.connection, self.direction, || {
            let delivered = match self.is_sink_gone {
                true => allowed,
                false => match self.sink.try_write(&self.waiting[..allowed]) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(_) => {
                        self.is_sink_gone = true;
                        allowed
                    }
                },
            };
            self.waiting.drain(..delivered);
            self.pace.passed(&proxied.registry.controls, self.direction, delivered);
            delivered
        });
    }
}

/// Waits until the fault ends.
async fn freeze(stage: Arc<watch::Sender<Stage>>) -> Result<(), Break> {
    let is_over = |now: &Stage| outcome(*now, &stage).is_some();
    // This cannot fail, since `stage` is the sender.
    let now = stage.subscribe().wait_for(is_over).await.map(|now| *now);
    now.ok().and_then(|now| outcome(now, &stage)).unwrap_or(Ok(()))
}

/// Returns the outcome of holding bytes back, or `None` while they are held back.
fn outcome(now: Stage, stage: &Arc<watch::Sender<Stage>>) -> Option<Result<(), Break>> {
    match now {
        Stage::Cut(ending) => Some(Err(Break::Cut(ending))),
        Stage::ClientDisconnected(ending) => {
            Some(Err(Break::ClientDisconnected(ending, Arc::clone(stage))))
        }
        Stage::Armed | Stage::Disarmed | Stage::Released => Some(Ok(())),
        Stage::Holding => None,
    }
}

const CHUNK: usize = 16 << 10;

/// The maximum number of bytes to read while they are held back. Further bytes wait in the socket
/// buffers.
const MAX_HELD: usize = 1 << 20;
