//! A client and a server with a proxy between them.

use std::io;

use fault_proxy::{Fault, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy and the listener of its server.
pub struct Setup {
    pub proxy: Proxy,
    pub server: TcpListener,
}

impl Setup {
    pub async fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
        Self { proxy, server }
    }

    /// Connects a client and returns its socket and the server's.
    pub async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.proxy.address()).await.unwrap();
        let (server, _) = self.server.accept().await.unwrap();
        (client, server)
    }
}

/// Sends bytes.
pub async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

/// Receives `count` bytes.
pub async fn receive(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Receives bytes until the end of the stream. Returns them and how the stream ended.
pub async fn receive_to_end(stream: &mut TcpStream) -> (Vec<u8>, Result<(), io::ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes).await;
    (bytes, ended.map(drop).map_err(|error| error.kind()))
}

/// Reads the bytes that have arrived at a socket, without waiting.
pub fn arrived(stream: &TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    let count = stream.try_read(&mut bytes).unwrap_or(0);
    bytes[..count].to_vec()
}

/// Sends bytes of a client and waits until they trigger a fault.
pub async fn send_until_triggered(fault: &Fault, client: &mut TcpStream, bytes: &[u8]) {
    send(client, bytes).await;
    fault.triggered().await;
}
