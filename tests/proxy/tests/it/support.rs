//! A client and a server with the proxy between them.

use std::io;

use fault_proxy::{Fault, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy, and whom it passes connections on to.
pub struct Line {
    pub proxy: Proxy,
    pub server: TcpListener,
}

impl Line {
    pub async fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
        Self { proxy, server }
    }

    /// Connects a client, and returns its socket and the server's.
    pub async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.proxy.address()).await.unwrap();
        let (server, _) = self.server.accept().await.unwrap();
        (client, server)
    }
}

/// Sends bytes.
pub async fn say(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

/// Receives so many bytes.
pub async fn hear(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Receives what comes until the end, and how the end came.
pub async fn hear_out(stream: &mut TcpStream) -> (Vec<u8>, Result<(), io::ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes).await;
    (bytes, ended.map(drop).map_err(|error| error.kind()))
}

/// Takes what has arrived at a socket, without waiting.
pub fn arrived(stream: &TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    let count = stream.try_read(&mut bytes).unwrap_or(0);
    bytes[..count].to_vec()
}

/// Waits until a fault holds a connection whose client has said something.
pub async fn stalled(fault: &Fault, client: &mut TcpStream, bytes: &[u8]) {
    say(client, bytes).await;
    fault.struck().await;
}
