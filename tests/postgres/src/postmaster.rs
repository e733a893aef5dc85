//! The main process of a server, its postmaster.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::data;
use crate::identity::Identity;
use crate::processes;
use crate::supervisor::{Launch, Supervisor};
use crate::wait::Deadline;
use crate::{Error, Programs};

/// The postmaster of a server, which may be running or not.
#[derive(Debug)]
pub(crate) struct Postmaster {
    /// The server's name.
    pub(crate) name: String,
    /// The folder of its data.
    pub(crate) data: PathBuf,
    /// The file of its log.
    pub(crate) log: PathBuf,
    /// The context that all servers of the cluster share.
    pub(crate) context: Arc<Context>,
    process: Mutex<Option<Child>>,
}

/// The context that all servers of a cluster share.
#[derive(Debug)]
pub(crate) struct Context {
    /// PostgreSQL's programs.
    pub(crate) programs: Programs,
    /// The user that the servers run as.
    pub(crate) identity: Identity,
    /// The supervisor, which ends the servers when this process ends.
    pub(crate) supervisor: Supervisor,
    /// The timeout of each operation.
    pub(crate) timeout: Duration,
    /// The lock that keeps other processes from using a kept directory.
    pub(crate) _ownership: Option<File>,
}

impl Postmaster {
    /// Creates the handle of a postmaster that is not running.
    pub(crate) fn new(name: String, data: PathBuf, log: PathBuf, context: Arc<Context>) -> Self {
        Self { name, data, log, context, process: Mutex::new(None) }
    }

    /// Starts the process and waits until it accepts connections.
    ///
    /// The backends of a killed postmaster keep its shared memory for a while, and a new postmaster
    /// fails to start until then.
    pub(crate) async fn start(&self) -> Result<(), Error> {
        let was_killed = self.data.join(LOCK_FILE).exists();
        let left_backends = Deadline::after(LEFT_BACKENDS_TIMEOUT);
        loop {
            match self.start_once().await {
                Err(Error::StartFailed { .. }) if was_killed && !left_backends.has_passed() => {
                    tokio::time::sleep(LEFT_BACKENDS_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Ends the process with a signal and waits for its exit.
    pub(crate) async fn end_by(&self, signal: Signal) -> Result<(), Error> {
        if !self.is_running() {
            return Ok(());
        }
        self.signal(signal)?;
        // A stopped process does not handle other signals. An error means that it has already
        // ended.
        let _ = self.signal(Signal::CONT);
        let deadline = self.deadline();
        while self.is_running() {
            deadline.pause(|waited| self.timed_out("end", waited)).await?;
        }
        Ok(())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let id = self.running_id()?;
        rustix::process::kill_process(id, signal)
            .map_err(|error| Error::io("signal the server in", &self.data)(error.into()))
    }

    /// Stops the process and all of its children, and waits until they are stopped.
    pub(crate) async fn freeze(&self) -> Result<(), Error> {
        // The postmaster is the first, so that it starts no process that would keep running.
        self.signal(Signal::STOP)?;
        let deadline = self.deadline();
        let pause = || deadline.pause(|waited| self.timed_out("freeze", waited));
        let postmaster = self.running_id()?;
        while !processes::is_stopped(postmaster)? {
            pause().await?;
        }
        for child in processes::signal_children(postmaster, Signal::STOP)? {
            while !processes::is_stopped(child)? {
                pause().await?;
            }
        }
        Ok(())
    }

    /// Continues the process and all of its children.
    pub(crate) fn thaw(&self) -> Result<(), Error> {
        processes::signal_children(self.running_id()?, Signal::CONT)?;
        self.signal(Signal::CONT)
    }

    /// Returns the CPU time of the process and its children.
    pub(crate) fn cpu_time(&self) -> Result<Duration, Error> {
        processes::cpu_time(self.running_id()?)
    }

    /// Returns whether the process exists, and reaps it if it has ended.
    pub(crate) fn is_running(&self) -> bool {
        !matches!(self.poll(), Ok(State::Absent | State::Ended(_)))
    }

    fn running_id(&self) -> Result<Pid, Error> {
        let id = self.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        id.ok_or_else(|| Error::Stopped { server: self.name.clone() })
    }

    /// Returns the process id if the process is running.
    pub(crate) fn id(&self) -> Option<u32> {
        match self.poll() {
            Ok(State::Running(id)) => Some(id),
            _ => None,
        }
    }

    /// Returns the error of an action that timed out.
    pub(crate) fn timed_out(&self, action: &'static str, waited: Duration) -> Error {
        let log = data::tail(&self.log, 0);
        Error::TimedOut { server: self.name.clone(), action, waited, log }
    }

    /// Returns the deadline of a wait that starts now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.context.timeout)
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

    /// Returns whether the process has written that it accepts connections.
    fn is_ready(&self, process: u32) -> bool {
        // The file contains the path of the folder, which need not be UTF-8.
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

/// The state of the process. `Ended` is returned once.
#[derive(Debug)]
enum State {
    Absent,
    Ended(ExitStatus),
    Running(u32),
}

/// The file with the state of a server, which an orderly shutdown removes.
const LOCK_FILE: &str = "postmaster.pid";

/// The longest time for which the backends of a killed server may keep its shared memory.
const LEFT_BACKENDS_TIMEOUT: Duration = Duration::from_secs(20);

const LEFT_BACKENDS_PAUSE: Duration = Duration::from_millis(50);
