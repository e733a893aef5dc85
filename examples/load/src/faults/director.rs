use std::sync::Arc;
use std::time::{Duration, Instant};

use console::{Stop, error_chain};
use eddyline::{ReadOnly, Store};
use fault_proxy::Direction;
use futures_util::future::join_all;
use local_postgres::Server;
use tokio::sync::{Mutex, RwLock};
use tokio::time::sleep;

use super::mark::MarkIndex;
use super::script::Step;
use super::{Action, CheckedScript, Fault, Marks};
use crate::LoadError;
use crate::servers::{Embedded, Servers};

/// Carries out a script of faults during a load, and records a [`Mark`](super::Mark) for each.
#[derive(Debug)]
pub struct Director {
    pub(super) embedded: Arc<Embedded>,
    /// The replicas of this store change with the roles of the servers.
    pub(super) reader: Store<ReadOnly>,
    start: Instant,
    marks: Marks,
    stop: Stop,
    /// A promotion concerns all servers, and excludes all disturbances.
    pub(super) order: RwLock<()>,
    /// One disturbance of a server excludes another one.
    busy: Vec<Mutex<()>>,
}

impl Director {
    /// Carries out a script. Returns when every fault has been undone. A stop skips the faults that
    /// have not begun, and undoes the others at once.
    ///
    /// Does nothing if the load generator did not start the servers.
    ///
    /// # Cancel safety
    ///
    /// If dropped, faults may not be undone.
    pub async fn run(
        script: &CheckedScript,
        servers: &Servers,
        reader: &Store<ReadOnly>,
        start: Instant,
        marks: &Marks,
        stop: &Stop,
    ) {
        let Some(embedded) = servers.embedded().filter(|_| !script.is_empty()) else { return };
        let count = servers.sql().len();
        let director = Self {
            embedded: Arc::clone(embedded),
            reader: reader.clone(),
            start,
            marks: marks.clone(),
            stop: stop.clone(),
            order: RwLock::new(()),
            busy: (0..count).map(|_| Mutex::new(())).collect(),
        };
        join_all(script.steps.iter().map(|step| director.carry_out(step))).await;
        director.restore_all().await;
    }

    async fn carry_out(&self, step: &Step) {
        match step {
            Step::Disturbance { fault, server } => self.disturb(fault, *server).await,
            Step::Promotion { fault, kill: None, replica, next, .. } => {
                self.switch_over(fault, *replica, *next).await;
            }
            Step::Promotion { fault, kill: Some(kill), replica, next, .. } => {
                self.fail_over(kill, fault, *replica, *next).await;
            }
        }
    }

    async fn disturb(&self, fault: &Fault, index: usize) {
        if !self.wait_until(fault.at).await {
            return;
        }
        let _order = self.order.read().await;
        let _busy = self.busy[index].lock().await;
        if self.stop.is_set() {
            return;
        }
        let mark = self.begin(fault);
        let begun = Instant::now();
        // What was done in part is undone as well.
        self.record(mark, self.apply(fault.action, index).await);
        if let Some(hold) = fault.hold {
            self.wait_until(begun.duration_since(self.start) + hold).await;
        }
        if self.record(mark, self.undo(fault.action, index).await) {
            self.end(mark);
        }
    }

    async fn apply(&self, action: Action, index: usize) -> Result<(), LoadError> {
        let server = self.embedded.server(index);
        let applied = match action {
            Action::Freeze => server.freeze().await,
            Action::Kill => server.kill().await,
            Action::Pause => server.pause_replay().await,
            Action::Restart => server.stop().await,
            Action::Slow => {
                self.limit_answers(index, Some(SLOW));
                Ok(())
            }
            // A promotion is a step of another kind.
            Action::Promote => Ok(()),
        };
        applied.map_err(LoadError::Cluster)
    }

    async fn undo(&self, action: Action, index: usize) -> Result<(), LoadError> {
        let server = self.embedded.server(index);
        let undone = match action {
            Action::Freeze => server.thaw(),
            Action::Kill | Action::Restart => server.start().await,
            Action::Pause => server.resume_replay().await,
            Action::Slow => {
                self.limit_answers(index, None);
                Ok(())
            }
            Action::Promote => Ok(()),
        };
        undone.map_err(LoadError::Cluster)
    }

    fn limit_answers(&self, index: usize, bytes_per_second: Option<u64>) {
        if let Some(proxy) = self.embedded.proxy(index) {
            proxy.limit_rate(Direction::ToClient, bytes_per_second);
        }
    }

    /// Makes sure that all servers that have a role answer, also after a fault that could not be
    /// undone.
    async fn restore_all(&self) {
        let roles = self.embedded.roles();
        let replicas = roles.replicas().map(|(_, index)| index);
        for index in [roles.primary()].into_iter().chain(replicas) {
            self.limit_answers(index, None);
            if let Err(error) = restore(self.embedded.server(index)).await {
                let name = roles.names(index).last().map(ToString::to_string).unwrap_or_default();
                let mark = self.marks.begin(format!("restore {name}"), self.now());
                self.marks.fail(mark, error_chain(&error));
            }
        }
    }

    /// Waits until a time of the load. Returns `false` if a stop is requested before that.
    pub(super) async fn wait_until(&self, at: Duration) -> bool {
        loop {
            let remaining = (self.start + at).saturating_duration_since(Instant::now());
            match self.stop.is_set() {
                true => return false,
                false if remaining.is_zero() => return true,
                false => sleep(remaining.min(PAUSE)).await,
            }
        }
    }

    /// Returns whether a stop is requested.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Adds the mark of a fault that begins now.
    pub(super) fn begin(&self, fault: &Fault) -> MarkIndex {
        self.marks.begin(format!("{} {}", fault.action, fault.server), self.now())
    }

    /// Records that a fault ends now.
    pub(super) fn end(&self, mark: MarkIndex) {
        self.marks.end(mark, self.now());
    }

    /// Records an error. Returns whether there is none.
    pub(super) fn record(&self, mark: MarkIndex, outcome: Result<(), LoadError>) -> bool {
        match outcome {
            Ok(()) => true,
            Err(error) => {
                self.marks.fail(mark, error_chain(&error));
                false
            }
        }
    }

    fn now(&self) -> f64 {
        Instant::now().saturating_duration_since(self.start).as_secs_f64()
    }
}

/// Makes a server answer, whatever state a fault has left it in.
async fn restore(server: &Server) -> Result<(), local_postgres::Error> {
    if server.is_running() {
        server.thaw()?;
    }
    server.start().await?;
    match server.is_primary() {
        true => Ok(()),
        false => server.resume_replay().await,
    }
}

const PAUSE: Duration = Duration::from_millis(20);

/// The rate of slow answers on each connection, in bytes per second. A short answer takes some
/// 40 ms.
const SLOW: u64 = 4_000;
