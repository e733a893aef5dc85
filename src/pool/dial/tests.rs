//! A name that stands for several addresses, as a name service may answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use local_postgres::Cluster;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::*;

const PRIMARY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Accepts connections at an address, and counts them. It passes them on to a server, or is silent.
async fn stand_at(address: IpAddr, port: u16, server: Option<u16>) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let Some(server) = server else {
                silent.push(client);
                continue;
            };
            tokio::spawn(async move {
                let mut server = TcpStream::connect((PRIMARY, server)).await.unwrap();
                // Either may close it.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    accepted
}

fn dialer(port: u16) -> Dialer {
    let url = format!("postgres://postgres@library.invalid:{port}/postgres?sslmode=disable");
    let config = Config::new(&url).unwrap().connect_timeout(Duration::from_secs(3));
    let (log, address) = (config.check().unwrap(), &config.servers[0]);
    let server = Arc::new(Server::new(Role::Primary, 0, address, &log));
    let terms = Arc::new(SessionSettings::new(&config, Role::Primary));
    Dialer::new(&config, address, server, terms).unwrap()
}

#[tokio::test]
async fn an_address_of_a_name_that_failed_is_asked_after_the_others() {
    let cluster = Cluster::builder().standbys(1).fsync(false).start().await.unwrap();
    let standby = cluster.standbys()[0].port();
    let port = cluster.primary().port();
    for (last_byte, server) in [(2, Some(standby)), (3, None)] {
        let first = Ipv4Addr::new(127, 0, 0, last_byte).into();
        let accepted = stand_at(first, port, server).await;
        let dialer = dialer(port);
        let connect = async || {
            let found = vec![Some(first), Some(PRIMARY)];
            let host = &dialer.hosts.targets[0];
            dialer.connect_to_one_of(host, found, Demand::ReadWrite).await
        };

        for _ in 0..3 {
            assert!(connect().await.is_ok(), "{server:?}");
        }

        assert_eq!(accepted.load(Ordering::Relaxed), 1, "{server:?}");
    }
}
