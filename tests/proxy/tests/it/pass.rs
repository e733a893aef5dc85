use std::io::ErrorKind;

use fault_proxy::{Action, Direction, Ending, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Line, hear, hear_out, say};

#[tokio::test]
async fn passes_everything_on_in_both_directions() {
    let line = Line::new().await;
    let (client, server) = line.connect().await;
    let (mut client_reads, mut client_writes) = client.into_split();
    let (mut server_reads, mut server_writes) = server.into_split();
    // More than sockets hold, so that one direction must not wait for the other.
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
    assert_eq!(line.proxy.passed(Direction::ToServer), book.len() as u64);
    assert_eq!(line.proxy.passed(Direction::ToClient), book.len() as u64);
    assert_eq!(line.proxy.accepted(), 1);
}

#[tokio::test]
async fn one_side_may_end_while_the_other_goes_on() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;

    say(&mut client, b"lend").await;
    client.shutdown().await.unwrap();

    assert_eq!(hear_out(&mut server).await, (b"lend".to_vec(), Ok(())));
    say(&mut server, b"lent").await;
    drop(server);
    assert_eq!(hear_out(&mut client).await, (b"lent".to_vec(), Ok(())));
}

#[tokio::test]
async fn counts_from_the_moment_that_a_fault_is_armed() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    say(&mut client, b"good morning").await;
    hear(&mut server, 12).await;

    let _fault = line.proxy.inflict(Direction::ToServer, 4, Action::Cut(Ending::Close));
    say(&mut client, b"lend a book").await;

    assert_eq!(hear_out(&mut server).await, (b"lend".to_vec(), Ok(())));
}

#[tokio::test]
async fn counts_each_direction_apart() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    say(&mut client, b"good morning").await;
    hear(&mut server, 12).await;

    let _fault = line.proxy.inflict(Direction::ToServer, 4, Action::Cut(Ending::Close));
    say(&mut server, b"hello").await;
    assert_eq!(hear(&mut client, 5).await, b"hello");
    say(&mut client, b"lend a book").await;

    assert_eq!(hear_out(&mut server).await, (b"lend".to_vec(), Ok(())));
}

#[tokio::test]
async fn counts_each_connection_apart_and_strikes_the_first() {
    let line = Line::new().await;
    let (mut first, mut first_server) = line.connect().await;
    let fault = line.proxy.inflict(Direction::ToServer, 4, Action::Cut(Ending::Close));
    let (mut second, mut second_server) = line.connect().await;

    say(&mut first, b"len").await;
    hear(&mut first_server, 3).await;
    say(&mut second, b"return").await;
    assert_eq!(hear_out(&mut second_server).await, (b"retu".to_vec(), Ok(())));

    assert!(fault.has_struck());
    say(&mut first, b"d a book").await;
    assert_eq!(hear(&mut first_server, 8).await, b"d a book");
}

#[tokio::test]
async fn a_fault_that_is_dropped_does_not_strike() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;

    drop(line.proxy.inflict(Direction::ToServer, 2, Action::Cut(Ending::Reset)));
    let released = line.proxy.inflict(Direction::ToServer, 2, Action::Stall);
    released.release();
    say(&mut client, b"lend").await;

    assert_eq!(hear(&mut server, 4).await, b"lend");
    assert!(!released.has_struck());
}

#[tokio::test]
async fn a_client_is_reset_where_there_is_no_server() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
    drop(server);

    let mut client = TcpStream::connect(proxy.address()).await.unwrap();

    assert_eq!(hear_out(&mut client).await, (vec![], Err(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn everything_ends_with_the_proxy() {
    let Line { proxy, server } = Line::new().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut session, _) = server.accept().await.unwrap();

    drop(proxy);

    assert_eq!(hear_out(&mut client).await.0, b"");
    assert_eq!(hear_out(&mut session).await.0, b"");
}
