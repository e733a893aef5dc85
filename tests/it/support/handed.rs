//! A pooler as small as can be: one connection to the server, given to one client after the other.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Hands one server process from client to client, as it was left.
pub struct Handed {
    address: SocketAddr,
}

impl Handed {
    /// Stands before the server of an address that asks for no password.
    pub async fn before(url: &str) -> Self {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let server = format!("127.0.0.1:{}", config.get_ports()[0]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(server).await.unwrap();
            let mut greeting = Vec::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let hello = startup(&mut client).await;
                if greeting.is_empty() {
                    server.write_all(&hello).await.unwrap();
                    greeting = until_ready(&mut server).await;
                }
                client.write_all(&greeting).await.unwrap();
                serve(&mut client, &mut server).await;
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

/// Reads a client's first message, whole.
async fn startup(client: &mut TcpStream) -> Vec<u8> {
    let length = client.read_u32().await.unwrap();
    let mut message = length.to_be_bytes().to_vec();
    message.resize(length as usize, 0);
    client.read_exact(&mut message[4..]).await.unwrap();
    message
}

/// Reads the server's messages up to `ReadyForQuery`.
async fn until_ready(server: &mut TcpStream) -> Vec<u8> {
    let mut messages = Vec::new();
    loop {
        let begin = messages.len();
        messages.resize(begin + 5, 0);
        server.read_exact(&mut messages[begin..]).await.unwrap();
        let length = u32::from_be_bytes(messages[begin + 1..].try_into().unwrap()) as usize;
        messages.resize(begin + 1 + length, 0);
        server.read_exact(&mut messages[begin + 5..]).await.unwrap();
        if messages[begin] == b'Z' {
            return messages;
        }
    }
}

/// Passes on what both say until the client takes its leave, of which the server does not hear.
async fn serve(client: &mut TcpStream, server: &mut TcpStream) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            length = client.read(&mut asked) => {
                let said = &asked[..length.unwrap_or(0)];
                let said = said.strip_suffix(b"X\0\0\0\x04").unwrap_or(said);
                if said.is_empty() {
                    return;
                }
                server.write_all(said).await.unwrap();
            }
            length = server.read(&mut answered) => {
                // A client that is gone does not want it.
                let _gone = client.write_all(&answered[..length.unwrap()]).await;
            }
        }
    }
}
