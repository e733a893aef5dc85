//! As much HTTP as a scrape and a question to Prometheus need.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// An endpoint that answers each request with the metrics. It ends when it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Endpoint {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    ///
    /// Those of the network.
    pub async fn serve(text: impl Fn() -> String + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let text: Arc<dyn Fn() -> String + Send + Sync> = Arc::new(text);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let text = text.clone();
                // A client that sends no request is left after a while.
                tokio::spawn(timeout(LONGEST, async move { answer(stream, &*text).await }));
            }
        });
        Ok(Self { address, task })
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    mut stream: TcpStream,
    text: &(dyn Fn() -> String + Send + Sync),
) -> io::Result<()> {
    let mut lines = BufReader::new(&mut stream).lines();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let body = text();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Sends a form and returns the body of the answer, which must have the status 200 or 400.
///
/// # Errors
///
/// Those of the network. [`io::ErrorKind::InvalidData`] for another status.
pub async fn post(address: SocketAddr, path: &str, form: &[(&str, &str)]) -> io::Result<String> {
    let fields = form.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    let body = fields.collect::<Vec<_>>().join("&");
    // Of HTTP 1.0, because an answer to it is not sent in chunks.
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    let read = timeout(LONGEST, stream.read_to_string(&mut answer)).await;
    read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    match head.split(' ').nth(1) {
        // Prometheus explains what is wrong with a question in the body of a 400.
        Some("200" | "400") => Ok(body.to_owned()),
        _ => {
            let line = head.lines().next().unwrap_or_default();
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("the answer was {line:?}")))
        }
    }
}

/// Encodes a value for a form.
fn encoded(value: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}

const LONGEST: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endpoint_answers_with_the_whole_text() {
        let text = "a_total 1\n".repeat(100_000);
        let served = text.clone();
        let endpoint = Endpoint::serve(move || served.clone()).await.unwrap();

        let body = post(endpoint.address(), "/metrics", &[]).await.unwrap();

        assert!(body == text);
    }

    #[test]
    fn a_form_may_have_any_characters() {
        assert_eq!(encoded("a{b=~\"c d\"}+1"), "a%7Bb%3D~%22c%20d%22%7D%2B1".replace('~', "%7E"));
    }
}
