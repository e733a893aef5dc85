//! Replication between the servers of a cluster.

use std::fs;
use std::path::Path;

use crate::data::{self, CONFIGURATION};
use crate::server::STANDBY_SIGNAL;
use crate::settings::Settings;
use crate::sql::Session;
use crate::{Error, Server};

impl Server {
    /// Promotes a standby and waits until it accepts writes.
    ///
    /// The old primary keeps running, and other standbys do not [follow](Self::follow) the new one.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`], also when the server is a primary, and [`Error::TimedOut`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the promotion continues.
    pub async fn promote(&self) -> Result<(), Error> {
        let action = "become a primary";
        let timeout = self.timeout();
        let seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX).max(1);
        let session = Session::open(self).await?;
        match session.query_value(action, "SELECT pg_promote(true, $1)", &[&seconds]).await? {
            true => Ok(()),
            false => Err(self.timed_out(action, timeout)),
        }
    }

    /// Makes the server a standby of another one, and waits until it streams from it.
    ///
    /// A running standby continues without a restart. A server that is not running is started, and
    /// a running primary is stopped in fast mode before. The server must not have WAL that the
    /// other one lacks: then it never streams, and needs to be [rebuilt](Self::rebuild).
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Sql`], [`Error::StartFailed`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the server may or may not be a standby of the other one.
    pub async fn follow(&self, primary: &Self) -> Result<(), Error> {
        primary.reserve_slots(&[self.name()]).await?;
        if self.is_primary() {
            self.stop().await?;
            data::write(&self.data().join(STANDBY_SIGNAL), "", self.identity())?;
        }
        self.set_all(&self.source(primary.port())).await?;
        self.start().await?;
        primary.wait_until_streaming_to(&[self.name()]).await
    }

    /// Stops the stream of a running standby, which then replays the WAL that it has received. It
    /// receives no more until it [follows](Self::follow) a server again.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Sql`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the stream may or may not end.
    pub async fn stop_streaming(&self) -> Result<(), Error> {
        let action = "stop streaming";
        self.set("primary_conninfo", "").await?;
        let query = "SELECT count(*) FROM pg_stat_wal_receiver";
        let session = Session::open(self).await?;
        let deadline = self.deadline();
        while session.query_value::<i64>(action, query, &[]).await? > 0 {
            deadline.pause(|waited| self.timed_out(action, waited)).await?;
        }
        Ok(())
    }

    /// Replaces the data of the server by that of another one, which keeps running, and makes it a
    /// standby of that one. Returns when it streams.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Sql`], [`Error::StartFailed`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the server may have incomplete data, and needs to be rebuilt again.
    pub async fn rebuild(&self, primary: &Self) -> Result<(), Error> {
        self.stop_immediately().await?;
        // The slot keeps the WAL since the beginning of the backup.
        primary.reserve_slots(&[self.name()]).await?;
        let backup = Backup::begin(primary).await?;
        let (source, target) = (primary.data().to_owned(), self.data().to_owned());
        let identity = self.identity().clone();
        let copied = tokio::task::spawn_blocking(move || {
            let configuration = target.join(CONFIGURATION);
            let own = fs::read(&configuration).map_err(Error::io("read", &configuration))?;
            fs::remove_dir_all(&target).map_err(Error::io("remove", &target))?;
            data::copy(&source, &target, &identity, is_not_in_a_backup)?;
            fs::write(&configuration, own).map_err(Error::io("write", &configuration))?;
            identity.own(&configuration)
        });
        // An error here means that the task was canceled or has panicked.
        copied.await.map_err(|error| Error::io("replace", self.data())(error.into()))??;
        let label = backup.end().await?;
        data::write(&self.data().join("backup_label"), &label, self.identity())?;
        data::write(&self.data().join(STANDBY_SIGNAL), "", self.identity())?;
        self.follow(primary).await
    }

    /// Waits until a standby has replayed all commits of another server before this call.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Sql`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn catch_up_with(&self, primary: &Self) -> Result<(), Error> {
        self.catch_up(&primary.mark().await?).await
    }

    /// Writes a record to the WAL of a primary, and returns its LSN.
    pub(crate) async fn mark(&self) -> Result<String, Error> {
        // The current end of the WAL is not suitable: it may lie within a record that is written
        // out only with the next commit, so that standbys of an idle primary would wait for
        // seconds.
        let mark = "SELECT pg_logical_emit_message(true, 'mark', '')::text \
                    FROM set_config('synchronous_commit', 'local', true)";
        Session::open(self).await?.query_value("mark a position", mark, &[]).await
    }

    /// Waits until a standby has replayed the WAL up to an LSN of the primary.
    pub(crate) async fn catch_up(&self, position: &str) -> Result<(), Error> {
        let action = "replay what the primary wrote";
        let session = Session::open(self).await?;
        let deadline = self.deadline();
        let query = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)";
        while !session.query_value::<bool>(action, query, &[&position]).await? {
            deadline.pause(|waited| self.timed_out(action, waited)).await?;
        }
        Ok(())
    }

    /// Creates replication slots, so that a primary keeps the WAL that a stopped standby lacks.
    pub(crate) async fn reserve_slots(&self, names: &[&str]) -> Result<(), Error> {
        let statement = "SELECT count(pg_create_physical_replication_slot(name, true)) \
                         FROM unnest($1::text[]) AS name \
                         WHERE name NOT IN (SELECT slot_name FROM pg_replication_slots)";
        let session = Session::open(self).await?;
        session.query_value::<i64>("reserve a replication slot", statement, &[&names]).await?;
        Ok(())
    }

    /// Waits until all standbys of these names stream from a primary.
    pub(crate) async fn wait_until_streaming_to(&self, names: &[&str]) -> Result<(), Error> {
        let action = "stream to its standbys";
        let query = "SELECT count(DISTINCT application_name) FROM pg_stat_replication \
                     WHERE state = 'streaming' AND application_name = ANY($1)";
        let session = Session::open(self).await?;
        let deadline = self.deadline();
        while session.query_value::<i64>(action, query, &[&names]).await? < names.len() as i64 {
            deadline.pause(|waited| self.timed_out(action, waited)).await?;
        }
        Ok(())
    }

    /// Returns the settings with which the server streams from a port of this machine.
    pub(crate) fn source(&self, port: u16) -> Settings {
        let mut settings = Settings::default();
        let name = self.name();
        let source = format!(
            "host=127.0.0.1 port={port} user=postgres application_name={name} sslmode=disable"
        );
        settings.set("primary_conninfo", source);
        settings.set("primary_slot_name", name);
        settings
    }
}

/// A backup that is being made of a running server.
struct Backup {
    /// The session that began the backup must also end it.
    session: Session,
    is_older_than_15: bool,
}

impl Backup {
    async fn begin(server: &Server) -> Result<Self, Error> {
        let action = "begin a backup";
        let session = Session::open(server).await?;
        let version = "SELECT current_setting('server_version_num')::int";
        let is_older_than_15 = session.query_value::<i32>(action, version, &[]).await? < 150_000;
        let begin = match is_older_than_15 {
            true => "SELECT pg_start_backup('rebuild', true, false)::text",
            false => "SELECT pg_backup_start('rebuild', true)::text",
        };
        session.query_value::<String>(action, begin, &[]).await?;
        Ok(Self { session, is_older_than_15 })
    }

    /// Ends the backup, and returns the content of its file `backup_label`.
    async fn end(self) -> Result<String, Error> {
        let end = match self.is_older_than_15 {
            true => "SELECT labelfile FROM pg_stop_backup(false, false)",
            false => "SELECT labelfile FROM pg_backup_stop(false)",
        };
        self.session.query_value("end a backup", end, &[]).await
    }
}

/// Returns whether a file of a running server does not belong into a backup of it.
fn is_not_in_a_backup(path: &Path) -> bool {
    let is_in = |folder: &str| path.parent().is_some_and(|parent| parent.ends_with(folder));
    let name = path.file_name().unwrap_or_default();
    let is_of_process = ["postmaster.pid", "postmaster.opts"].iter().any(|one| name == *one);
    // The standby streams the WAL, and a slot would keep WAL for a standby of another server.
    is_of_process || is_in("pg_wal") || is_in("pg_replslot")
}
