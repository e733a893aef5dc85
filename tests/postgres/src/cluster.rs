//! A primary and its standbys.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use futures_util::future::try_join_all;

use crate::data::ClusterDirectory;
use crate::postmaster::Context;
use crate::settings::Settings;
use crate::sql::{self, Session};
use crate::wait::INTERVAL;
use crate::{Builder, Error, Programs, Server};

/// A primary and its streaming standbys on this machine.
///
/// Dropping it stops its servers, removes a temporary directory, and waits for both. The same
/// happens in the background if the process ends in any other way.
#[derive(Debug)]
pub struct Cluster {
    primary: Server,
    standbys: Vec<Server>,
    directory: ClusterDirectory,
    is_new: bool,
    context: Arc<Context>,
}

impl Cluster {
    /// Returns a builder of a cluster.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the server that was created as the primary.
    pub fn primary(&self) -> &Server {
        &self.primary
    }

    /// Returns the servers that were created as standbys.
    pub fn standbys(&self) -> &[Server] {
        &self.standbys
    }

    /// Iterates over all servers, the primary first.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        [&self.primary].into_iter().chain(&self.standbys)
    }

    /// Returns the directory of the servers' data and logs.
    pub fn directory(&self) -> &Path {
        self.directory.root()
    }

    /// Returns whether the cluster was created by this start, rather than found in its directory.
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
    /// If dropped, the database may or may not be created.
    pub async fn create_database(&self, name: &str) -> Result<(), Error> {
        let statement = format!("CREATE DATABASE {}", sql::identifier(name));
        let session = Session::open(&self.primary).await?;
        session.execute("create a database", &statement).await?;
        self.wait_for_replay().await
    }

    /// Returns whether the primary has a database of that name.
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
        session.query_value("look for a database", query, &[&name]).await
    }

    /// Waits until every running standby has replayed all commits before this call.
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
        let position = self.primary.mark().await?;
        try_join_all(self.running_standbys().map(|standby| standby.catch_up(&position))).await?;
        Ok(())
    }

    /// Waits until every running standby is streaming from the primary.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Sql`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn wait_until_streaming(&self) -> Result<(), Error> {
        let names: Vec<&str> = self.running_standbys().map(Server::name).collect();
        self.primary.wait_until_streaming_to(&names).await
    }

    /// Creates the handle of a cluster in a directory, without starting its servers.
    pub(crate) fn new(
        directory: ClusterDirectory,
        standbys: usize,
        is_new: bool,
        context: Arc<Context>,
    ) -> Self {
        let server = |name: String| {
            let (data, log) = (directory.servers().join(&name), directory.log(&name));
            Server::new(name, data, log, Arc::clone(&context))
        };
        let primary = server(crate::server::PRIMARY.to_owned());
        let standbys = (1..=standbys).map(|number| server(standby_name(number))).collect();
        Self { primary, standbys, directory, is_new, context }
    }

    /// Starts all servers and waits until the standbys are streaming.
    pub(crate) async fn bring_up(&mut self, settings: &Settings) -> Result<(), Error> {
        self.primary.start_on_free_port(settings).await?;
        let names: Vec<&str> = self.standbys.iter().map(Server::name).collect();
        self.primary.reserve_slots(&names).await?;
        let port = self.primary.port();
        try_join_all(
            self.standbys.iter_mut().map(|standby| start_standby(standby, port, settings)),
        )
        .await?;
        self.wait_until_streaming().await
    }

    /// Iterates over the running standbys that have not been promoted.
    fn running_standbys(&self) -> impl Iterator<Item = &Server> {
        self.standbys.iter().filter(|server| server.is_running() && !server.is_primary())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.context.supervisor.end();
        while !self.context.supervisor.has_ended() {
            // An ended process may look alive to the supervisor until this process has waited for
            // it.
            self.servers().for_each(Server::reap);
            thread::sleep(INTERVAL);
        }
        self.servers().for_each(Server::reap);
    }
}

/// Returns the name of a standby. Numbers start at one.
pub(crate) fn standby_name(number: usize) -> String {
    format!("standby_{number}")
}

async fn start_standby(standby: &mut Server, primary: u16, common: &Settings) -> Result<(), Error> {
    let mut settings = standby.source(primary);
    settings.extend(common);
    standby.start_on_free_port(&settings).await
}
