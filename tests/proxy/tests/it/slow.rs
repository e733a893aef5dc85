//! Rate limits and freezes.

use std::time::{Duration, Instant};

use fault_proxy::{Action, Direction, Ending};
use tokio::io::AsyncWriteExt;

use crate::support::{Setup, arrived, receive, receive_to_end, send, send_until_triggered};

#[tokio::test]
async fn bytes_pass_within_the_rate_limit() {
    let setup = Setup::new().await;
    let book = vec![7; 30_000];
    for direction in Direction::BOTH {
        let (mut client, mut server) = setup.connect().await;
        let (from, to) = match direction {
            Direction::ToClient => (&mut server, &mut client),
            Direction::ToServer => (&mut client, &mut server),
        };
        setup.proxy.limit_rate(direction, Some(100_000));

        let started = Instant::now();
        send(from, &book).await;
        let received = receive(to, book.len()).await;

        // The first slice, a hundredth of a second, passes immediately.
        assert!(started.elapsed() >= Duration::from_millis(280), "{:?}", started.elapsed());
        assert!(received == book);
    }
}

#[tokio::test]
async fn a_rate_limit_applies_to_one_direction() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    setup.proxy.limit_rate(Direction::ToServer, Some(1));

    send(&mut client, b"lend").await;
    let book = vec![7; 1 << 20];
    let (mut server_reads, mut server_writes) = server.split();
    let (_, received) =
        tokio::join!(server_writes.write_all(&book), receive(&mut client, book.len()));

    assert!(received == book);
    let mut first = [0; 4];
    let received = tokio::io::AsyncReadExt::read(&mut server_reads, &mut first).await.unwrap();
    assert!(received < 4);
}

#[tokio::test]
async fn a_removed_rate_limit_has_no_effect() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    setup.proxy.limit_rate(Direction::ToServer, Some(1));
    send(&mut client, b"lend a book").await;
    assert_eq!(receive(&mut server, 1).await, b"l");

    setup.proxy.limit_rate(Direction::ToServer, None);

    assert_eq!(receive(&mut server, 10).await, b"end a book");
}

#[tokio::test]
async fn a_freeze_stops_both_directions_and_keeps_the_connection_open() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    let fault = setup.proxy.inject(Direction::ToServer, 4, Action::Freeze);

    send_until_triggered(&fault, &mut client, b"lend a book").await;
    assert_eq!(receive(&mut server, 4).await, b"lend");
    send(&mut server, b"which one?").await;
    // Another connection still works. Bytes that had passed would have arrived by then.
    let (mut other, mut other_server) = setup.connect().await;
    send(&mut other, b"return").await;
    assert_eq!(receive(&mut other_server, 6).await, b"return");
    assert_eq!((arrived(&client), arrived(&server)), (vec![], vec![]));

    fault.release();
    assert_eq!(receive(&mut server, 7).await, b" a book");
    assert_eq!(receive(&mut client, 10).await, b"which one?");
}

#[tokio::test]
async fn a_freeze_reads_nothing() {
    let setup = Setup::new().await;
    let (client, _server) = setup.connect().await;
    setup.proxy.freeze();

    // More than the socket buffers hold.
    let book = vec![7; 1 << 16];
    let mut sent = 0_usize;
    while let Ok(more) = client.try_write(&book) {
        sent += more;
        assert!(sent < 64 << 20, "the proxy reads");
        tokio::task::yield_now().await;
    }

    assert_eq!(setup.proxy.passed(Direction::ToServer), 0);
    setup.proxy.thaw();
    client.writable().await.unwrap();
}

#[tokio::test]
async fn all_connections_freeze_and_thaw_together() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    setup.proxy.freeze();
    let (mut later, mut later_server) = setup.connect().await;

    send(&mut client, b"lend").await;
    send(&mut later, b"return").await;
    tokio::task::yield_now().await;
    assert_eq!((arrived(&server), arrived(&later_server)), (vec![], vec![]));
    assert_eq!(setup.proxy.passed(Direction::ToServer), 0);

    setup.proxy.thaw();
    assert_eq!(receive(&mut server, 4).await, b"lend");
    assert_eq!(receive(&mut later_server, 6).await, b"return");
}

#[tokio::test]
async fn a_frozen_connection_can_be_cut() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    let fault = setup.proxy.inject(Direction::ToServer, 4, Action::Freeze);

    send_until_triggered(&fault, &mut client, b"lend a book").await;
    fault.cut(Ending::Close);

    assert_eq!(receive_to_end(&mut server).await, (b"lend".to_vec(), Ok(())));
    assert_eq!(receive_to_end(&mut client).await, (vec![], Ok(())));
}
