//! Faults that cut a connection.

use std::io::ErrorKind;

use fault_proxy::{Action, Direction, Ending};

use crate::support::{Setup, receive, receive_to_end, send};

#[tokio::test]
async fn a_cut_ends_both_sides_after_the_exact_number_of_bytes() {
    let setup = Setup::new().await;
    let words = b"lend a book";
    for direction in Direction::BOTH {
        for after in 0..=words.len() {
            let (mut client, mut server) = setup.connect().await;
            let fault = setup.proxy.inject(direction, after as u64, Action::Cut(Ending::Close));
            let (from, to) = match direction {
                Direction::ToClient => (&mut server, &mut client),
                Direction::ToServer => (&mut client, &mut server),
            };

            send(from, words).await;

            assert_eq!(receive_to_end(to).await, (words[..after].to_vec(), Ok(())));
            assert_eq!(receive_to_end(from).await, (vec![], Ok(())));
            assert!(fault.has_triggered());
        }
    }
}

#[tokio::test]
async fn a_cut_can_reset_both_sides() {
    let setup = Setup::new().await;
    for direction in Direction::BOTH {
        let (mut client, mut server) = setup.connect().await;
        let _fault = setup.proxy.inject(direction, 0, Action::Cut(Ending::Reset));

        match direction {
            Direction::ToClient => send(&mut server, b"lent").await,
            Direction::ToServer => send(&mut client, b"lend").await,
        }

        for side in [&mut client, &mut server] {
            assert_eq!(receive_to_end(side).await, (vec![], Err(ErrorKind::ConnectionReset)));
        }
    }
}

#[tokio::test]
async fn a_fault_is_triggered_as_soon_as_its_bytes_have_passed() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    let fault = setup.proxy.inject(Direction::ToServer, 4, Action::Cut(Ending::Close));

    send(&mut client, b"lend").await;

    fault.triggered().await;
    assert_eq!(receive_to_end(&mut server).await, (b"lend".to_vec(), Ok(())));
}

#[tokio::test]
async fn a_cut_does_not_affect_other_connections() {
    let setup = Setup::new().await;
    let (mut other, mut other_server) = setup.connect().await;
    let (mut client, mut server) = setup.connect().await;
    let _fault = setup.proxy.inject(Direction::ToServer, 1, Action::Cut(Ending::Reset));

    send(&mut client, b"lend").await;
    assert_eq!(receive_to_end(&mut server).await.0, b"l");

    send(&mut other, b"return").await;
    assert_eq!(receive(&mut other_server, 6).await, b"return");
}

#[tokio::test]
async fn each_of_two_faults_is_triggered_on_its_own_connection() {
    let setup = Setup::new().await;
    let faults = [3, 1]
        .map(|after| setup.proxy.inject(Direction::ToServer, after, Action::Cut(Ending::Close)));

    for passed in [&b"l"[..], b"len"] {
        let (mut client, mut server) = setup.connect().await;
        send(&mut client, b"lend").await;
        assert_eq!(receive_to_end(&mut server).await, (passed.to_vec(), Ok(())));
    }

    assert!(faults.iter().all(|fault| fault.has_triggered()));
    let (mut client, mut server) = setup.connect().await;
    send(&mut client, b"lend").await;
    assert_eq!(receive(&mut server, 4).await, b"lend");
}
