//! Passing bytes, counting them, and the end of connections without faults.

use std::io::ErrorKind;

use fault_proxy::{Action, Direction, Ending, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Setup, receive, receive_to_end, send};

#[tokio::test]
async fn all_bytes_pass_in_both_directions() {
    let setup = Setup::new().await;
    let (client, server) = setup.connect().await;
    let (mut client_reads, mut client_writes) = client.into_split();
    let (mut server_reads, mut server_writes) = server.into_split();
    // More than the socket buffers hold, so that one direction must not wait for the other.
    let book: Vec<u8> = (0..8 << 20).map(|byte: u32| (byte % 251) as u8).collect();

    let sent = async {
        client_writes.write_all(&book).await.unwrap();
        client_writes.shutdown().await.unwrap();
    };
    let echoed = async {
        tokio::io::copy(&mut server_reads, &mut server_writes).await.unwrap();
        server_writes.shutdown().await.unwrap();
    };
    let mut returned = Vec::new();
    let (_, _, read) = tokio::join!(sent, echoed, client_reads.read_to_end(&mut returned));

    read.unwrap();
    assert!(returned == book);
    assert_eq!(setup.proxy.passed(Direction::ToServer), book.len() as u64);
    assert_eq!(setup.proxy.passed(Direction::ToClient), book.len() as u64);
    assert_eq!(setup.proxy.accepted(), 1);
}

#[tokio::test]
async fn one_side_can_shut_down_while_the_other_sends() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;

    send(&mut client, b"lend").await;
    client.shutdown().await.unwrap();

    assert_eq!(receive_to_end(&mut server).await, (b"lend".to_vec(), Ok(())));
    send(&mut server, b"lent").await;
    drop(server);
    assert_eq!(receive_to_end(&mut client).await, (b"lent".to_vec(), Ok(())));
}

#[tokio::test]
async fn bytes_count_from_the_injection_of_a_fault() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    send(&mut client, b"good morning").await;
    receive(&mut server, 12).await;

    let _fault = setup.proxy.inject(Direction::ToServer, 4, Action::Cut(Ending::Close));
    send(&mut client, b"lend a book").await;

    assert_eq!(receive_to_end(&mut server).await, (b"lend".to_vec(), Ok(())));
}

#[tokio::test]
async fn bytes_are_counted_per_direction() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    send(&mut client, b"good morning").await;
    receive(&mut server, 12).await;

    let _fault = setup.proxy.inject(Direction::ToServer, 4, Action::Cut(Ending::Close));
    send(&mut server, b"hello").await;
    assert_eq!(receive(&mut client, 5).await, b"hello");
    send(&mut client, b"lend a book").await;

    assert_eq!(receive_to_end(&mut server).await, (b"lend".to_vec(), Ok(())));
}

#[tokio::test]
async fn bytes_are_counted_per_connection() {
    let setup = Setup::new().await;
    let (mut first, mut first_server) = setup.connect().await;
    let fault = setup.proxy.inject(Direction::ToServer, 4, Action::Cut(Ending::Close));
    let (mut second, mut second_server) = setup.connect().await;

    send(&mut first, b"len").await;
    receive(&mut first_server, 3).await;
    send(&mut second, b"return").await;
    assert_eq!(receive_to_end(&mut second_server).await, (b"retu".to_vec(), Ok(())));

    assert!(fault.has_triggered());
    send(&mut first, b"d a book").await;
    assert_eq!(receive(&mut first_server, 8).await, b"d a book");
}

#[tokio::test]
async fn a_dropped_or_released_fault_is_not_triggered() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;

    drop(setup.proxy.inject(Direction::ToServer, 2, Action::Cut(Ending::Reset)));
    let released = setup.proxy.inject(Direction::ToServer, 2, Action::Stall);
    released.release();
    send(&mut client, b"lend").await;

    assert_eq!(receive(&mut server, 4).await, b"lend");
    assert!(!released.has_triggered());
}

#[tokio::test]
async fn a_client_is_reset_if_there_is_no_server() {
    // The port is taken, and nothing listens on it.
    let server = TcpSocket::new_v4().unwrap();
    server.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();

    let mut client = TcpStream::connect(proxy.address()).await.unwrap();

    assert_eq!(receive_to_end(&mut client).await, (vec![], Err(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn all_connections_end_with_the_proxy() {
    let Setup { proxy, server } = Setup::new().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut session, _) = server.accept().await.unwrap();

    drop(proxy);

    assert_eq!(receive_to_end(&mut client).await.0, b"");
    assert_eq!(receive_to_end(&mut session).await.0, b"");
}
