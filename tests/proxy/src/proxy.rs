use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::armory::Armory;
use crate::connection::serve;
use crate::{Action, Direction, Error, Fault};

/// A listener that passes on what its clients and a server say to each other.
///
/// Dropped, it ends all connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    armory: Arc<Armory>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1, for connections to the server.
    ///
    /// A client whose connection the server does not take has its own reset.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing behind.
    pub async fn start(server: SocketAddr) -> Result<Self, Error> {
        let listen = |source| Error::Listen { source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let armory = Arc::new(Armory::default());
        let listening = tokio::spawn(accept(listener, server, Arc::clone(&armory)));
        Ok(Self { address, armory, listening })
    }

    /// Returns where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Arms a fault: it strikes the first connection on which, from now on, so many bytes have
    /// passed in the direction; `after` being 0, the first that has one to pass.
    ///
    /// Any number of faults may be armed. Of a connection that is made later all bytes count.
    #[must_use = "dropped, the fault is disarmed"]
    pub fn inflict(&self, direction: Direction, after: u64, action: Action) -> Fault {
        let stage = self.armory.arm(direction, after, action);
        Fault { stage, armory: Arc::clone(&self.armory) }
    }

    /// Lets everything pass that is held back.
    pub fn release_all(&self) {
        self.armory.release_all();
    }

    /// Lets so many bytes per second pass in the direction on each connection, from now on; any number
    /// if `None`, as at first.
    pub fn set_pace(&self, direction: Direction, bytes_per_second: Option<u64>) {
        self.armory.switches.set_pace(direction, bytes_per_second);
    }

    /// Stops reading and writing on all connections, and keeps them open, until [`thaw`](Self::thaw).
    /// New connections are made, and no byte passes on them.
    pub fn freeze(&self) {
        self.armory.switches.freeze(true);
    }

    /// Lets bytes pass again after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.armory.switches.freeze(false);
    }

    /// Returns how many bytes have passed in the direction, on all connections together.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.armory.passed(direction)
    }

    /// Returns how many connections clients have made.
    pub fn accepted(&self) -> u64 {
        self.armory.accepted()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, armory: Arc<Armory>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A client that went before it was accepted, or a lack of sockets that passes.
            client = listener.accept() => match client {
                Ok((client, _)) => drop(connections.spawn(serve(client, server, Arc::clone(&armory)))),
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
