//! A proxied connection: that of a client and the corresponding one to the server.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use crate::controls::Controls;
use crate::fault::Stage;
use crate::registry::Registry;
use crate::relay::{Break, Relay};
use crate::{Direction, Ending};

/// A registered connection.
pub(crate) struct ProxiedConnection {
    pub(crate) registry: Arc<Registry>,
    pub(crate) connection: u64,
    /// The controls of this connection.
    pub(crate) controls: Controls,
}

impl ProxiedConnection {
    /// Waits until the connection is not frozen.
    pub(crate) async fn thawed(&self) {
        loop {
            self.controls.frozen(false).await;
            // The connection itself may be frozen during this wait.
            tokio::select! {
                biased;
                () = self.controls.frozen(true) => {}
                () = self.registry.controls.frozen(false) => return,
            }
        }
    }

    /// Waits until the connection is frozen.
    pub(crate) async fn frozen(&self) {
        tokio::select! {
            () = self.controls.frozen(true) => {}
            () = self.registry.controls.frozen(true) => {}
        }
    }
}

impl Drop for ProxiedConnection {
    fn drop(&mut self) {
        self.registry.close(self.connection);
    }
}

/// Serves a client until its connection and the server's have ended.
pub(crate) async fn serve(client: TcpStream, server: SocketAddr, registry: Arc<Registry>) {
    let connection = registry.open();
    let proxied = ProxiedConnection { registry, connection, controls: Controls::default() };
    let Ok(server) = TcpStream::connect(server).await else {
        end(client, Ending::Reset).await;
        return;
    };
    // Nagle's algorithm would delay bytes in addition to the faults. An error is ignored.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut up = Relay::new(Direction::ToServer, from_client, to_server);
    let mut down = Relay::new(Direction::ToClient, from_server, to_client);

    let broken = tokio::try_join!(up.run(&proxied), down.run(&proxied)).err();
    if let Some(Break::ClientDisconnected(..)) = broken {
        up.read_rest();
    }
    let (client, server) = (join(up.source, down.sink), join(down.source, up.sink));
    match (broken, client.zip(server)) {
        (Some(Break::Cut(ending)), Some((client, server))) => {
            tokio::join!(end(client, ending), end(server, ending));
        }
        (Some(Break::ClientDisconnected(ending, stage)), Some((client, server))) => {
            tokio::join!(end(client, ending), deliver_late(&up.waiting, server, &stage));
        }
        _ => {}
    }
}

/// Delivers what the client had sent to the server when the fault is released.
async fn deliver_late(held: &[u8], mut server: TcpStream, stage: &watch::Sender<Stage>) {
    let is_over = |stage: &Stage| !stage.is_holding();
    // This cannot fail, since the sender exists.
    let next = stage.subscribe().wait_for(is_over).await.map(|stage| *stage);
    let ending = match next {
        Ok(Stage::Cut(ending)) => ending,
        _ => {
            // An error means that the server has disconnected as well.
            let _ = server.write_all(held).await;
            Ending::Close
        }
    };
    end(server, ending).await;
}

/// Ends a connection. A graceful end waits until the other side has closed it as well.
async fn end(mut stream: TcpStream, ending: Ending) {
    // An error means that the connection has already ended.
    match ending {
        Ending::Close => {
            let _ = stream.shutdown().await;
            let _ = copy(&mut stream, &mut sink()).await;
        }
        Ending::Reset => drop(stream.set_zero_linger()),
    }
}

/// Reunites the halves of a connection. Dropping them separately would close it gracefully.
fn join(source: OwnedReadHalf, sink: OwnedWriteHalf) -> Option<TcpStream> {
    source.reunite(sink).ok()
}
