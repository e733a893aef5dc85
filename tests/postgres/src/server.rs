//! One server of a cluster and what can be done to it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::Error;
use crate::data;
use crate::port::{free_port, is_free};
use crate::postmaster::{Context, Postmaster};
use crate::settings::Settings;
use crate::sql::Session;
use crate::wait::Deadline;

/// A PostgreSQL server on this machine.
#[derive(Debug)]
pub struct Server {
    postmaster: Postmaster,
    port: u16,
}

impl Server {
    /// Describes a server whose data is in `data`; it is not running.
    pub(crate) fn new(name: String, data: PathBuf, log: PathBuf, context: Arc<Context>) -> Self {
        Self { postmaster: Postmaster::new(name, data, log, context), port: 0 }
    }

    /// Returns the name: `primary`, `standby_1` and so on.
    ///
    /// The name is also the server's `cluster_name` and, for a standby, the name of its replication
    /// slot and of its connection to the primary.
    pub fn name(&self) -> &str {
        &self.postmaster.name
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
        &self.postmaster.log
    }

    /// Returns the folder of the server's data.
    pub fn data(&self) -> &Path {
        &self.postmaster.data
    }

    /// Says whether the server is a primary: one that was made as such, or has been promoted.
    pub fn is_primary(&self) -> bool {
        !self.data().join(STANDBY_SIGNAL).exists()
    }

    /// Says whether the server's process exists.
    pub fn is_running(&self) -> bool {
        self.postmaster.is_running()
    }

    /// Returns the process id of the server, its postmaster, if it is running.
    pub fn process_id(&self) -> Option<u32> {
        self.postmaster.id()
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
        self.postmaster.start().await
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
        self.postmaster.end_by(Signal::INT).await
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
        self.postmaster.end_by(Signal::QUIT).await
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
        self.postmaster.end_by(Signal::KILL).await
    }

    /// Kills one session's process by SIGKILL; the server then ends all others and recovers.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is no such process.
    pub fn kill_backend(&self, process_id: i32) -> Result<(), Error> {
        self.signal_backend(process_id, Signal::KILL, "kill a session of")
    }

    /// Freezes one session's process: it neither reads nor writes.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is no such process.
    pub fn sigstop_backend(&self, process_id: i32) -> Result<(), Error> {
        self.signal_backend(process_id, Signal::STOP, "freeze a session of")
    }

    /// Lets a session's frozen process go on.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is no such process.
    pub fn sigcont_backend(&self, process_id: i32) -> Result<(), Error> {
        self.signal_backend(process_id, Signal::CONT, "unfreeze a session of")
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
        self.postmaster.signal(Signal::STOP)
    }

    /// Lets a frozen postmaster go on.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], [`Error::Io`].
    pub fn sigcont(&self) -> Result<(), Error> {
        self.postmaster.signal(Signal::CONT)
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
        let patience = self.postmaster.context.patience;
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

    /// Takes note of a process that has ended.
    pub(crate) fn look(&self) {
        self.postmaster.is_running();
    }

    /// Makes the error of something that took too long.
    pub(crate) fn timed_out(&self, action: &'static str, waited: Duration) -> Error {
        self.postmaster.timed_out(action, waited)
    }

    /// Returns the deadline of a wait that begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        self.postmaster.deadline()
    }

    fn signal_backend(
        &self,
        process_id: i32,
        signal: Signal,
        action: &'static str,
    ) -> Result<(), Error> {
        // Zero and negative numbers would stand for groups of processes, or for all of them.
        let session = if process_id > 1 { Pid::from_raw(process_id) } else { None };
        session
            .ok_or(io::ErrorKind::InvalidInput.into())
            .and_then(|session| Ok(rustix::process::kill_process(session, signal)?))
            .map_err(Error::io(action, self.data()))
    }

    fn take_free_port(&mut self, settings: &Settings) -> Result<(), Error> {
        self.port = free_port()?;
        let mut all = Settings::default();
        all.set("port", self.port);
        all.set("cluster_name", self.name());
        all.extend(settings);
        let identity = &self.postmaster.context.identity;
        data::write_configuration(self.data(), &all, identity)
    }
}

/// The name of the server that is not a standby.
pub(crate) const PRIMARY: &str = "primary";

/// The file that makes a server a standby.
pub(crate) const STANDBY_SIGNAL: &str = "standby.signal";

const ATTEMPTS_TO_LISTEN: u32 = 5;
