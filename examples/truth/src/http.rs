//! As much HTTP as a question to Prometheus needs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

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

    #[test]
    fn a_form_may_have_any_characters() {
        assert_eq!(encoded("a{b=~\"c d\"}+1"), "a%7Bb%3D~%22c%20d%22%7D%2B1".replace('~', "%7E"));
    }
}
