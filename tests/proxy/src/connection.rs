//! A client's connection and the one to the server that belongs to it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use crate::armory::Armory;
use crate::fault::Stage;
use crate::hold::Switches;
use crate::way::{Break, Way};
use crate::{Direction, Ending};

/// A connection as the armory knows it.
pub(crate) struct Wire {
    pub(crate) armory: Arc<Armory>,
    pub(crate) connection: u64,
    /// Those of this connection alone.
    pub(crate) switches: Switches,
}

impl Wire {
    /// Waits until the connection is not frozen.
    pub(crate) async fn thawed(&self) {
        loop {
            self.switches.frozen(false).await;
            // While that is waited for, the connection alone may be frozen.
            tokio::select! {
                biased;
                () = self.switches.frozen(true) => {}
                () = self.armory.switches.frozen(false) => return,
            }
        }
    }

    /// Waits until the connection is frozen.
    pub(crate) async fn frozen(&self) {
        tokio::select! {
            () = self.switches.frozen(true) => {}
            () = self.armory.switches.frozen(true) => {}
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.armory.close(self.connection);
    }
}

/// Serves a client until its connection and the server's have ended.
pub(crate) async fn serve(client: TcpStream, server: SocketAddr, armory: Arc<Armory>) {
    let connection = armory.open();
    let wire = Wire { armory, connection, switches: Switches::default() };
    let Ok(server) = TcpStream::connect(server).await else {
        end(client, Ending::Reset).await;
        return;
    };
    // Without it a delay would be the kernel's and not a fault's; an error leaves it at that.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut up = Way::new(Direction::ToServer, from_client, to_server);
    let mut down = Way::new(Direction::ToClient, from_server, to_client);

    let broken = tokio::try_join!(up.run(&wire), down.run(&wire)).err();
    if let Some(Break::HungUp(..)) = broken {
        up.read_rest();
    }
    let (client, server) = (join(up.source, down.sink), join(down.source, up.sink));
    match (broken, client.zip(server)) {
        (Some(Break::Cut(ending)), Some((client, server))) => {
            tokio::join!(end(client, ending), end(server, ending));
        }
        (Some(Break::HungUp(ending, stage)), Some((client, server))) => {
            tokio::join!(end(client, ending), deliver_late(&up.waiting, server, &stage));
        }
        _ => {}
    }
}

/// Gives the server what the client had sent, once the fault lets it.
async fn deliver_late(held: &[u8], mut server: TcpStream, stage: &watch::Sender<Stage>) {
    let is_over = |stage: &Stage| !stage.is_holding();
    // It cannot fail: the sender is here.
    let next = stage.subscribe().wait_for(is_over).await.map(|stage| *stage);
    let ending = match next {
        Ok(Stage::Cut(ending)) => ending,
        _ => {
            // An error says that the server has gone as well.
            let _ = server.write_all(held).await;
            Ending::Close
        }
    };
    end(server, ending).await;
}

/// Ends a connection; in good order that is when the other side has ended it too.
async fn end(mut stream: TcpStream, ending: Ending) {
    // An error in any of this says that the connection has ended already.
    match ending {
        Ending::Close => {
            let _ = stream.shutdown().await;
            let _ = copy(&mut stream, &mut sink()).await;
        }
        Ending::Reset => drop(stream.set_zero_linger()),
    }
}

/// Puts the halves together that were one, or dropping them one by one would end it in good order.
fn join(source: OwnedReadHalf, sink: OwnedWriteHalf) -> Option<TcpStream> {
    source.reunite(sink).ok()
}
