//! A server of a cluster and its controls.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::Error;
use crate::data;
use crate::identity::Identity;
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
    /// Creates the handle of a server whose data is in `data`. It is not running.
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

    /// Returns the URL of a database on the server, for its superuser.
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

    /// Returns whether the server is a primary: created as the primary, or promoted.
    pub fn is_primary(&self) -> bool {
        !self.data().join(STANDBY_SIGNAL).exists()
    }

    /// Returns whether the server's process exists.
    pub fn is_running(&self) -> bool {
        self.postmaster.is_running()
    }

    /// Returns the process id of the server's postmaster, if it is running.
    pub fn process_id(&self) -> Option<u32> {
        self.postmaster.id()
    }

    /// Returns the CPU time that all processes of the server have used since its start.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], [`Error::Io`], also on a system without `/proc`.
    pub fn cpu_time(&self) -> Result<Duration, Error> {
        self.postmaster.cpu_time()
    }

    /// Starts the server and waits until it accepts connections. Does nothing if it is running.
    ///
    /// After a kill, the start waits until the old backends have released their shared memory.
    ///
    /// # Errors
    ///
    /// [`Error::StartFailed`] with the end of the log, [`Error::TimedOut`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the server may or may not start.
    pub async fn start(&self) -> Result<(), Error> {
        self.postmaster.start().await
    }

    /// Stops the server in fast mode, which ends its sessions, and waits for its exit.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the server still stops.
    pub async fn stop(&self) -> Result<(), Error> {
        self.postmaster.end_by(Signal::INT).await
    }

    /// Stops the server in immediate mode, as `pg_ctl stop -m immediate` does. The next start
    /// recovers.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the server still stops.
    pub async fn stop_immediately(&self) -> Result<(), Error> {
        self.postmaster.end_by(Signal::QUIT).await
    }

    /// Kills the server's postmaster with SIGKILL. The backends end by themselves soon afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the server is still killed.
    pub async fn kill(&self) -> Result<(), Error> {
        self.postmaster.end_by(Signal::KILL).await
    }

    /// Kills a backend with SIGKILL. The server then ends all other backends and recovers.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no such process.
    pub fn kill_backend(&self, process_id: i32) -> Result<(), Error> {
        self.signal_backend(process_id, Signal::KILL, "kill a backend of")
    }

    /// Stops a backend with SIGSTOP: it neither reads nor writes.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no such process.
    pub fn sigstop_backend(&self, process_id: i32) -> Result<(), Error> {
        self.signal_backend(process_id, Signal::STOP, "stop a backend of")
    }

    /// Continues a stopped backend with SIGCONT.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no such process.
    pub fn sigcont_backend(&self, process_id: i32) -> Result<(), Error> {
        self.signal_backend(process_id, Signal::CONT, "continue a backend of")
    }

    /// Stops the server in fast mode and starts it again.
    ///
    /// # Errors
    ///
    /// As for [`stop`](Self::stop) and [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// If dropped, the server may stay stopped.
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.start().await
    }

    /// Stops the postmaster with SIGSTOP: new connections wait, open sessions continue.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], [`Error::Io`].
    pub fn sigstop(&self) -> Result<(), Error> {
        self.postmaster.signal(Signal::STOP)
    }

    /// Continues a stopped postmaster with SIGCONT.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], [`Error::Io`].
    pub fn sigcont(&self) -> Result<(), Error> {
        self.postmaster.signal(Signal::CONT)
    }

    /// Stops all processes of the server with SIGSTOP, and waits until they are stopped: new
    /// connections wait, and open sessions neither read nor write.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], [`Error::TimedOut`], [`Error::Io`], also on a system without `/proc`.
    ///
    /// # Cancel safety
    ///
    /// If dropped, some processes may be stopped.
    pub async fn freeze(&self) -> Result<(), Error> {
        self.postmaster.freeze().await
    }

    /// Continues all processes of a frozen server with SIGCONT.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], [`Error::Io`].
    pub fn thaw(&self) -> Result<(), Error> {
        self.postmaster.thaw()
    }

    /// Changes a setting, until the cluster is started again. A server that is running reloads its
    /// settings, and new sessions have them when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`], [`Error::Sql`], [`Error::TimedOut`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the setting may or may not be changed.
    pub async fn set(&self, name: &str, value: impl ToString) -> Result<(), Error> {
        let mut settings = Settings::default();
        settings.set(name, value);
        self.set_all(&settings).await
    }

    /// Pauses the replay of a standby and waits until it is paused.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`], also when the server is a primary, and [`Error::TimedOut`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the replay may or may not be paused.
    pub async fn pause_replay(&self) -> Result<(), Error> {
        let action = "pause its replay";
        let session = Session::open(self).await?;
        session.execute(action, "SELECT pg_wal_replay_pause()").await?;
        let deadline = self.deadline();
        let query = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
        while !session.query_value::<bool>(action, query, &[]).await? {
            deadline.pause(|waited| self.timed_out(action, waited)).await?;
        }
        Ok(())
    }

    /// Resumes the replay of a standby.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`], also when the server is a primary.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the replay may or may not be paused.
    pub async fn resume_replay(&self) -> Result<(), Error> {
        let session = Session::open(self).await?;
        session.execute("resume its replay", "SELECT pg_wal_replay_resume()").await
    }

    /// Starts the server for the first time in this cluster, on a free port.
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

    /// Changes settings, as [`set`](Self::set) does.
    pub(crate) async fn set_all(&self, settings: &Settings) -> Result<(), Error> {
        data::extend_configuration(self.data(), settings)?;
        if !self.is_running() {
            return Ok(());
        }
        let action = "reload its settings";
        let loaded = "SELECT pg_conf_load_time()::text";
        let before: String = Session::open(self).await?.query_value(action, loaded, &[]).await?;
        self.postmaster.signal(Signal::HUP)?;
        let deadline = self.deadline();
        // A new session has the settings that the postmaster had loaded.
        while Session::open(self).await?.query_value::<String>(action, loaded, &[]).await? == before
        {
            deadline.pause(|waited| self.timed_out(action, waited)).await?;
        }
        Ok(())
    }

    /// Returns the user that the server runs as.
    pub(crate) fn identity(&self) -> &Identity {
        &self.postmaster.context.identity
    }

    /// Returns the timeout of each operation.
    pub(crate) fn timeout(&self) -> Duration {
        self.postmaster.context.timeout
    }

    /// Reaps the process if it has ended.
    pub(crate) fn reap(&self) {
        self.postmaster.is_running();
    }

    /// Returns the error of an action that timed out.
    pub(crate) fn timed_out(&self, action: &'static str, waited: Duration) -> Error {
        self.postmaster.timed_out(action, waited)
    }

    /// Returns the deadline of a wait that starts now.
    pub(crate) fn deadline(&self) -> Deadline {
        self.postmaster.deadline()
    }

    fn signal_backend(
        &self,
        process_id: i32,
        signal: Signal,
        action: &'static str,
    ) -> Result<(), Error> {
        // Zero and negative numbers would signal process groups, or all processes.
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
        data::write_configuration(self.data(), &all, self.identity())
    }
}

/// The name of the server that is not a standby.
pub(crate) const PRIMARY: &str = "primary";

/// The file whose presence makes a server a standby.
pub(crate) const STANDBY_SIGNAL: &str = "standby.signal";

const ATTEMPTS_TO_LISTEN: u32 = 5;
