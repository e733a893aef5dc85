use std::sync::Arc;
use std::time::Instant;

use bb8::ManageConnection;

use super::capacity::Capacity;
use super::dial::Dialer;
use super::idle::Pooled;
use super::log_identity::LogIdentity;
use super::session::Session;
use super::session_settings::SessionSettings;
use crate::address::Address;
use crate::server::Server;
use crate::telemetry::PoolTelemetry;
use crate::{Config, Error};

/// The dialer and the capacity of a pool, and bb8's interface to them.
#[derive(Clone)]
pub(super) struct Manager {
    server: Arc<Server>,
    pub(super) dialer: Arc<Dialer>,
    pub(super) capacity: Arc<Capacity>,
    /// Whether the connections are used for appends only.
    pub(super) only_appends: bool,
}

impl Manager {
    pub(super) fn new(
        config: &Config,
        address: &Address,
        server: Arc<Server>,
        identity: Arc<LogIdentity>,
        telemetry: PoolTelemetry,
    ) -> Result<Self, Error> {
        let settings = Arc::new(SessionSettings::new(config, server.role));
        let dialer = Dialer::new(config, address, server.clone(), settings, identity)?;
        let capacity = Capacity::new(config.max_connections, telemetry);
        Ok(Self { server, dialer: Arc::new(dialer), capacity, only_appends: false })
    }

    /// Returns a manager of connections to the same server that only append. Their statements have
    /// generic plans.
    pub(super) fn for_appends(&self, config: &Config, telemetry: PoolTelemetry) -> Self {
        let settings = Arc::new(SessionSettings::for_appends(config));
        let dialer = Arc::new(self.dialer.with_settings(settings));
        let capacity = Capacity::new(super::MAX_APPEND_CONNECTIONS, telemetry);
        Self { server: self.server.clone(), dialer, capacity, only_appends: true }
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Opens a connection. It records each attempt that ends.
    pub(super) async fn open(&self) -> Result<Session, Error> {
        let began = Instant::now();
        let opened = self.dialer.connect().await;
        let telemetry = self.capacity.telemetry();
        match &opened {
            Ok(_) => telemetry.opened(began.elapsed()),
            Err(error) => telemetry.failed(error),
        }
        opened
    }
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = Error;

    /// Fails. It is never called, because a connection is requested from bb8 only if it has an idle
    /// one.
    async fn connect(&self) -> Result<Pooled, Error> {
        Err(self.dialer.timed_out("connections are opened outside of bb8"))
    }

    async fn is_valid(&self, connection: &mut Pooled) -> Result<(), Error> {
        connection.ping().await
    }

    fn has_broken(&self, connection: &mut Pooled) -> bool {
        connection.is_expired()
    }
}
