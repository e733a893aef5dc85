//! The proxy and its listener.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::connection::serve;
use crate::registry::Registry;
use crate::{Action, Direction, Error, Fault};

/// A listener that passes bytes between its clients and a server.
///
/// Dropping it ends all connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    registry: Arc<Registry>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy to the server, on a free port of 127.0.0.1.
    ///
    /// If the server refuses a connection, the client's connection is reset.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn start(server: SocketAddr) -> Result<Self, Error> {
        let listen = |source| Error::Listen { source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let registry = Arc::new(Registry::default());
        let listening = tokio::spawn(accept(listener, server, Arc::clone(&registry)));
        Ok(Self { address, registry, listening })
    }

    /// Returns the address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Injects a fault. It is triggered on the first connection on which, from now on, `after`
    /// bytes have passed in the direction. If `after` is 0, this is the first connection with a
    /// byte to pass.
    ///
    /// Any number of faults may be armed. On later connections all bytes count.
    #[must_use = "dropped, the fault is disarmed"]
    pub fn inject(&self, direction: Direction, after: u64, action: Action) -> Fault {
        let stage = self.registry.arm(direction, after, action);
        Fault { stage, registry: Arc::clone(&self.registry) }
    }

    /// Releases all faults that hold bytes back.
    pub fn release_all(&self) {
        self.registry.release_all();
    }

    /// Limits the bytes per second in the direction on each connection. Defaults to `None`, no
    /// limit.
    pub fn limit_rate(&self, direction: Direction, bytes_per_second: Option<u64>) {
        self.registry.controls.set_pace(direction, bytes_per_second);
    }

    /// Stops reading and writing on all connections, and keeps them open, until
    /// [`thaw`](Self::thaw). New connections are accepted, and no byte passes on them.
    pub fn freeze(&self) {
        self.registry.controls.freeze(true);
    }

    /// Lets bytes pass again after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.registry.controls.freeze(false);
    }

    /// Returns the number of bytes that have passed in the direction on all connections.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.registry.passed(direction)
    }

    /// Returns the number of accepted connections.
    pub fn accepted(&self) -> u64 {
        self.registry.accepted()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, registry: Arc<Registry>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // An error means that the client has disconnected, or that sockets are exhausted for a
            // moment.
            client = listener.accept() => match client {
                Ok((client, _)) => drop(connections.spawn(serve(client, server, Arc::clone(&registry)))),
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
