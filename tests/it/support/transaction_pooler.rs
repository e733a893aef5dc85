//! Poolers as small as can be: one that gives one connection to the server to one client after the other
//! as their transactions end, and one that gives each client a connection until it takes its leave.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Hands one server process from client to client after each transaction, as it was left.
pub struct TransactionPooler {
    address: SocketAddr,
}

impl TransactionPooler {
    /// Stands before the server of an address that asks for no password.
    pub async fn before(url: &str) -> Self {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let server = format!("127.0.0.1:{}", config.get_ports()[0]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let server = Arc::new(Mutex::new(Server::connect(&server).await));
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(client, server.clone()));
            }
        });
        Self { address }
    }

    /// Stands before the server of an address that asks for no password, and keeps the connections of
    /// clients that have gone for others.
    pub async fn by_session(url: &str) -> Self {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let server = format!("127.0.0.1:{}", config.get_ports()[0]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let idle = Arc::new(Mutex::new(Vec::new()));
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(keep_for(client, server.clone(), idle.clone()));
            }
        });
        Self { address }
    }

    /// Returns the address of the same database, by way of this.
    pub fn url(&self, url: &str) -> String {
        let database = url.rsplit('/').next().unwrap();
        format!("postgres://postgres@{}/{database}?sslmode=disable", self.address)
    }
}

/// The connection to the server, and what it said at its start.
struct Server {
    said: UnboundedReceiver<Vec<u8>>,
    asked: OwnedWriteHalf,
    greeting: Vec<u8>,
}

impl Server {
    async fn connect(address: &str) -> Self {
        let (answers, asked) = TcpStream::connect(address).await.unwrap().into_split();
        Self { said: messages(answers), asked, greeting: Vec::new() }
    }

    /// Greets a client as the server did the first one.
    async fn greet(&mut self, hello: &[u8], client: &mut OwnedWriteHalf) {
        if self.greeting.is_empty() {
            self.asked.write_all(hello).await.unwrap();
            while self.greeting.len() < 6 || self.greeting[self.greeting.len() - 6] != b'Z' {
                self.greeting.extend(self.said.recv().await.unwrap());
            }
        }
        client.write_all(&self.greeting).await.unwrap();
    }

    /// Passes on what both say from a first request on, to the end of the transaction.
    async fn transact(
        &mut self,
        first: Vec<u8>,
        said: &mut UnboundedReceiver<Vec<u8>>,
        client: &mut OwnedWriteHalf,
    ) {
        let mut unanswered = self.ask(&first).await;
        let mut is_idle = false;
        while unanswered > 0 || !is_idle {
            tokio::select! {
                message = said.recv() => match message {
                    Some(message) => unanswered += self.ask(&message).await,
                    // A client that is gone gave no more than it gave; what is open is left.
                    None if unanswered == 0 => return,
                    None => std::future::pending().await,
                },
                message = self.said.recv() => {
                    let message = message.unwrap();
                    if message[0] == b'Z' {
                        unanswered -= 1;
                        is_idle = message[5] == b'I';
                    }
                    // A client that is gone does not want it.
                    let _gone = client.write_all(&message).await;
                }
            }
        }
    }

    /// Leaves nothing behind of a client that is gone.
    async fn reset(&mut self) {
        for statement in ["ROLLBACK", "DISCARD ALL"] {
            let length = u32::try_from(statement.len() + 5).unwrap();
            let query = [b"Q", &length.to_be_bytes()[..], statement.as_bytes(), b"\0"].concat();
            self.ask(&query).await;
            while self.said.recv().await.unwrap()[0] != b'Z' {}
        }
    }

    /// Asks the server; returns how many more times it is going to be ready again.
    async fn ask(&mut self, message: &[u8]) -> u32 {
        self.asked.write_all(message).await.unwrap();
        u32::from(matches!(message[0], b'Q' | b'S'))
    }
}

/// Serves a client until it takes its leave, of which the server does not hear.
async fn serve(mut client: TcpStream, server: Arc<Mutex<Server>>) {
    let hello = startup(&mut client).await;
    let (said, mut client) = client.into_split();
    server.lock().await.greet(&hello, &mut client).await;
    let mut said = messages(said);
    while let Some(message) = said.recv().await {
        if message[0] != b'X' {
            server.lock().await.transact(message, &mut said, &mut client).await;
        }
    }
}

/// Serves a client by one connection until it takes its leave.
async fn keep_for(mut client: TcpStream, address: String, idle: Arc<Mutex<Vec<Server>>>) {
    let hello = startup(&mut client).await;
    let (said, mut client) = client.into_split();
    let kept = idle.lock().await.pop();
    let mut server = match kept {
        Some(server) => server,
        None => Server::connect(&address).await,
    };
    server.greet(&hello, &mut client).await;
    let mut said = messages(said);
    while let Some(message) = said.recv().await.filter(|message| message[0] != b'X') {
        server.transact(message, &mut said, &mut client).await;
    }
    server.reset().await;
    idle.lock().await.push(server);
}

/// Reads a client's first message, whole.
async fn startup(client: &mut TcpStream) -> Vec<u8> {
    let length = client.read_u32().await.unwrap();
    let mut message = length.to_be_bytes().to_vec();
    message.resize(length as usize, 0);
    client.read_exact(&mut message[4..]).await.unwrap();
    message
}

/// Reads messages, each whole, until there are no more.
fn messages(mut from: OwnedReadHalf) -> UnboundedReceiver<Vec<u8>> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let mut message = vec![0; 5];
            if from.read_exact(&mut message).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes(message[1..].try_into().unwrap()) as usize;
            message.resize(1 + length, 0);
            if from.read_exact(&mut message[5..]).await.is_err() || sender.send(message).is_err() {
                return;
            }
        }
    });
    receiver
}
