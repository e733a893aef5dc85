//! The worker processes, seen from the process that holds the race.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::actors::Assignment;
use crate::fact::{Fact, Order};
use crate::failure::Failure;

/// All worker processes; they end when this is dropped.
pub struct Workers {
    workers: Vec<Worker>,
    news: mpsc::Receiver<News>,
}

struct Worker {
    process: Child,
    orders: ChildStdin,
    idle: bool,
    ready: bool,
    ended: bool,
}

/// What came from a worker.
struct News {
    worker: usize,
    fact: Result<Fact, String>,
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
        let (sender, news) = mpsc::channel(1_000);
        let mut workers = Vec::new();
        for worker in 0..assignment.processes {
            let mut process = Command::new(&program)
                .arg("worker")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                // A signal from the terminal is for the main process, which tells the workers.
                .process_group(0)
                .spawn()
                .map_err(Failure::io("start a worker"))?;
            let pipes = process.stdin.take().zip(process.stdout.take());
            let (mut orders, output) =
                pipes.ok_or_else(|| Failure::io("talk to a worker")(NO_PIPE.into()))?;
            write(&mut orders, &Assignment { worker, ..assignment.clone() }).await?;
            tokio::spawn(listen(worker, output, sender.clone()));
            workers.push(Worker { process, orders, idle: false, ready: false, ended: false });
        }
        Ok(Self { workers, news })
    }

    /// Tells every worker.
    pub async fn order(&mut self, order: Order) -> Result<(), Failure> {
        for worker in &mut self.workers {
            write(&mut worker.orders, &order).await?;
        }
        Ok(())
    }

    /// Returns the next fact told and by whom, or `None` when the time has come.
    pub async fn next(&mut self, until: Instant) -> Result<Option<(usize, Fact)>, Failure> {
        let News { worker, fact } = tokio::select! {
            biased;
            () = tokio::time::sleep_until(until) => return Ok(None),
            news = self.news.recv() => match news {
                Some(news) => news,
                // Everybody has ended, which every one of them has told.
                None => return Ok(None),
            },
        };
        let state = &mut self.workers[worker];
        let fact = fact.map_err(|reason| failed(worker, reason))?;
        match &fact {
            Fact::Ended if !state.idle => return Err(failed(worker, "ended early")),
            Fact::Ended => state.ended = true,
            Fact::Failed { reason } => return Err(failed(worker, reason)),
            Fact::Idle => state.idle = true,
            Fact::Ready => state.ready = true,
            _ => {}
        }
        Ok(Some((worker, fact)))
    }

    /// Stops a worker's process; returns whether there is one.
    pub fn freeze(&self, worker: usize) -> bool {
        self.signal(worker, Signal::STOP)
    }

    /// Lets a stopped process go on.
    pub fn thaw(&self, worker: usize) {
        self.signal(worker, Signal::CONT);
    }

    fn signal(&self, worker: usize, signal: Signal) -> bool {
        let id = self.workers.get(worker).and_then(|worker| worker.process.id());
        let id = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        id.is_some_and(|id| kill_process(id, signal).is_ok())
    }

    /// Passes on what is told until every worker has reached the stage.
    pub async fn wait_for(
        &mut self,
        stage: Stage,
        mut take: impl FnMut(usize, Fact),
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !self.workers.iter().all(|worker| worker.has_reached(stage)) {
            match self.next(deadline).await? {
                Some((worker, fact)) => take(worker, fact),
                None => {
                    return Err(Failure::TimedOut {
                        who: "the workers".to_owned(),
                        action: stage.action(),
                        seconds: PATIENCE.as_secs(),
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
    orders.write_all(line.as_bytes()).await.map_err(Failure::io("talk to a worker"))
}

async fn listen(worker: usize, output: ChildStdout, news: mpsc::Sender<News>) {
    let mut lines = BufReader::new(output).lines();
    loop {
        let fact = match lines.next_line().await {
            Ok(None) => Ok(Fact::Ended),
            Ok(Some(line)) => serde_json::from_str(&line)
                .map_err(|error| format!("cannot be understood: {error}")),
            Err(error) => Err(format!("cannot be heard: {error}")),
        };
        let last = matches!(fact, Ok(Fact::Ended) | Err(_));
        // Without anybody to hear of it the race is over.
        if news.send(News { worker, fact }).await.is_err() || last {
            break;
        }
    }
}

fn failed(worker: usize, reason: impl Into<String>) -> Failure {
    Failure::Worker { worker, reason: reason.into() }
}

const NO_PIPE: std::io::ErrorKind = std::io::ErrorKind::BrokenPipe;
const PATIENCE: Duration = Duration::from_secs(60);
