//! One server of a cluster and what can be done to it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::data;
use crate::identity::Identity;
use crate::settings::Settings;
use crate::sql::Session;
use crate::supervisor::{Launch, Supervisor};
use crate::wait::Deadline;
use crate::{Error, Programs};

/// A PostgreSQL server on this machine.
#[derive(Debug)]
pub struct Server {
    name: String,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    process: Mutex<Option<Child>>,
    context: Arc<Context>,
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

impl Server {
    /// Describes a server whose data is in `data`; it is not running.
    pub(crate) fn new(name: String, data: PathBuf, log: PathBuf, context: Arc<Context>) -> Self {
        Self { name, data, log, port: 0, process: Mutex::new(None), context }
    }

    /// Returns the name: `primary`, `standby_1` and so on.
    ///
    /// The name is also the server's `cluster_name` and, for a standby, the name of its replication
    /// slot and of its connection to the primary.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the address of a database on the server, with its superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}:{}/{database}", self.host(), self.port)
    }

    /// Returns the host, which is always 127.0.0.1.
    pub fn host(&self) -> &str {
        "127.0.0.1"
    }

    /// Returns the port, which stays the same while the cluster exists.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of the server's log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Returns the folder of the server's data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Says whether the server is a primary: one that was made as such, or has been promoted.
    pub fn is_primary(&self) -> bool {
        !self.data.join(STANDBY_SIGNAL).exists()
    }

    /// Says whether the server's process exists.
    pub fn is_running(&self) -> bool {
        !matches!(self.poll(), Ok(Process::Absent | Process::Ended(_)))
    }

    /// Returns the process id of the server, its postmaster, if it is running.
    pub fn process_id(&self) -> Option<u32> {
        self.process().as_ref().map(Child::id)
    }

    /// Starts the server and waits until it accepts connections; does nothing to a running one.
    ///
    /// A server that was killed has first to wait for its old processes to let go of their shared
    /// memory.
    ///
    /// # Errors
    ///
    /// [`Error::StartFailed`] with the end of the log, [`Error::TimedOut`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// When dropped, the server may or may not come up.
    pub async fn start(&self) -> Result<(), Error> {
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

    /// Stops the server in good order, ending its sessions, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// When dropped, the server still stops.
    pub async fn stop(&self) -> Result<(), Error> {
        self.end_by(Signal::INT).await
    }

    /// Stops the server at once, as `pg_ctl stop -m immediate` does: it will have to recover.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// When dropped, the server still stops.
    pub async fn stop_immediately(&self) -> Result<(), Error> {
        self.end_by(Signal::QUIT).await
    }

    /// Kills the server's postmaster by SIGKILL; the sessions end themselves soon afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// When dropped, the server is killed all the same.
    pub async fn kill(&self) -> Result<(), Error> {
        self.end_by(Signal::KILL).await
    }

    /// Kills one session's process by SIGKILL; the server then ends all others and recovers.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is no such process.
    pub fn kill_backend(&self, process_id: i32) -> Result<(), Error> {
        let process = Pid::from_raw(process_id).ok_or(std::io::ErrorKind::InvalidInput.into());
        process
            .and_then(|process| Ok(rustix::process::kill_process(process, Signal::KILL)?))
            .map_err(Error::io("kill a session of", &self.data))
    }

    /// Stops the server in good order and starts it again.
    ///
    /// # Errors
    ///
    /// As for [`stop`](Self::stop) and [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// When dropped, the server may be left stopped.
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.start().await
    }

    /// Freezes the postmaster: whoever connects from now on waits, open sessions go on.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], [`Error::Io`].
    pub fn sigstop(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen postmaster go on.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], [`Error::Io`].
    pub fn sigcont(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// Pauses the replay of a standby and waits until nothing more is replayed.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`], also when the server is a primary, and [`Error::TimedOut`].
    ///
    /// # Cancel safety
    ///
    /// When dropped, the replay may or may not be paused.
    pub async fn pause_replay(&self) -> Result<(), Error> {
        let action = "pause its replay";
        let session = Session::open(self).await?;
        session.execute(action, "SELECT pg_wal_replay_pause()").await?;
        let deadline = self.deadline();
        let query = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
        while !session.ask::<bool>(action, query, &[]).await? {
            deadline.pause(|waited| self.timed_out(action, waited)).await?;
        }
        Ok(())
    }

    /// Lets the replay of a standby go on.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`], also when the server is a primary.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the replay may or may not be paused.
    pub async fn resume_replay(&self) -> Result<(), Error> {
        let session = Session::open(self).await?;
        session.execute("resume its replay", "SELECT pg_wal_replay_resume()").await
    }

    /// Makes a standby a primary and waits until it accepts writes.
    ///
    /// The old primary is not touched, and other standbys do not follow the new one.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`], also when the server is a primary, and [`Error::TimedOut`].
    ///
    /// # Cancel safety
    ///
    /// When dropped, the promotion goes on by itself.
    pub async fn promote(&self) -> Result<(), Error> {
        let action = "become a primary";
        let patience = self.context.patience;
        let seconds = i32::try_from(patience.as_secs()).unwrap_or(i32::MAX).max(1);
        let session = Session::open(self).await?;
        match session.ask(action, "SELECT pg_promote(true, $1)", &[&seconds]).await? {
            true => Ok(()),
            false => Err(self.timed_out(action, patience)),
        }
    }

    /// Starts the server for the first time in this cluster, on a port that is free.
    pub(crate) async fn start_on_free_port(&mut self, settings: &Settings) -> Result<(), Error> {
        for _ in 1..ATTEMPTS_TO_LISTEN {
            self.take_free_port(settings)?;
            match self.start().await {
                Err(Error::StartFailed { .. }) if !is_free(self.port) => {}
                outcome => return outcome,
            }
        }
        self.take_free_port(settings)?;
        self.start().await
    }

    /// Waits until a standby has replayed everything up to a position of the primary.
    pub(crate) async fn catch_up(&self, position: &str) -> Result<(), Error> {
        let action = "replay what the primary wrote";
        let session = Session::open(self).await?;
        let deadline = self.deadline();
        let query = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)";
        while !session.ask::<bool>(action, query, &[&position]).await? {
            deadline.pause(|waited| self.timed_out(action, waited)).await?;
        }
        Ok(())
    }

    /// Waits for the process of a server that has ended.
    pub(crate) fn reap(&self) {
        // What cannot be waited for is not there.
        let _ = self.poll();
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

    fn take_free_port(&mut self, settings: &Settings) -> Result<(), Error> {
        self.port = free_port()?;
        let mut all = Settings::default();
        all.set("port", self.port);
        all.set("cluster_name", &self.name);
        all.extend(settings);
        data::write_configuration(&self.data, &all, &self.context.identity)
    }

    async fn start_once(&self) -> Result<(), Error> {
        let written = fs::metadata(&self.log).map_or(0, |log| log.len());
        self.launch()?;
        let deadline = self.deadline();
        loop {
            match self.poll()? {
                Process::Running(process) if self.is_ready(process) => return Ok(()),
                Process::Running(_) => {}
                Process::Ended(status) => {
                    let (server, status) = (self.name.clone(), status.to_string());
                    let log = data::tail(&self.log, written);
                    return Err(Error::StartFailed { server, status, log });
                }
                Process::Absent => {
                    return Err(Error::Stopped { server: self.name.clone() });
                }
            }
            deadline.pause(|waited| self.timed_out("start", waited)).await?;
        }
    }

    /// Launches the server, unless it is running.
    fn launch(&self) -> Result<(), Error> {
        self.poll()?;
        let mut process = self.process();
        if process.is_some() {
            return Ok(());
        }
        let folder = self.data.to_string_lossy();
        *process = Some(self.context.supervisor.launch(Launch {
            program: &self.context.programs.postgres(),
            arguments: &["-D", &folder],
            folder: &self.data,
            identity: &self.context.identity,
            output: data::appendable(&self.log)?,
        })?);
        Ok(())
    }

    /// Says whether the process has written that it accepts connections.
    fn is_ready(&self, process: u32) -> bool {
        let text = fs::read_to_string(self.data.join(LOCK_FILE)).unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        let is_its_own = lines.next() == Some(process.to_string().as_str());
        is_its_own && lines.nth(6) == Some("ready")
    }

    async fn end_by(&self, signal: Signal) -> Result<(), Error> {
        if !self.is_running() {
            return Ok(());
        }
        self.signal(signal)?;
        // A frozen server takes no other signal; one already gone needs none.
        let _ = self.signal(Signal::CONT);
        let deadline = self.deadline();
        while self.is_running() {
            deadline.pause(|waited| self.timed_out("end", waited)).await?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let process = self.process();
        let id = process.as_ref().and_then(|child| Pid::from_raw(child.id().try_into().ok()?));
        let Some(id) = id else {
            return Err(Error::Stopped { server: self.name.clone() });
        };
        rustix::process::kill_process(id, signal)
            .map_err(|error| Error::io("signal the server in", &self.data)(error.into()))
    }

    fn poll(&self) -> Result<Process, Error> {
        let mut process = self.process();
        let Some(child) = process.as_mut() else {
            return Ok(Process::Absent);
        };
        let ended = child.try_wait().map_err(Error::io("wait for the server in", &self.data))?;
        let Some(status) = ended else {
            return Ok(Process::Running(child.id()));
        };
        self.context.supervisor.forget(child);
        *process = None;
        Ok(Process::Ended(status))
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a server's process; its end is reported once.
#[derive(Debug)]
enum Process {
    Absent,
    Ended(ExitStatus),
    Running(u32),
}

/// Finds a port nobody listens on.
///
/// It lies below the ports that systems hand out by themselves, so that no client takes the port
/// of a server that is stopped for a while.
fn free_port() -> Result<u16, Error> {
    let mut last = 0;
    for _ in 0..1000 {
        let port = PORTS.start + (data::random() % u64::from(PORTS.end - PORTS.start)) as u16;
        if is_free(port) {
            return Ok(port);
        }
        last = port;
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, last))
        .map(|_| last)
        .map_err(Error::io("listen on", Path::new("127.0.0.1")))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The name of the server that is not a standby.
pub(crate) const PRIMARY: &str = "primary";

/// The file that makes a server a standby.
pub(crate) const STANDBY_SIGNAL: &str = "standby.signal";

const LOCK_FILE: &str = "postmaster.pid";

const PORTS: std::ops::Range<u16> = 20_000..32_000;

const ATTEMPTS_TO_LISTEN: u32 = 5;

/// How long the processes of a killed server may hold on to its shared memory.
const PATIENCE_FOR_REMAINS: Duration = Duration::from_secs(20);

const PAUSE_FOR_REMAINS: Duration = Duration::from_millis(50);
