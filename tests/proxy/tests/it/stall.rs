//! Faults that hold bytes back.

use std::io::ErrorKind;
use std::time::Duration;

use fault_proxy::{Action, Direction, Ending};
use tokio::io::AsyncWriteExt;

use crate::support::{Setup, arrived, receive, receive_to_end, send, send_until_triggered};

#[tokio::test]
async fn a_stall_holds_back_one_direction() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    let fault = setup.proxy.inject(Direction::ToServer, 4, Action::Stall);

    send_until_triggered(&fault, &mut client, b"lend a book").await;
    assert_eq!(receive(&mut server, 4).await, b"lend");
    send(&mut server, b"which one?").await;
    assert_eq!(receive(&mut client, 10).await, b"which one?");
    assert_eq!(arrived(&server), b"");

    fault.release();
    send(&mut client, b" of yours").await;
    assert_eq!(receive(&mut server, 16).await, b" a book of yours");
}

#[tokio::test]
async fn a_delay_ends_by_itself() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    let delay = Action::Delay(Duration::from_millis(20));
    let fault = setup.proxy.inject(Direction::ToServer, 4, delay);

    send_until_triggered(&fault, &mut client, b"lend a book").await;

    assert_eq!(receive(&mut server, 11).await, b"lend a book");
}

#[tokio::test]
async fn a_cut_after_a_stall_delivers_only_the_first_bytes() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    let fault = setup.proxy.inject(Direction::ToServer, 4, Action::Stall);

    send_until_triggered(&fault, &mut client, b"lend a book").await;
    fault.cut(Ending::Close);

    assert_eq!(receive_to_end(&mut server).await, (b"lend".to_vec(), Ok(())));
    assert_eq!(receive_to_end(&mut client).await, (vec![], Ok(())));
}

#[tokio::test]
async fn stalled_bytes_arrive_after_the_client_has_disconnected() {
    let setup = Setup::new().await;
    for zero_linger in [false, true] {
        let (mut client, mut server) = setup.connect().await;
        let fault = setup.proxy.inject(Direction::ToServer, 4, Action::Stall);

        send_until_triggered(&fault, &mut client, b"lend a book").await;
        if zero_linger {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        assert_eq!(receive(&mut server, 4).await, b"lend");
        assert_eq!(arrived(&server), b"");
        fault.release();

        assert_eq!(receive_to_end(&mut server).await, (b" a book".to_vec(), Ok(())));
    }
}

#[tokio::test]
async fn stalled_bytes_arrive_after_disconnect_client() {
    let setup = Setup::new().await;
    let endings = [(Ending::Close, Ok(())), (Ending::Reset, Err(ErrorKind::ConnectionReset))];
    for (ending, seen) in endings {
        let (mut client, mut server) = setup.connect().await;
        let fault = setup.proxy.inject(Direction::ToServer, 0, Action::Stall);

        send_until_triggered(&fault, &mut client, b"lend a book").await;
        fault.disconnect_client(ending);
        assert_eq!(receive_to_end(&mut client).await, (vec![], seen));
        assert_eq!(arrived(&server), b"");
        // The client connects again and sends, while its first bytes are still held back.
        let (mut again, mut session) = setup.connect().await;
        send(&mut again, b"return").await;
        assert_eq!(receive(&mut session, 6).await, b"return");
        fault.release();

        assert_eq!(receive_to_end(&mut server).await, (b"lend a book".to_vec(), Ok(())));
    }
}

#[tokio::test]
async fn the_server_does_not_notice_a_stalled_reply() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    let fault = setup.proxy.inject(Direction::ToClient, 2, Action::Stall);

    send(&mut server, b"lent").await;
    fault.triggered().await;
    fault.disconnect_client(Ending::Close);

    assert_eq!(receive_to_end(&mut client).await, (b"le".to_vec(), Ok(())));
    send(&mut server, b"again").await;
    fault.release();
    assert_eq!(receive_to_end(&mut server).await, (vec![], Ok(())));
}

#[tokio::test]
async fn release_all_releases_all_faults() {
    let setup = Setup::new().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let (mut client, server) = setup.connect().await;
        let fault = setup.proxy.inject(Direction::ToServer, 0, Action::Stall);
        send_until_triggered(&fault, &mut client, b"lend").await;
        client.shutdown().await.unwrap();
        sessions.push((client, server));
    }

    setup.proxy.release_all();

    for (_, server) in &mut sessions {
        assert_eq!(receive_to_end(server).await, (b"lend".to_vec(), Ok(())));
    }
}
