use std::io::ErrorKind;
use std::time::Duration;

use fault_proxy::{Action, Direction, Ending};
use tokio::io::AsyncWriteExt;

use crate::support::{Line, arrived, hear, hear_out, say, stalled};

#[tokio::test]
async fn holds_one_direction_back_and_not_the_other() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    let fault = line.proxy.inflict(Direction::ToServer, 4, Action::Stall);

    stalled(&fault, &mut client, b"lend a book").await;
    assert_eq!(hear(&mut server, 4).await, b"lend");
    say(&mut server, b"which one?").await;
    assert_eq!(hear(&mut client, 10).await, b"which one?");
    assert_eq!(arrived(&server), b"");

    fault.release();
    say(&mut client, b" of yours").await;
    assert_eq!(hear(&mut server, 16).await, b" a book of yours");
}

#[tokio::test]
async fn a_delay_ends_by_itself() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    let delay = Action::Delay(Duration::from_millis(20));
    let fault = line.proxy.inflict(Direction::ToServer, 4, delay);

    stalled(&fault, &mut client, b"lend a book").await;

    assert_eq!(hear(&mut server, 11).await, b"lend a book");
}

#[tokio::test]
async fn half_of_what_was_said_may_be_all_that_arrives() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    let fault = line.proxy.inflict(Direction::ToServer, 4, Action::Stall);

    stalled(&fault, &mut client, b"lend a book").await;
    fault.cut(Ending::Close);

    assert_eq!(hear_out(&mut server).await, (b"lend".to_vec(), Ok(())));
    assert_eq!(hear_out(&mut client).await, (vec![], Ok(())));
}

#[tokio::test]
async fn what_was_held_back_arrives_after_its_client_has_gone() {
    let line = Line::new().await;
    for zero_linger in [false, true] {
        let (mut client, mut server) = line.connect().await;
        let fault = line.proxy.inflict(Direction::ToServer, 4, Action::Stall);

        stalled(&fault, &mut client, b"lend a book").await;
        if zero_linger {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        assert_eq!(hear(&mut server, 4).await, b"lend");
        assert_eq!(arrived(&server), b"");
        fault.release();

        assert_eq!(hear_out(&mut server).await, (b" a book".to_vec(), Ok(())));
    }
}

#[tokio::test]
async fn what_was_held_back_arrives_after_its_client_was_cut_off() {
    let line = Line::new().await;
    let endings = [(Ending::Close, Ok(())), (Ending::Reset, Err(ErrorKind::ConnectionReset))];
    for (ending, seen) in endings {
        let (mut client, mut server) = line.connect().await;
        let fault = line.proxy.inflict(Direction::ToServer, 0, Action::Stall);

        stalled(&fault, &mut client, b"lend a book").await;
        fault.hang_up(ending);
        assert_eq!(hear_out(&mut client).await, (vec![], seen));
        assert_eq!(arrived(&server), b"");
        // A client connects again, and gets on, while the first one's words are still under way.
        let (mut again, mut session) = line.connect().await;
        say(&mut again, b"return").await;
        assert_eq!(hear(&mut session, 6).await, b"return");
        fault.release();

        assert_eq!(hear_out(&mut server).await, (b"lend a book".to_vec(), Ok(())));
    }
}

#[tokio::test]
async fn an_answer_that_is_held_back_leaves_the_server_in_the_dark() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    let fault = line.proxy.inflict(Direction::ToClient, 2, Action::Stall);

    say(&mut server, b"lent").await;
    fault.struck().await;
    fault.hang_up(Ending::Close);

    assert_eq!(hear_out(&mut client).await, (b"le".to_vec(), Ok(())));
    say(&mut server, b"again").await;
    fault.release();
    assert_eq!(hear_out(&mut server).await, (vec![], Ok(())));
}

#[tokio::test]
async fn everything_can_be_released_at_once() {
    let line = Line::new().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let (mut client, server) = line.connect().await;
        let fault = line.proxy.inflict(Direction::ToServer, 0, Action::Stall);
        stalled(&fault, &mut client, b"lend").await;
        client.shutdown().await.unwrap();
        sessions.push((client, server));
    }

    line.proxy.release_all();

    for (_, server) in &mut sessions {
        assert_eq!(hear_out(server).await, (b"lend".to_vec(), Ok(())));
    }
}
