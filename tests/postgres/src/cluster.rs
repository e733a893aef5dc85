//! A primary and its standbys.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use futures_util::future::try_join_all;

use crate::data::Home;
use crate::postmaster::Context;
use crate::settings::Settings;
use crate::sql::{self, Session};
use crate::wait::INTERVAL;
use crate::{Builder, Error, Programs, Server};

/// A primary and its streaming standbys on this machine.
///
/// When dropped it ends its servers, removes a temporary directory, and waits until both are done.
/// The same happens, without anyone waiting, when the process ends in any other way.
#[derive(Debug)]
pub struct Cluster {
    primary: Server,
    standbys: Vec<Server>,
    home: Home,
    is_new: bool,
    context: Arc<Context>,
}

impl Cluster {
    /// Begins the description of a cluster.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the server that was made as the primary.
    pub fn primary(&self) -> &Server {
        &self.primary
    }

    /// Returns the servers that were made as standbys.
    pub fn standbys(&self) -> &[Server] {
        &self.standbys
    }

    /// Iterates over all servers, the primary first.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        [&self.primary].into_iter().chain(&self.standbys)
    }

    /// Returns the directory of the servers' data and logs.
    pub fn directory(&self) -> &Path {
        self.home.root()
    }

    /// Says whether the cluster was made just now, rather than found in its directory.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns the programs that the servers run.
    pub fn programs(&self) -> &Programs {
        &self.context.programs
    }

    /// Creates a database on the primary and waits until every standby has it.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`], also when the database exists, and as for
    /// [`wait_for_replay`](Self::wait_for_replay).
    ///
    /// # Cancel safety
    ///
    /// When dropped, the database may or may not come to exist.
    pub async fn create_database(&self, name: &str) -> Result<(), Error> {
        let statement = format!("CREATE DATABASE {}", sql::identifier(name));
        let session = Session::open(&self.primary).await?;
        session.execute("create a database", &statement).await?;
        self.wait_for_replay().await
    }

    /// Says whether the primary has a database of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn has_database(&self, name: &str) -> Result<bool, Error> {
        let query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
        let session = Session::open(&self.primary).await?;
        session.ask("look for a database", query, &[&name]).await
    }

    /// Waits until every running standby has replayed all that was committed before this call.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] naming the standby, for instance one whose replay is paused, and
    /// [`Error::Sql`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn wait_for_replay(&self) -> Result<(), Error> {
        // The log's own end would not do: it may lie within an event that is only written out with
        // the next commit, so that an idle primary leaves the standbys waiting for seconds.
        let mark = "SELECT pg_logical_emit_message(true, 'mark', '')::text \
                    FROM set_config('synchronous_commit', 'local', true)";
        let session = Session::open(&self.primary).await?;
        let position: String = session.ask("mark a position", mark, &[]).await?;
        try_join_all(self.followers().map(|standby| standby.catch_up(&position))).await?;
        Ok(())
    }

    /// Waits until every running standby receives what the primary writes.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Sql`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn wait_until_streaming(&self) -> Result<(), Error> {
        let action = "stream to its standbys";
        let query = "SELECT count(DISTINCT application_name) FROM pg_stat_replication \
                     WHERE state = 'streaming' AND application_name = ANY($1)";
        let names: Vec<&str> = self.followers().map(Server::name).collect();
        let session = Session::open(&self.primary).await?;
        let deadline = self.primary.deadline();
        while session.ask::<i64>(action, query, &[&names]).await? < names.len() as i64 {
            deadline.pause(|waited| self.primary.timed_out(action, waited)).await?;
        }
        Ok(())
    }

    /// Describes the cluster in a directory; nothing of it is running.
    pub(crate) fn new(home: Home, standbys: usize, is_new: bool, context: Arc<Context>) -> Self {
        let server = |name: String| {
            let (data, log) = (home.servers().join(&name), home.log(&name));
            Server::new(name, data, log, Arc::clone(&context))
        };
        let primary = server(crate::server::PRIMARY.to_owned());
        let standbys = (1..=standbys).map(|number| server(standby_name(number))).collect();
        Self { primary, standbys, home, is_new, context }
    }

    /// Starts all servers and waits until the standbys stream.
    pub(crate) async fn bring_up(&mut self, settings: &Settings) -> Result<(), Error> {
        self.primary.start_on_free_port(settings).await?;
        self.reserve_slots().await?;
        let port = self.primary.port();
        try_join_all(
            self.standbys.iter_mut().map(|standby| start_standby(standby, port, settings)),
        )
        .await?;
        self.wait_until_streaming().await
    }

    /// Makes the primary keep what a standby has not yet received, however long it is away.
    async fn reserve_slots(&self) -> Result<(), Error> {
        let statement = "SELECT count(pg_create_physical_replication_slot(name, true)) \
                         FROM unnest($1::text[]) AS name \
                         WHERE name NOT IN (SELECT slot_name FROM pg_replication_slots)";
        let names: Vec<&str> = self.standbys.iter().map(Server::name).collect();
        let session = Session::open(&self.primary).await?;
        session.ask::<i64>("reserve a replication slot", statement, &[&names]).await?;
        Ok(())
    }

    /// Iterates over the standbys that follow the primary at the moment.
    fn followers(&self) -> impl Iterator<Item = &Server> {
        self.standbys.iter().filter(|server| server.is_running() && !server.is_primary())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.context.supervisor.end();
        while !self.context.supervisor.has_ended() {
            // A process that has ended may look alive to the supervisor until it is looked at here.
            self.servers().for_each(Server::look);
            thread::sleep(INTERVAL);
        }
        self.servers().for_each(Server::look);
    }
}

/// Returns the name of a standby, counted from one.
pub(crate) fn standby_name(number: usize) -> String {
    format!("standby_{number}")
}

async fn start_standby(standby: &mut Server, primary: u16, common: &Settings) -> Result<(), Error> {
    let mut settings = Settings::default();
    let name = standby.name();
    let source = format!(
        "host=127.0.0.1 port={primary} user=postgres application_name={name} sslmode=disable"
    );
    settings.set("primary_conninfo", source);
    settings.set("primary_slot_name", name);
    settings.extend(common);
    standby.start_on_free_port(&settings).await
}
