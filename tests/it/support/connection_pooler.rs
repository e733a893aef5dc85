//! Minimal connection poolers: one in transaction mode and one in session mode.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A pooler in front of a server.
///
/// In transaction mode all clients share one server connection, which goes to another client after
/// each transaction without a reset.
pub struct ConnectionPooler {
    address: SocketAddr,
}

impl ConnectionPooler {
    /// Starts a pooler in transaction mode in front of a server without password authentication.
    pub async fn in_transaction_mode(url: &str) -> Self {
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

    /// Starts a pooler in session mode in front of a server without password authentication. It
    /// resets and reuses the server connections of disconnected clients.
    pub async fn in_session_mode(url: &str) -> Self {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let server = format!("127.0.0.1:{}", config.get_ports()[0]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let idle = Arc::new(Mutex::new(Vec::new()));
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(serve_session(client, server.clone(), idle.clone()));
            }
        });
        Self { address }
    }

    /// Returns the URL of the same database through the pooler.
    pub fn url(&self, url: &str) -> String {
        let database = url.rsplit('/').next().unwrap();
        format!("postgres://postgres@{}/{database}?sslmode=disable", self.address)
    }
}

/// A connection to the server, with the messages of its startup.
struct Server {
    replies: UnboundedReceiver<Vec<u8>>,
    requests: OwnedWriteHalf,
    startup_reply: Vec<u8>,
}

impl Server {
    async fn connect(address: &str) -> Self {
        let (answers, requests) = TcpStream::connect(address).await.unwrap().into_split();
        Self { replies: messages(answers), requests, startup_reply: Vec::new() }
    }

    /// Sends the server's reply to the startup message to a client. Only the first client's startup
    /// message is passed to the server.
    async fn start_session(&mut self, startup_message: &[u8], client: &mut OwnedWriteHalf) {
        if self.startup_reply.is_empty() {
            self.requests.write_all(startup_message).await.unwrap();
            let mut is_ready = false;
            while !is_ready {
                let message = self.replies.recv().await.unwrap();
                is_ready = message[0] == b'Z';
                self.startup_reply.extend(message);
            }
        }
        client.write_all(&self.startup_reply).await.unwrap();
    }

    /// Passes messages in both directions, from a first request to the end of the transaction.
    async fn transact(
        &mut self,
        first: Vec<u8>,
        from_client: &mut UnboundedReceiver<Vec<u8>>,
        client: &mut OwnedWriteHalf,
    ) {
        let mut unanswered = self.send(&first).await;
        let mut is_idle = false;
        let mut is_connected = true;
        // If the client disconnects, an open transaction stays open.
        while unanswered > 0 || (is_connected && !is_idle) {
            tokio::select! {
                message = from_client.recv(), if is_connected => match message {
                    Some(message) => unanswered += self.send(&message).await,
                    None => is_connected = false,
                },
                message = self.replies.recv() => {
                    let message = message.unwrap();
                    if message[0] == b'Z' {
                        unanswered -= 1;
                        is_idle = message[5] == b'I';
                    }
                    // A disconnected client needs no reply.
                    let _disconnected = client.write_all(&message).await;
                }
            }
        }
    }

    /// Resets the session after a client has disconnected.
    async fn reset(&mut self) {
        for statement in ["ROLLBACK", "DISCARD ALL"] {
            let length = u32::try_from(statement.len() + 5).unwrap();
            let query = [b"Q", &length.to_be_bytes()[..], statement.as_bytes(), b"\0"].concat();
            self.send(&query).await;
            while self.replies.recv().await.unwrap()[0] != b'Z' {}
        }
    }

    /// Sends a message to the server. Returns how many `ReadyForQuery` messages will reply to it.
    async fn send(&mut self, message: &[u8]) -> u32 {
        self.requests.write_all(message).await.unwrap();
        u32::from(matches!(message[0], b'Q' | b'S'))
    }
}

/// Serves a client until it terminates. The server does not receive the `Terminate` message.
async fn serve(mut client: TcpStream, server: Arc<Mutex<Server>>) {
    let startup_message = startup(&mut client).await;
    let (from_client, mut client) = client.into_split();
    server.lock().await.start_session(&startup_message, &mut client).await;
    let mut from_client = messages(from_client);
    while let Some(message) = from_client.recv().await {
        if message[0] != b'X' {
            server.lock().await.transact(message, &mut from_client, &mut client).await;
        }
    }
}

/// Serves a client with one server connection until it terminates.
async fn serve_session(mut client: TcpStream, address: String, idle: Arc<Mutex<Vec<Server>>>) {
    let startup_message = startup(&mut client).await;
    let (from_client, mut client) = client.into_split();
    let kept = idle.lock().await.pop();
    let mut server = match kept {
        Some(server) => server,
        None => Server::connect(&address).await,
    };
    server.start_session(&startup_message, &mut client).await;
    let mut from_client = messages(from_client);
    while let Some(message) = from_client.recv().await.filter(|message| message[0] != b'X') {
        server.transact(message, &mut from_client, &mut client).await;
    }
    server.reset().await;
    idle.lock().await.push(server);
}

/// Reads the startup message of a client.
async fn startup(client: &mut TcpStream) -> Vec<u8> {
    let length = client.read_u32().await.unwrap();
    let mut message = length.to_be_bytes().to_vec();
    message.resize(length as usize, 0);
    client.read_exact(&mut message[4..]).await.unwrap();
    message
}

/// Reads whole messages until the end of the connection.
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
