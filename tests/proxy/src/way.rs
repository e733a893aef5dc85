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
use crate::hold::Pace;
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
    pace: Pace,
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
            pace: Pace::new(),
        }
    }

    /// Passes bytes on until the source ends, which the sink is told, or a fault breaks the
    /// connection.
    pub(crate) async fn run(&mut self, wire: &Wire) -> Result<(), Break> {
        loop {
            wire.thawed().await;
            match wire.armory.step(wire.connection, self.direction, self.waiting.len()) {
                Step::Strike(Action::Freeze, stage) => {
                    wire.switches.freeze(true);
                    let outcome = freeze(stage).await;
                    wire.switches.freeze(false);
                    outcome?;
                }
                Step::Strike(action, stage) => self.hold(action, stage).await?,
                Step::Pass(0) if self.has_source_ended => {
                    // An error says that nobody is there to be told.
                    let _ = self.sink.shutdown().await;
                    return Ok(());
                }
                Step::Pass(room) => {
                    tokio::select! {
                        biased;
                        () = wire.frozen() => {}
                        () = self.go_on(wire, room) => {}
                    }
                }
            }
        }
    }

    /// Reads what the source has to say at the moment, without waiting for it.
    pub(crate) fn read_rest(&mut self) {
        while !self.has_source_ended && self.read() {}
    }

    /// Reads if nothing may pass, and else lets something pass.
    async fn go_on(&mut self, wire: &Wire, room: usize) {
        if room == 0 {
            return self.fill().await;
        }
        let room = self.pace.turn(&wire.armory.switches, self.direction, room).await;
        self.deliver(wire, room).await;
    }

    /// Holds bytes back as long as the fault says.
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
            self.pace.passed(&wire.armory.switches, self.direction, delivered);
            delivered
        });
    }
}

/// Holds everything back as long as the fault says.
async fn freeze(stage: Arc<watch::Sender<Stage>>) -> Result<(), Break> {
    let is_over = |now: &Stage| outcome(*now, &stage).is_some();
    // It cannot fail: the sender is here.
    let now = stage.subscribe().wait_for(is_over).await.map(|now| *now);
    now.ok().and_then(|now| outcome(now, &stage)).unwrap_or(Ok(()))
}

/// Returns how the holding back ends, if it does.
fn outcome(now: Stage, stage: &Arc<watch::Sender<Stage>>) -> Option<Result<(), Break>> {
    match now {
        Stage::Cut(ending) => Some(Err(Break::Cut(ending))),
        Stage::HungUp(ending) => Some(Err(Break::HungUp(ending, Arc::clone(stage)))),
        Stage::Armed | Stage::Disarmed | Stage::Released => Some(Ok(())),
        Stage::Holding => None,
    }
}

const CHUNK: usize = 16 << 10;

/// How many bytes are read ahead while they are held back; the rest waits in the sockets.
const MOST_HELD: usize = 1 << 20;
