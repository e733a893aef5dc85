use std::time::{Duration, Instant};

use fault_proxy::{Action, Direction, Ending};
use tokio::io::AsyncWriteExt;

use crate::support::{Line, arrived, hear, hear_out, say, stalled};

#[tokio::test]
async fn bytes_pass_at_no_more_than_the_pace() {
    let line = Line::new().await;
    let book = vec![7; 30_000];
    for direction in Direction::BOTH {
        let (mut client, mut server) = line.connect().await;
        let (from, to) = match direction {
            Direction::ToClient => (&mut server, &mut client),
            Direction::ToServer => (&mut client, &mut server),
        };
        line.proxy.set_pace(direction, Some(100_000));

        let started = Instant::now();
        say(from, &book).await;
        let heard = hear(to, book.len()).await;

        // The first turn, a hundredth of a second, is free.
        assert!(started.elapsed() >= Duration::from_millis(280), "{:?}", started.elapsed());
        assert!(heard == book);
    }
}

#[tokio::test]
async fn a_pace_slows_one_direction_and_not_the_other() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.set_pace(Direction::ToServer, Some(1));

    say(&mut client, b"lend").await;
    let book = vec![7; 1 << 20];
    let (mut server_reads, mut server_writes) = server.split();
    let (_, heard) = tokio::join!(server_writes.write_all(&book), hear(&mut client, book.len()));

    assert!(heard == book);
    let mut first = [0; 4];
    let heard = tokio::io::AsyncReadExt::read(&mut server_reads, &mut first).await.unwrap();
    assert!(heard < 4);
}

#[tokio::test]
async fn a_pace_that_is_lifted_slows_nothing() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.set_pace(Direction::ToServer, Some(1));
    say(&mut client, b"lend a book").await;
    assert_eq!(hear(&mut server, 1).await, b"l");

    line.proxy.set_pace(Direction::ToServer, None);

    assert_eq!(hear(&mut server, 10).await, b"end a book");
}

#[tokio::test]
async fn a_freeze_stops_both_directions_and_keeps_them_open() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    let fault = line.proxy.inflict(Direction::ToServer, 4, Action::Freeze);

    stalled(&fault, &mut client, b"lend a book").await;
    assert_eq!(hear(&mut server, 4).await, b"lend");
    say(&mut server, b"which one?").await;
    // Another connection goes on: what had been let through would have come by then.
    let (mut other, mut other_server) = line.connect().await;
    say(&mut other, b"return").await;
    assert_eq!(hear(&mut other_server, 6).await, b"return");
    assert_eq!((arrived(&client), arrived(&server)), (vec![], vec![]));

    fault.release();
    assert_eq!(hear(&mut server, 7).await, b" a book");
    assert_eq!(hear(&mut client, 10).await, b"which one?");
}

#[tokio::test]
async fn a_freeze_reads_nothing() {
    let line = Line::new().await;
    let (client, _server) = line.connect().await;
    line.proxy.freeze();

    // More than the sockets hold.
    let book = vec![7; 1 << 16];
    let mut sent = 0_usize;
    while let Ok(more) = client.try_write(&book) {
        sent += more;
        assert!(sent < 64 << 20, "somebody reads");
        tokio::task::yield_now().await;
    }

    assert_eq!(line.proxy.passed(Direction::ToServer), 0);
    line.proxy.thaw();
    client.writable().await.unwrap();
}

#[tokio::test]
async fn all_connections_freeze_and_go_on_together() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.freeze();
    let (mut later, mut later_server) = line.connect().await;

    say(&mut client, b"lend").await;
    say(&mut later, b"return").await;
    tokio::task::yield_now().await;
    assert_eq!((arrived(&server), arrived(&later_server)), (vec![], vec![]));
    assert_eq!(line.proxy.passed(Direction::ToServer), 0);

    line.proxy.thaw();
    assert_eq!(hear(&mut server, 4).await, b"lend");
    assert_eq!(hear(&mut later_server, 6).await, b"return");
}

#[tokio::test]
async fn a_frozen_connection_can_be_cut() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    let fault = line.proxy.inflict(Direction::ToServer, 4, Action::Freeze);

    stalled(&fault, &mut client, b"lend a book").await;
    fault.cut(Ending::Close);

    assert_eq!(hear_out(&mut server).await, (b"lend".to_vec(), Ok(())));
    assert_eq!(hear_out(&mut client).await, (vec![], Ok(())));
}
