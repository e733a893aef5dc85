//! The process of a server, its postmaster.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::data;
use crate::identity::Identity;
use crate::supervisor::{Launch, Supervisor};
use crate::wait::Deadline;
use crate::{Error, Programs};

/// The process of a server, which comes and goes.
#[derive(Debug)]
pub(crate) struct Postmaster {
    /// The server's name.
    pub(crate) name: String,
    /// The folder of its data.
    pub(crate) data: PathBuf,
    /// The file of its log.
    pub(crate) log: PathBuf,
    /// What it has in common with the other servers.
    pub(crate) context: Arc<Context>,
    process: Mutex<Option<Child>>,
}

/// What the servers of a cluster have in common.
#[derive(Debug)]
pub(crate) struct Context {
    /// The programs that make and run it.
    pub(crate) programs: Programs,
    /// The user it runs as.
    pub(crate) identity: Identity,
    /// What ends it with this process.
    pub(crate) supervisor: Supervisor,
    /// How long anything may take.
    pub(crate) patience: Duration,
    /// What keeps other processes away from a directory that stays.
    pub(crate) _ownership: Option<File>,
}

impl Postmaster {
    /// Describes a server's process; it is not running.
    pub(crate) fn new(name: String, data: PathBuf, log: PathBuf, context: Arc<Context>) -> Self {
        Self { name, data, log, context, process: Mutex::new(None) }
    }

    /// Starts the process and waits until it accepts connections.
    ///
    /// After a kill the old processes take a while to let go of their shared memory, and a new one
    /// fails until then.
    pub(crate) async fn start(&self) -> Result<(), Error> {
        let was_killed = self.data.join(LOCK_FILE).exists();
        let remains = Deadline::after(PATIENCE_FOR_REMAINS);
        loop {
            match self.start_once().await {
                Err(Error::StartFailed { .. }) if was_killed && !remains.has_passed() => {
                    tokio::time::sleep(PAUSE_FOR_REMAINS).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Ends the process by a signal and waits until it is gone.
    pub(crate) async fn end_by(&self, signal: Signal) -> Result<(), Error> {
        if !self.is_running() {
            return Ok(());
        }
        self.signal(signal)?;
        // A frozen process takes no other signal; one already gone needs none.
        let _ = self.signal(Signal::CONT);
        let deadline = self.deadline();
        while self.is_running() {
            deadline.pause(|waited| self.timed_out("end", waited)).await?;
        }
        Ok(())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let process = self.process();
        let id = process.as_ref().and_then(|child| Pid::from_raw(child.id().try_into().ok()?));
        let Some(id) = id else {
            return Err(Error::Stopped { server: self.name.clone() });
        };
        rustix::process::kill_process(id, signal)
            .map_err(|error| Error::io("signal the server in", &self.data)(error.into()))
    }

    /// Says whether the process exists; takes note of one that has ended.
    pub(crate) fn is_running(&self) -> bool {
        !matches!(self.poll(), Ok(State::Absent | State::Ended(_)))
    }

    /// Returns the id of the process, if it exists.
    pub(crate) fn id(&self) -> Option<u32> {
        match self.poll() {
            Ok(State::Running(id)) => Some(id),
            _ => None,
        }
    }

    /// Makes the error of something that took too long.
    pub(crate) fn timed_out(&self, action: &'static str, waited: Duration) -> Error {
        let log = data::tail(&self.log, 0);
        Error::TimedOut { server: self.name.clone(), action, waited, log }
    }

    /// Returns the deadline of a wait that begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.context.patience)
    }

    async fn start_once(&self) -> Result<(), Error> {
        let written = fs::metadata(&self.log).map_or(0, |log| log.len());
        self.launch()?;
        let deadline = self.deadline();
        loop {
            match self.poll()? {
                State::Running(process) if self.is_ready(process) => return Ok(()),
                State::Running(_) => {}
                State::Ended(status) => {
                    let (server, status) = (self.name.clone(), status.to_string());
                    let log = data::tail(&self.log, written);
                    return Err(Error::StartFailed { server, status, log });
                }
                State::Absent => return Err(Error::Stopped { server: self.name.clone() }),
            }
            deadline.pause(|waited| self.timed_out("start", waited)).await?;
        }
    }

    /// Launches the process, unless it is running.
    fn launch(&self) -> Result<(), Error> {
        if self.is_running() {
            return Ok(());
        }
        let mut process = self.process();
        *process = Some(self.context.supervisor.launch(Launch {
            program: &self.context.programs.postgres(),
            arguments: &[OsStr::new("-D"), self.data.as_os_str()],
            folder: &self.data,
            identity: &self.context.identity,
            output: data::appendable(&self.log)?,
        })?);
        Ok(())
    }

    /// Says whether the process has written that it accepts connections.
    fn is_ready(&self, process: u32) -> bool {
        // The file names the folder, which need not be UTF-8.
        let text = fs::read(self.data.join(LOCK_FILE)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().map(str::trim);
        let is_its_own = lines.next() == Some(process.to_string().as_str());
        is_its_own && lines.nth(6) == Some("ready")
    }

    fn poll(&self) -> Result<State, Error> {
        let mut process = self.process();
        let Some(child) = process.as_mut() else {
            return Ok(State::Absent);
        };
        let ended = child.try_wait().map_err(Error::io("wait for the server in", &self.data))?;
        let Some(status) = ended else {
            return Ok(State::Running(child.id()));
        };
        self.context.supervisor.forget(child);
        *process = None;
        Ok(State::Ended(status))
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of the process; its end is reported once.
#[derive(Debug)]
enum State {
    Absent,
    Ended(ExitStatus),
    Running(u32),
}

/// The file a server writes about itself and removes when it ends in good order.
const LOCK_FILE: &str = "postmaster.pid";

/// How long the processes of a killed server may hold on to its shared memory.
const PATIENCE_FOR_REMAINS: Duration = Duration::from_secs(20);

const PAUSE_FOR_REMAINS: Duration = Duration::from_millis(50);
