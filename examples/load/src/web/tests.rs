//! The server answers all clients, also with slow ones among them and at its end.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Address, AddressError, Answer, Limits, Request, Server, Serving};

const LONG: Duration = Duration::from_secs(600);
const PATIENT: Limits = Limits { connections: 8, exchange: LONG, last_request: LONG, end: LONG };

fn answer(request: &Request) -> Option<Answer> {
    match request.path.as_str() {
        "/" => Some(Answer::new("text/plain", format!("[{}]", request.query))),
        "/long" => Some(Answer::new("text/plain", "x".repeat(LENGTH))),
        "/failed" => Some(Answer::failed("no")),
        _ => None,
    }
}

/// More than the system keeps for a client that does not read.
const LENGTH: usize = 16 * 1024 * 1024;

async fn serve(limits: Limits) -> (Serving, std::net::SocketAddr) {
    let free = Address::parse(Some("0")).unwrap();
    let server = Server::bind(free).await.unwrap().unwrap();
    let address = server.address();
    (server.serve(limits, answer), address)
}

/// Sends a request and returns the whole answer.
async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request}\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn try_to_ask(address: std::net::SocketAddr) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address).await {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let _ = stream.read_to_string(&mut answer).await;
    }
    answer
}

#[tokio::test]
async fn answers_by_path_and_method() {
    let (_serving, address) = serve(PATIENT).await;

    for (request, status, content) in [
        ("GET /?after=3 HTTP/1.1", "200", "[after=3]"),
        ("HEAD / HTTP/1.1", "200", ""),
        ("GET /other HTTP/1.1", "404", "there is no such page\n"),
        ("GET /failed HTTP/1.1", "500", "no\n"),
        ("POST / HTTP/1.1", "405", "use GET or HEAD\n"),
        ("nonsense", "400", ""),
    ] {
        let answer = ask(address, request).await;

        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert_eq!(body, content, "{request}");
    }
    let refused = ask(address, "DELETE / HTTP/1.1").await.to_lowercase();
    assert!(refused.contains("allow: get, head"), "{refused}");
}

#[tokio::test]
async fn a_request_that_does_not_end_is_closed_and_makes_place_for_others() {
    let exchange = Duration::from_millis(100);
    let (_serving, address) = serve(Limits { connections: 2, exchange, ..PATIENT }).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        slow.push(stream);
    }

    // On a busy machine, this client can be too slow as well.
    while !try_to_ask(address).await.ends_with("[]") {}

    for mut stream in slow {
        let mut rest = String::new();
        let end = stream.read_to_string(&mut rest).await;
        assert!(end.is_err() || rest.is_empty(), "{rest}");
    }
}

#[tokio::test]
async fn clients_beyond_the_allowed_connections_wait_for_their_turn() {
    let (_serving, address) = serve(Limits { connections: 1, ..PATIENT }).await;
    let first = TcpStream::connect(address).await.unwrap();
    let mut others: Vec<_> =
        (0..20).map(|_| tokio::spawn(ask(address, "GET / HTTP/1.1"))).collect();
    // The only connection that is allowed belongs to a client that sends nothing.
    tokio::task::yield_now().await;
    assert!(others.iter_mut().all(|other| !other.is_finished()));

    drop(first);

    for other in others {
        assert!(other.await.unwrap().ends_with("[]"));
    }
}

#[tokio::test]
async fn an_answer_under_way_is_complete_when_the_server_ends() {
    let (serving, address) = serve(PATIENT).await;
    let mut reader = TcpStream::connect(address).await.unwrap();
    reader.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut start = [0; 16];
    reader.read_exact(&mut start).await.unwrap();

    let end = tokio::spawn(serving.shut_down());
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.unwrap();

    end.await.unwrap();
    let head = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    assert_eq!(rest.len() - head - 4, LENGTH);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn clients_that_are_connected_when_the_server_ends_get_their_answer() {
    for _ in 0..20 {
        let (serving, address) = serve(Limits { connections: 2, ..PATIENT }).await;
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            clients.push(stream);
        }

        serving.shut_down().await;

        for mut client in clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("[]"), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_client_that_sends_nothing_does_not_delay_the_end() {
    let (serving, address) = serve(Limits { last_request: Duration::ZERO, ..PATIENT }).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    assert!(ask(address, "GET / HTTP/1.1").await.ends_with("[]"));

    serving.shut_down().await;
}

#[tokio::test]
async fn a_given_address_that_is_taken_is_an_error() {
    let (_serving, address) = serve(PATIENT).await;

    let error = Server::bind(Address::Given(address)).await.unwrap_err();

    assert!(matches!(error, AddressError::Taken { address: taken } if taken == address));
}
