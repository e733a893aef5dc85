use std::io::ErrorKind;

use fault_proxy::{Action, Direction, Ending};

use crate::support::{Line, hear, hear_out, say};

#[tokio::test]
async fn ends_both_sides_after_exactly_so_many_bytes() {
    let line = Line::new().await;
    let words = b"lend a book";
    for direction in Direction::BOTH {
        for after in 0..=words.len() {
            let (mut client, mut server) = line.connect().await;
            let fault = line.proxy.inflict(direction, after as u64, Action::Cut(Ending::Close));
            let (from, to) = match direction {
                Direction::ToClient => (&mut server, &mut client),
                Direction::ToServer => (&mut client, &mut server),
            };

            say(from, words).await;

            assert_eq!(hear_out(to).await, (words[..after].to_vec(), Ok(())));
            assert_eq!(hear_out(from).await, (vec![], Ok(())));
            assert!(fault.has_struck());
        }
    }
}

#[tokio::test]
async fn resets_both_sides() {
    let line = Line::new().await;
    for direction in Direction::BOTH {
        let (mut client, mut server) = line.connect().await;
        let _fault = line.proxy.inflict(direction, 0, Action::Cut(Ending::Reset));

        match direction {
            Direction::ToClient => say(&mut server, b"lent").await,
            Direction::ToServer => say(&mut client, b"lend").await,
        }

        for side in [&mut client, &mut server] {
            assert_eq!(hear_out(side).await, (vec![], Err(ErrorKind::ConnectionReset)));
        }
    }
}

#[tokio::test]
async fn strikes_as_soon_as_the_bytes_have_passed() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    let fault = line.proxy.inflict(Direction::ToServer, 4, Action::Cut(Ending::Close));

    say(&mut client, b"lend").await;

    fault.struck().await;
    assert_eq!(hear_out(&mut server).await, (b"lend".to_vec(), Ok(())));
}

#[tokio::test]
async fn other_connections_go_on() {
    let line = Line::new().await;
    let (mut other, mut other_server) = line.connect().await;
    let (mut client, mut server) = line.connect().await;
    let _fault = line.proxy.inflict(Direction::ToServer, 1, Action::Cut(Ending::Reset));

    say(&mut client, b"lend").await;
    assert_eq!(hear_out(&mut server).await.0, b"l");

    say(&mut other, b"return").await;
    assert_eq!(hear(&mut other_server, 6).await, b"return");
}

#[tokio::test]
async fn of_two_faults_each_strikes_a_connection() {
    let line = Line::new().await;
    let faults = [3, 1]
        .map(|after| line.proxy.inflict(Direction::ToServer, after, Action::Cut(Ending::Close)));

    for passed in [&b"l"[..], b"len"] {
        let (mut client, mut server) = line.connect().await;
        say(&mut client, b"lend").await;
        assert_eq!(hear_out(&mut server).await, (passed.to_vec(), Ok(())));
    }

    assert!(faults.iter().all(|fault| fault.has_struck()));
    let (mut client, mut server) = line.connect().await;
    say(&mut client, b"lend").await;
    assert_eq!(hear(&mut server, 4).await, b"lend");
}
