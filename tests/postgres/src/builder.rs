//! Describing a cluster and making its data.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::standby_name;
use crate::data::{self, CONFIGURATION, Home, write_configuration};
use crate::identity::Identity;
use crate::install::{end_of, find_or_install};
use crate::postmaster::Context;
use crate::server::{PRIMARY, STANDBY_SIGNAL};
use crate::settings::Settings;
use crate::supervisor::{Launch, Supervisor};
use crate::{Cluster, Error, Programs};

/// Describes a cluster that is about to start.
#[derive(Clone, Debug)]
#[must_use = "a cluster starts only when `start` is called"]
pub struct Builder {
    standbys: usize,
    directory: Option<PathBuf>,
    programs: Option<Programs>,
    tls: Option<Tls>,
    patience: Duration,
    fsync: bool,
    max_connections: u32,
    shared_buffers: String,
    settings: Settings,
}

#[derive(Clone)]
struct Tls {
    certificate: String,
    key: String,
}

impl Builder {
    /// Sets the number of standbys. Defaults to none.
    pub fn standbys(mut self, standbys: usize) -> Self {
        self.standbys = standbys;
        self
    }

    /// Keeps the cluster in a directory. Defaults to a temporary one that is removed at the end.
    ///
    /// A cluster found there is started again, with the settings of this builder. The number of
    /// standbys cannot change, and with standbys `max_connections` can only grow.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets the programs to run. Defaults to what [`find_or_install`] finds; it says on standard
    /// error when it installs.
    pub fn programs(mut self, programs: Programs) -> Self {
        self.programs = Some(programs);
        self
    }

    /// Offers TLS on every server, by a certificate and its key in PEM. Defaults to no TLS.
    pub fn tls(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.tls = Some(Tls { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Sets how long a server may take to start, stop or replay. Defaults to one minute.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets whether commits wait for the disk. Defaults to true.
    pub fn fsync(mut self, fsync: bool) -> Self {
        self.fsync = fsync;
        self
    }

    /// Sets the number of connections each server accepts. Defaults to 200.
    pub fn max_connections(mut self, max_connections: u32) -> Self {
        self.max_connections = max_connections;
        self
    }

    /// Sets the size of each server's page cache. Defaults to `128MB`.
    pub fn shared_buffers(mut self, shared_buffers: impl Into<String>) -> Self {
        self.shared_buffers = shared_buffers.into();
        self
    }

    /// Adds a setting of `postgresql.conf` for every server. Wins over the builder's own.
    pub fn setting(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.settings.set(name, value);
        self
    }

    /// Starts the cluster and waits until every standby streams.
    ///
    /// # Errors
    ///
    /// [`Error::ProgramsMissing`], [`Error::StartFailed`] and [`Error::ProgramFailed`] with the
    /// end of the log, the `Directory...` errors, [`Error::InvalidSetting`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// When dropped, everything started so far ends.
    pub async fn start(self) -> Result<Cluster, Error> {
        let programs = match &self.programs {
            Some(programs) => programs.clone(),
            None => find_or_install(None, tell).await?,
        };
        self.settings.render()?;
        let identity = Identity::choose()?;
        let (home, supervisor, ownership) = match &self.directory {
            Some(folder) => {
                let home = Home::open(folder, &identity)?;
                let (ownership, lock) = home.lock(self.patience).await?;
                let supervisor = Supervisor::that_keeps(home.root(), lock)?;
                (home, supervisor, Some(ownership))
            }
            None => {
                // The supervisor comes first: there is no moment without someone to tidy up.
                let home = Home::temporary(&identity)?;
                let supervisor = Supervisor::that_removes(home.root())?;
                home.create(&identity)?;
                (home, supervisor, None)
            }
        };
        let context = Arc::new(Context {
            programs,
            identity,
            supervisor,
            patience: self.patience,
            _ownership: ownership,
        });
        let settings = self.settings_of_all(home.root(), &context.identity)?;
        let found = home.standbys()?;
        match found {
            None => self.create(&home, &settings, &context).await?,
            Some(found) if found == self.standbys => {}
            Some(found) => {
                let (directory, wanted) = (home.root().to_owned(), self.standbys);
                return Err(Error::DirectoryMismatch { directory, found, wanted });
            }
        }
        let mut cluster = Cluster::new(home, self.standbys, found.is_none(), context);
        cluster.bring_up(&settings).await?;
        Ok(cluster)
    }

    /// Makes the data of all servers: the primary's by `initdb`, the others' as copies of it.
    async fn create(
        &self,
        home: &Home,
        settings: &Settings,
        context: &Arc<Context>,
    ) -> Result<(), Error> {
        let unfinished = home.unfinished();
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(Error::io("remove", &unfinished))?;
        }
        data::create_private(&unfinished, &context.identity)?;
        let primary = unfinished.join(PRIMARY);
        self.create_primary(&primary, &home.log("creation"), settings, context).await?;
        let standbys: Vec<PathBuf> =
            (1..=self.standbys).map(|number| unfinished.join(standby_name(number))).collect();
        let identity = context.identity.clone();
        let copied = tokio::task::spawn_blocking(move || {
            standbys.iter().try_for_each(|standby| copy_as_standby(&primary, standby, &identity))
        });
        // A task that was neither cancelled nor panicked has a result.
        copied
            .await
            .map_err(|error| Error::io("copy the primary in", home.root())(error.into()))??;
        let servers = home.servers();
        fs::rename(&unfinished, &servers).map_err(Error::io("create", &servers))
    }

    async fn create_primary(
        &self,
        data: &Path,
        log: &Path,
        settings: &Settings,
        context: &Context,
    ) -> Result<(), Error> {
        let mut arguments = vec![OsStr::new("-D"), data.as_os_str()];
        arguments.extend(INITDB_ARGUMENTS.map(OsStr::new));
        run(&context.programs.initdb(), &arguments, log, context).await?;
        include_configuration(data)?;
        if self.standbys == 0 {
            return Ok(());
        }
        // The control file still holds initdb's limits, such as 100 connections, and a standby
        // copied from it would refuse to start with less. A start and a stop bring it up to date.
        write_configuration(data, settings, &context.identity)?;
        let [single, database] = ["--single", "postgres"].map(OsStr::new);
        let arguments = [single, OsStr::new("-D"), data.as_os_str(), database];
        run(&context.programs.postgres(), &arguments, log, context).await
    }

    fn settings_of_all(&self, root: &Path, identity: &Identity) -> Result<Settings, Error> {
        let on = |value| if value { "on" } else { "off" };
        let mut settings = Settings::default();
        settings.set("listen_addresses", "127.0.0.1");
        settings.set("unix_socket_directories", "");
        settings.set("max_connections", self.max_connections);
        settings.set("shared_buffers", &self.shared_buffers);
        settings.set("fsync", on(self.fsync));
        settings.set("full_page_writes", on(self.fsync));
        settings.set("wal_level", "replica");
        settings.set("hot_standby", "on");
        settings.set("max_wal_senders", 10 + self.standbys);
        settings.set("max_replication_slots", 10 + self.standbys);
        settings.set("wal_retrieve_retry_interval", "100ms");
        settings.set("log_line_prefix", "%m [%p] %q%a@%d ");
        if let Some(tls) = &self.tls {
            write_private(&root.join(CERTIFICATE), &tls.certificate, identity)?;
            write_private(&root.join(KEY), &tls.key, identity)?;
            // Relative to a server's data: the configuration is text, which not every path is.
            settings.set("ssl", "on");
            settings.set("ssl_cert_file", format!("../../{CERTIFICATE}"));
            settings.set("ssl_key_file", format!("../../{KEY}"));
        }
        settings.extend(&self.settings);
        Ok(settings)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            standbys: 0,
            directory: None,
            programs: None,
            tls: None,
            patience: Duration::from_secs(60),
            fsync: true,
            max_connections: 200,
            shared_buffers: "128MB".to_owned(),
            settings: Settings::default(),
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Prints a line to standard error. If that fails, the cluster starts all the same.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Runs a program of PostgreSQL to its end.
async fn run(
    program: &Path,
    arguments: &[&OsStr],
    log: &Path,
    context: &Context,
) -> Result<(), Error> {
    let written = fs::metadata(log).map_or(0, |log| log.len());
    let mut child = context.supervisor.launch(Launch {
        program,
        arguments,
        folder: log.parent().unwrap_or(Path::new("/")),
        identity: &context.identity,
        output: data::appendable(log)?,
    })?;
    let status = end_of(&mut child, program).await?;
    context.supervisor.forget(&child);
    if status.success() {
        return Ok(());
    }
    let (program, status) = (program.display().to_string(), status.to_string());
    Err(Error::ProgramFailed { program, status, output: data::tail(log, written) })
}

/// Makes `postgresql.conf` read the file that is written anew at every start of a cluster.
fn include_configuration(data: &Path) -> Result<(), Error> {
    let path = data.join("postgresql.conf");
    let line = format!("include '{CONFIGURATION}'\n");
    let mut file = data::appendable(&path)?;
    file.write_all(line.as_bytes()).map_err(Error::io("write", &path))
}

fn copy_as_standby(primary: &Path, standby: &Path, identity: &Identity) -> Result<(), Error> {
    data::copy(primary, standby, identity)?;
    let signal = standby.join(STANDBY_SIGNAL);
    fs::write(&signal, "").map_err(Error::io("write", &signal))?;
    identity.own(&signal)
}

/// Writes a file that only the servers' user can read.
fn write_private(path: &Path, text: &str, identity: &Identity) -> Result<(), Error> {
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::io("write", path))?;
    identity.own(path)
}

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

const INITDB_ARGUMENTS: [&str; 6] = [
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--no-sync",
    "--no-instructions",
];
