//! The builder of a cluster, and the creation of its data directories.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::standby_name;
use crate::data::{self, CONFIGURATION, ClusterDirectory, write_configuration};
use crate::identity::Identity;
use crate::install::{find_or_install, wait_for_exit};
use crate::postmaster::Context;
use crate::server::{PRIMARY, STANDBY_SIGNAL};
use crate::settings::Settings;
use crate::supervisor::{Launch, Supervisor};
use crate::{Cluster, Error, Programs};

/// A builder of a [`Cluster`].
#[derive(Clone, Debug)]
#[must_use = "a cluster starts only when `start` is called"]
pub struct Builder {
    standbys: usize,
    directory: Option<PathBuf>,
    programs: Option<Programs>,
    tls: Option<Tls>,
    timeout: Duration,
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

    /// Keeps the cluster in a directory. Defaults to a temporary directory that is removed at the
    /// end.
    ///
    /// An existing cluster in the directory is started again with the settings of this builder. The
    /// number of standbys cannot change, and with standbys `max_connections` cannot decrease.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets the programs to run. Defaults to what [`find_or_install`] finds. An installation is
    /// reported on standard error.
    pub fn programs(mut self, programs: Programs) -> Self {
        self.programs = Some(programs);
        self
    }

    /// Enables TLS on every server, with a certificate and its key in PEM. Defaults to no TLS.
    pub fn tls(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.tls = Some(Tls { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Sets the timeout for a server to start, stop or replay. Defaults to one minute.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets `fsync`, that is, whether commits wait for the disk. Defaults to true.
    pub fn fsync(mut self, fsync: bool) -> Self {
        self.fsync = fsync;
        self
    }

    /// Sets the number of connections each server accepts. Defaults to 200.
    pub fn max_connections(mut self, max_connections: u32) -> Self {
        self.max_connections = max_connections;
        self
    }

    /// Sets `shared_buffers` of each server. Defaults to `128MB`.
    pub fn shared_buffers(mut self, shared_buffers: impl Into<String>) -> Self {
        self.shared_buffers = shared_buffers.into();
        self
    }

    /// Adds a setting of `postgresql.conf` for every server. It overrides the builder's own.
    pub fn setting(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.settings.set(name, value);
        self
    }

    /// Starts the cluster and waits until every standby is streaming.
    ///
    /// # Errors
    ///
    /// [`Error::ProgramsMissing`], [`Error::StartFailed`] and [`Error::ProgramFailed`] with the
    /// end of the log, the `Directory...` errors, [`Error::InvalidSetting`], [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, all programs started so far end.
    pub async fn start(self) -> Result<Cluster, Error> {
        let programs = match &self.programs {
            Some(programs) => programs.clone(),
            None => find_or_install(None, report).await?,
        };
        self.settings.render()?;
        let identity = Identity::choose()?;
        let (cluster_directory, supervisor, ownership) = match &self.directory {
            Some(folder) => {
                let cluster_directory = ClusterDirectory::open(folder, &identity)?;
                let (ownership, lock) = cluster_directory.lock(self.timeout).await?;
                let supervisor = Supervisor::keeping_directory(cluster_directory.root(), lock)?;
                (cluster_directory, supervisor, Some(ownership))
            }
            None => {
                // The supervisor starts first, so that it removes the directory in any case.
                let cluster_directory = ClusterDirectory::temporary(&identity)?;
                let supervisor = Supervisor::removing_directory(cluster_directory.root())?;
                cluster_directory.create(&identity)?;
                (cluster_directory, supervisor, None)
            }
        };
        let context = Arc::new(Context {
            programs,
            identity,
            supervisor,
            timeout: self.timeout,
            _ownership: ownership,
        });
        let settings = self.settings_of_all(cluster_directory.root(), &context.identity)?;
        let found = cluster_directory.standbys()?;
        match found {
            None => self.create(&cluster_directory, &settings, &context).await?,
            Some(found) if found == self.standbys => {}
            Some(found) => {
                let (directory, wanted) = (cluster_directory.root().to_owned(), self.standbys);
                return Err(Error::DirectoryMismatch { directory, found, wanted });
            }
        }
        let mut cluster = Cluster::new(cluster_directory, self.standbys, found.is_none(), context);
        cluster.bring_up(&settings).await?;
        Ok(cluster)
    }

    /// Creates the data of all servers: the primary's with `initdb`, the standbys' as copies of it.
    async fn create(
        &self,
        cluster_directory: &ClusterDirectory,
        settings: &Settings,
        context: &Arc<Context>,
    ) -> Result<(), Error> {
        let unfinished = cluster_directory.unfinished();
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(Error::io("remove", &unfinished))?;
        }
        data::create_private(&unfinished, &context.identity)?;
        let primary = unfinished.join(PRIMARY);
        self.create_primary(&primary, &cluster_directory.log("creation"), settings, context)
            .await?;
        let standbys: Vec<PathBuf> =
            (1..=self.standbys).map(|number| unfinished.join(standby_name(number))).collect();
        let identity = context.identity.clone();
        let copied = tokio::task::spawn_blocking(move || {
            standbys.iter().try_for_each(|standby| copy_as_standby(&primary, standby, &identity))
        });
        // An error here means that the task was canceled or has panicked.
        copied.await.map_err(|error| {
            Error::io("copy the primary in", cluster_directory.root())(error.into())
        })??;
        let servers = cluster_directory.servers();
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
        // The control file still has initdb's limits, such as 100 connections, and a standby copied
        // from it would refuse to start with lower ones. Starting and stopping the server updates
        // the file.
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
            // The paths are relative to a server's data, since an absolute path need not be UTF-8,
            // as the configuration must be.
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
            timeout: Duration::from_secs(60),
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

/// Prints a line to standard error. A failure to print is ignored.
fn report(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Runs a program of PostgreSQL and waits for its end.
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
    let status = wait_for_exit(&mut child, program).await?;
    context.supervisor.forget(&child);
    if status.success() {
        return Ok(());
    }
    let (program, status) = (program.display().to_string(), status.to_string());
    Err(Error::ProgramFailed { program, status, output: data::tail(log, written) })
}

/// Makes `postgresql.conf` include the file that is rewritten at every start of a cluster.
fn include_configuration(data: &Path) -> Result<(), Error> {
    let path = data.join("postgresql.conf");
    let line = format!("include '{CONFIGURATION}'\n");
    let mut file = data::appendable(&path)?;
    file.write_all(line.as_bytes()).map_err(Error::io("write", &path))
}

fn copy_as_standby(primary: &Path, standby: &Path, identity: &Identity) -> Result<(), Error> {
    data::copy(primary, standby, identity, |_| false)?;
    data::write(&standby.join(STANDBY_SIGNAL), "", identity)
}

/// Writes a file that only the user of the servers can read.
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
