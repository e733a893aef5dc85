//! Host names that resolve to several IP addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use local_postgres::Cluster;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::*;

const PRIMARY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Accepts connections at an address, and counts them. Forwards them to a server, or never answers.
async fn listen_at(address: IpAddr, port: u16, server: Option<u16>) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let Some(server) = server else {
                unanswered.push(client);
                continue;
            };
            tokio::spawn(async move {
                let mut server = TcpStream::connect((PRIMARY, server)).await.unwrap();
                // Either side may close the connection.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    accepted
}

fn dialer(port: u16) -> Dialer {
    let url = format!("postgres://postgres@library.invalid:{port}/postgres?sslmode=disable");
    let config = Config::new(&url).unwrap().connect_timeout(Duration::from_secs(3));
    let (log, address) = (config.check().unwrap(), &config.servers[0].address);
    let server = Arc::new(Server::new(Role::Primary, "primary", address, &log));
    let settings = Arc::new(SessionSettings::new(&config, Role::Primary));
    Dialer::new(&config, address, server, settings, Arc::default()).unwrap()
}

#[tokio::test]
async fn a_failed_address_is_tried_after_the_other_addresses_of_its_host() {
    let cluster = Cluster::builder().standbys(1).fsync(false).start().await.unwrap();
    let standby = cluster.standbys()[0].port();
    let port = cluster.primary().port();
    for (last_byte, server) in [(2, Some(standby)), (3, None)] {
        let first = Ipv4Addr::new(127, 0, 0, last_byte).into();
        let accepted = listen_at(first, port, server).await;
        let dialer = dialer(port);
        let connect = async || {
            let found = vec![Some(first), Some(PRIMARY)];
            let host = &dialer.hosts.hosts[0];
            dialer.connect_to_one_of(host, found, TargetSession::ReadWrite).await
        };

        for _ in 0..3 {
            assert!(connect().await.is_ok(), "{server:?}");
        }

        assert_eq!(accepted.load(Ordering::Relaxed), 1, "{server:?}");
    }
}
