use std::sync::Arc;

use bb8::ManageConnection;

use super::capacity::Capacity;
use super::dial::Dialer;
use super::idle::Pooled;
use super::session::Session;
use super::session_settings::SessionSettings;
use crate::address::Address;
use crate::server::Server;
use crate::{Config, Error};

/// Makes the connections of a pool, and keeps count of them.
#[derive(Clone)]
pub(super) struct Manager {
    server: Arc<Server>,
    pub(super) dialer: Arc<Dialer>,
    pub(super) capacity: Arc<Capacity>,
    /// Whether the connections only append.
    pub(super) only_appends: bool,
}

impl Manager {
    pub(super) fn new(
        config: &Config,
        address: &Address,
        server: Arc<Server>,
    ) -> Result<Self, Error> {
        let terms = Arc::new(SessionSettings::new(config, server.role));
        let dialer = Dialer::new(config, address, server.clone(), terms)?;
        let capacity = Capacity::new(config.max_connections);
        Ok(Self { server, dialer: Arc::new(dialer), capacity, only_appends: false })
    }

    /// Makes connections to the same server that only append: what they run is planned once, and not for
    /// its values.
    pub(super) fn for_appends(&self, config: &Config) -> Result<Self, Error> {
        let dialer =
            self.dialer.on_terms(config, Arc::new(SessionSettings::for_appends(config)))?;
        let capacity = Capacity::new(super::MAX_APPEND_CONNECTIONS);
        let server = self.server.clone();
        Ok(Self { server, dialer: Arc::new(dialer), capacity, only_appends: true })
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Makes a connection apart from the pool.
    pub(super) async fn attempt(&self) -> Result<Session, Error> {
        self.dialer.connect().await
    }
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = Error;

    /// Is never called: the pool asks bb8 for no connection while it has none.
    async fn connect(&self) -> Result<Pooled, Error> {
        Err(self.dialer.timed_out("connections are made apart from bb8"))
    }

    async fn is_valid(&self, connection: &mut Pooled) -> Result<(), Error> {
        connection.ping().await
    }

    fn has_broken(&self, connection: &mut Pooled) -> bool {
        connection.is_over()
    }
}
