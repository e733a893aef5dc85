//! One direction of a connection.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::armory::Step;
use crate::connection::Wire;
use crate::fault::Stage;
use crate::{Action, Direction, Ending};

/// Bytes on their way from one socket to another. It may be dropped and run again at any await.
pub(crate) struct Way {
    pub(crate) source: OwnedReadHalf,
    pub(crate) sink: OwnedWriteHalf,
    /// What was read and has not passed.
    pub(crate) waiting: Vec<u8>,
    direction: Direction,
    has_source_ended: bool,
    /// Nobody takes what is written. The source is read on all the same: it must not be blocked,
    /// and that the other side has gone is for the other direction to tell.
    is_sink_gone: bool,
}

/// What ends a connection before both of its sides have.
pub(crate) enum Break {
    Cut(Ending),
    /// The client's side ends; the fault says when the server's does.
    HungUp(Ending, Arc<watch::Sender<Stage>>),
}

impl Way {
    pub(crate) fn new(direction: Direction, source: OwnedReadHalf, sink: OwnedWriteHalf) -> Self {
        Self {
            source,
            sink,
            waiting: Vec::new(),
            direction,
            has_source_ended: false,
            is_sink_gone: false,
        }
    }

    /// Passes bytes on until the source ends, which the sink is told, or a fault breaks the
    /// connection.
    pub(crate) async fn run(&mut self, wire: &Wire) -> Result<(), Break> {
        loop {
            match wire.armory.step(wire.connection, self.direction, self.waiting.len()) {
                Step::Strike(action, stage) => self.hold(action, stage).await?,
                Step::Pass(0) if self.has_source_ended => {
                    // An error says that nobody is there to be told.
                    let _ = self.sink.shutdown().await;
                    return Ok(());
                }
                Step::Pass(0) => self.fill().await,
                Step::Pass(room) => self.deliver(wire, room).await,
            }
        }
    }

    /// Reads what the source has to say at the moment, without waiting for it.
    pub(crate) fn read_rest(&mut self) {
        while !self.has_source_ended && self.read() {}
    }

    /// Holds bytes back as long as the fault says.
    async fn hold(
        &mut self,
        action: Action,
        stage: Arc<watch::Sender<Stage>>,
    ) -> Result<(), Break> {
        let pause = match action {
            Action::Delay(pause) => Some(pause),
            Action::Cut(_) | Action::Stall => None,
        };
        let end = Instant::now() + pause.unwrap_or_default();
        let mut changes = stage.subscribe();
        loop {
            let now = *changes.borrow_and_update();
            match now {
                Stage::Cut(ending) => return Err(Break::Cut(ending)),
                Stage::HungUp(ending) => return Err(Break::HungUp(ending, stage)),
                Stage::Armed | Stage::Disarmed | Stage::Released => return Ok(()),
                Stage::Holding => {}
            }
            let has_room = !self.has_source_ended && self.waiting.len() < MOST_HELD;
            tokio::select! {
                // It cannot fail: the sender is here.
                _ = changes.changed() => {}
                () = sleep_until(end), if pause.is_some() => {
                    stage.send_if_modified(|stage| stage.turn(Stage::Released));
                }
                // What the client said before it went must be in hand, not in its socket.
                () = self.fill(), if has_room => {}
            }
        }
    }

    async fn fill(&mut self) {
        match self.source.readable().await {
            Ok(()) => drop(self.read()),
            Err(_) => self.has_source_ended = true,
        }
    }

    /// Reads once, without waiting; returns whether there was something.
    fn read(&mut self) -> bool {
        self.waiting.reserve(CHUNK);
        match self.source.try_read_buf(&mut self.waiting) {
            Ok(count) if count > 0 => return true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => self.has_source_ended = true,
        }
        false
    }

    async fn deliver(&mut self, wire: &Wire, room: usize) {
        self.is_sink_gone = self.is_sink_gone || self.sink.writable().await.is_err();
        wire.armory.pass(wire.connection, self.direction, || {
            let delivered = match self.is_sink_gone {
                true => room,
                false => match self.sink.try_write(&self.waiting[..room]) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(_) => {
                        self.is_sink_gone = true;
                        room
                    }
                },
            };
            self.waiting.drain(..delivered);
            delivered
        });
    }
}

const CHUNK: usize = 16 << 10;

/// How many bytes are read ahead while they are held back; the rest waits in the sockets.
const MOST_HELD: usize = 1 << 20;
