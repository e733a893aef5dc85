use std::collections::BTreeSet;
use std::path::PathBuf;

use eddyline::{Config, Schema};

use crate::LoadError;

/// How to find or start the servers.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The address of the primary. Without it, a cluster is started on this machine.
    pub primary: Option<String>,
    /// The addresses of the replicas, if there is an address of the primary.
    pub replica_addresses: Vec<String>,
    /// The number of replicas to start.
    pub replicas: u16,
    /// The folder of the PostgreSQL programs.
    pub pg_bin: Option<PathBuf>,
    /// The name of the log.
    pub log: String,
    /// The number of clients.
    pub clients: u32,
    /// Whether commits wait for the disk, on servers that are started.
    pub fsync: bool,
}

impl ServerSettings {
    /// Checks the name of the log, before a server is started.
    ///
    /// # Errors
    ///
    /// [`LoadError::Store`] if a log cannot have the name.
    pub fn check(&self) -> Result<(), LoadError> {
        // The statements that create a log are only made for a valid name. No server is asked.
        let config = Config::new("postgres://localhost/library").map_err(LoadError::Store)?;
        let statements = Schema::new(&config.log(&self.log)).sql();
        statements.map(drop).map_err(LoadError::Store)
    }
}

/// What the faults of a load need from the servers that are started. Defaults to nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Preparations {
    /// Whether a replica will be promoted. The read-write store then knows all servers.
    pub has_promotion: bool,
    /// The index of the replica that commits wait for from the beginning, because it will be
    /// promoted after the primary was killed.
    pub synchronous: Option<usize>,
    /// The indexes of the servers whose answers will be slow. Stores reach them through a proxy.
    pub slowed: BTreeSet<usize>,
}
