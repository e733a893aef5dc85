//! Servers that offer TLS.

use std::io::{Read, Write};
use std::net::TcpStream;

use local_postgres::{Cluster, Server};

use crate::Outcome;

/// The `SSLRequest` message, which the server answers with `S` or `N`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

fn ssl_request(server: &Server) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect((server.host(), server.port()))?;
    stream.write_all(&SSL_REQUEST)?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

#[tokio::test]
async fn every_server_offers_tls_with_a_certificate() -> Outcome {
    let cluster = Cluster::builder()
        .standbys(1)
        .fsync(false)
        .tls(include_str!("certificate.pem"), include_str!("key.pem"))
        .start()
        .await;
    let cluster = match cluster {
        Err(error) if error.to_string().contains("SSL is not supported by this build") => {
            eprintln!("not checked: {error}");
            return Ok(());
        }
        cluster => cluster?,
    };

    for server in cluster.servers() {
        assert_eq!(ssl_request(server)?, b'S');
    }
    Ok(())
}

#[tokio::test]
async fn no_server_offers_tls_without_a_certificate() -> Outcome {
    let cluster = Cluster::builder().fsync(false).start().await?;

    assert_eq!(ssl_request(cluster.primary())?, b'N');
    Ok(())
}
