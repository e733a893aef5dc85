use std::sync::Arc;

use bb8::ManageConnection;

use super::dial::Dialer;
use super::idle::Placed;
use super::room::Room;
use super::session::Session;
use super::terms::Terms;
use crate::address::Address;
use crate::server::Server;
use crate::{Config, Error};

/// Makes the connections of a pool, and keeps count of them.
#[derive(Clone)]
pub(super) struct Manager {
    server: Arc<Server>,
    pub(super) dialer: Arc<Dialer>,
    pub(super) room: Arc<Room>,
    /// Whether the connections only append.
    pub(super) only_appends: bool,
}

impl Manager {
    pub(super) fn new(
        config: &Config,
        address: &Address,
        server: Arc<Server>,
    ) -> Result<Self, Error> {
        let terms = Arc::new(Terms::new(config, server.role));
        let dialer = Dialer::new(config, address, server.clone(), terms)?;
        let room = Room::new(config.max_connections);
        Ok(Self { server, dialer: Arc::new(dialer), room, only_appends: false })
    }

    /// Makes connections to the same server that only append: what they run is planned once, and not for
    /// its values.
    pub(super) fn for_appends(&self, config: &Config) -> Result<Self, Error> {
        let dialer = self.dialer.on_terms(config, Arc::new(Terms::for_appends(config)))?;
        let room = Room::new(super::MAX_APPEND_CONNECTIONS);
        let server = self.server.clone();
        Ok(Self { server, dialer: Arc::new(dialer), room, only_appends: true })
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
    type Connection = Placed;
    type Error = Error;

    /// Is never called: the pool asks bb8 for no connection while it has none.
    async fn connect(&self) -> Result<Placed, Error> {
        Err(self.dialer.timed_out("connections are made apart from bb8"))
    }

    async fn is_valid(&self, connection: &mut Placed) -> Result<(), Error> {
        connection.ping().await
    }

    fn has_broken(&self, connection: &mut Placed) -> bool {
        connection.is_over()
    }
}
