//! The worker processes, as the main process sees them.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::actors::Assignment;
use crate::failure::Failure;
use crate::message::{Message, Order};

/// All worker processes. They are killed when this is dropped.
pub struct Workers {
    workers: Vec<Worker>,
    incoming: mpsc::Receiver<Incoming>,
}

struct Worker {
    process: Child,
    orders: ChildStdin,
    idle: bool,
    ready: bool,
    ended: bool,
}

/// A message from a worker, or the reason why there are no more.
struct Incoming {
    worker: usize,
    message: Result<Message, String>,
}

/// A stage that every worker reaches.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    Ready,
    Idle,
    Ended,
}

impl Workers {
    /// Starts this program again for each worker.
    pub async fn start(assignment: &Assignment) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::io("find this program"))?;
        let (sender, incoming) = mpsc::channel(1_000);
        let mut workers = Vec::new();
        for worker in 0..assignment.processes {
            let mut process = Command::new(&program)
                .arg("worker")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                // Signals from the terminal go to the main process only, which then sends orders to
                // the workers.
                .process_group(0)
                .spawn()
                .map_err(Failure::io("start a worker"))?;
            let pipes = process.stdin.take().zip(process.stdout.take());
            let (mut orders, output) =
                pipes.ok_or_else(|| Failure::io("open the pipes of a worker")(NO_PIPE.into()))?;
            write(&mut orders, &Assignment { worker, ..assignment.clone() }).await?;
            tokio::spawn(read_messages(worker, output, sender.clone()));
            workers.push(Worker { process, orders, idle: false, ready: false, ended: false });
        }
        Ok(Self { workers, incoming })
    }

    /// Sends an order to every worker.
    pub async fn order(&mut self, order: Order) -> Result<(), Failure> {
        for worker in &mut self.workers {
            write(&mut worker.orders, &order).await?;
        }
        Ok(())
    }

    /// Returns the next message and its worker, or `None` at the deadline.
    pub async fn next(&mut self, until: Instant) -> Result<Option<(usize, Message)>, Failure> {
        let Incoming { worker, message } = tokio::select! {
            biased;
            () = tokio::time::sleep_until(until) => return Ok(None),
            incoming = self.incoming.recv() => match incoming {
                Some(incoming) => incoming,
                // All workers have ended, and each has reported it.
                None => return Ok(None),
            },
        };
        let state = &mut self.workers[worker];
        let message = message.map_err(|reason| failed(worker, reason))?;
        match &message {
            Message::Ended if !state.idle => return Err(failed(worker, "ended early")),
            Message::Ended => state.ended = true,
            Message::Failed { reason } => return Err(failed(worker, reason)),
            Message::Idle => state.idle = true,
            Message::Ready => state.ready = true,
            _ => {}
        }
        Ok(Some((worker, message)))
    }

    /// Stops a worker's process. Returns whether it exists.
    pub fn freeze(&self, worker: usize) -> bool {
        self.signal(worker, Signal::STOP)
    }

    /// Resumes a stopped process.
    pub fn thaw(&self, worker: usize) {
        self.signal(worker, Signal::CONT);
    }

    fn signal(&self, worker: usize, signal: Signal) -> bool {
        let id = self.workers.get(worker).and_then(|worker| worker.process.id());
        let id = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        id.is_some_and(|id| kill_process(id, signal).is_ok())
    }

    /// Passes messages to `add` until every worker has reached the stage.
    pub async fn wait_for(
        &mut self,
        stage: Stage,
        mut add: impl FnMut(usize, Message),
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + TIMEOUT;
        while !self.workers.iter().all(|worker| worker.has_reached(stage)) {
            match self.next(deadline).await? {
                Some((worker, message)) => add(worker, message),
                None => {
                    return Err(Failure::TimedOut {
                        what: "the workers".to_owned(),
                        action: stage.action(),
                        seconds: TIMEOUT.as_secs(),
                    });
                }
            }
        }
        Ok(())
    }
}

impl Worker {
    fn has_reached(&self, stage: Stage) -> bool {
        match stage {
            Stage::Ready => self.ready,
            Stage::Idle => self.idle,
            Stage::Ended => self.ended,
        }
    }
}

impl Stage {
    fn action(self) -> &'static str {
        match self {
            Self::Ready => "connect",
            Self::Idle => "stop writing",
            Self::Ended => "end",
        }
    }
}

async fn write(orders: &mut ChildStdin, order: &impl serde::Serialize) -> Result<(), Failure> {
    let mut line = serde_json::json!(order).to_string();
    line.push('\n');
    orders.write_all(line.as_bytes()).await.map_err(Failure::io("write to a worker"))
}

async fn read_messages(worker: usize, output: ChildStdout, incoming: mpsc::Sender<Incoming>) {
    let mut lines = BufReader::new(output).lines();
    loop {
        let message = match lines.next_line().await {
            Ok(None) => Ok(Message::Ended),
            Ok(Some(line)) => serde_json::from_str(&line)
                .map_err(|error| format!("sent a line that is not a message: {error}")),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        let last = matches!(message, Ok(Message::Ended) | Err(_));
        // If the receiver is gone, the race is over.
        if incoming.send(Incoming { worker, message }).await.is_err() || last {
            break;
        }
    }
}

fn failed(worker: usize, reason: impl Into<String>) -> Failure {
    Failure::Worker { worker, reason: reason.into() }
}

const NO_PIPE: std::io::ErrorKind = std::io::ErrorKind::BrokenPipe;
const TIMEOUT: Duration = Duration::from_secs(60);
