//! SQLSTATEs that servers send outside of a store's requests, and their classes.

use std::future::poll_fn;

use eddyline::Class;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::documented_classes::{Role, class_in_append, class_in_read};
use crate::support::{
    Fragile, Log, cluster, named, refusal, sleeping_backend, unreachable_url, wait_until,
};

/// Connects, and returns the SQLSTATEs that the server sends until it ends the connection.
async fn listen(url: &str) -> (Client, tokio::task::JoinHandle<Vec<String>>) {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let codes = tokio::spawn(async move {
        let mut codes = Vec::new();
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notice(notice)) => codes.push(notice.code().code().to_owned()),
                Ok(_) => {}
                Err(error) => {
                    codes.extend(error.code().map(|code| code.code().to_owned()));
                    break;
                }
            }
        }
        codes
    });
    (client, codes)
}

/// Links from a server to servers, made by its extension `dblink`. On servers without the
/// extension, the errors are raised instead.
struct Links {
    sql: Client,
    are_real: bool,
}

impl Links {
    /// Makes a link named `broken`, whose session was terminated.
    async fn new(log: &Log) -> Self {
        let sql = log.sql().await;
        let extension = "SELECT FROM pg_available_extensions WHERE name = 'dblink'";
        let are_real = !sql.query(extension, &[]).await.unwrap().is_empty();
        let links = Self { sql, are_real };
        if are_real {
            links.make_and_break(log).await;
        }
        links
    }

    async fn make_and_break(&self, log: &Log) {
        let (url, application) = named(&log.primary_url());
        let make = format!("CREATE EXTENSION dblink; SELECT dblink_connect('broken', '{url}')");
        self.sql.batch_execute(&make).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = $1";
        let end = async || self.sql.query(end, &[&application]).await.unwrap();
        wait_until(async || end().await.is_empty()).await;
        // The first statement may fail with the reason of the termination instead.
        refusal(self.sql.batch_execute("SELECT dblink_exec('broken', 'SELECT 1')").await);
    }

    /// Returns the SQLSTATE with which the server refuses a statement on a link.
    async fn refusal(&self, code: &str, statement: &str) -> String {
        let raise = format!("DO $$ BEGIN RAISE 'no link' USING ERRCODE = '{code}'; END $$");
        let executed = if self.are_real { statement } else { &raise };
        refusal(self.sql.batch_execute(executed).await)
    }
}

/// Checks the class of a code in a read, and in an append that was sent.
fn assert_classes(code: &str, ended: bool, [read, append]: [Class; 2]) {
    assert_eq!(class_in_read(code, Role::Primary), read.as_str(), "{code}");
    assert_eq!(class_in_append(code, ended), append.as_str(), "{code}");
}

#[tokio::test]
async fn an_idle_session_timeout_is_transient() {
    let (client, codes) = listen(&cluster().await.primary().url("postgres")).await;
    client.batch_execute("SET idle_session_timeout = 10").await.unwrap();

    let codes = codes.await.unwrap();

    assert_eq!(codes, ["57P05"]);
    assert_classes(&codes[0], true, [Class::Transient, Class::OutcomeUnknown]);
}

#[tokio::test]
async fn an_idle_in_transaction_timeout_is_a_timeout() {
    let (client, codes) = listen(&cluster().await.primary().url("postgres")).await;
    let begin = "SET idle_in_transaction_session_timeout = 10; BEGIN";
    client.batch_execute(begin).await.unwrap();

    let codes = codes.await.unwrap();

    assert_eq!(codes, ["25P03"]);
    assert_classes(&codes[0], true, [Class::Timeout, Class::OutcomeUnknown]);
}

/// Servers older than 17 have no `transaction_timeout`. The error is raised there.
#[tokio::test]
async fn a_transaction_timeout_is_a_timeout() {
    let cluster = cluster().await;
    let (client, codes) = listen(&cluster.primary().url("postgres")).await;
    let code = if cluster.programs().major_version() < 17 {
        let raise = "DO $$ BEGIN RAISE 'too long' USING ERRCODE = '25P04'; END $$";
        refusal(client.batch_execute(raise).await)
    } else {
        client.batch_execute("SET transaction_timeout = 200; BEGIN").await.unwrap();
        codes.await.unwrap().remove(0)
    };

    assert_eq!(code, "25P04");
    assert_classes(&code, true, [Class::Timeout, Class::OutcomeUnknown]);
}

#[tokio::test]
async fn a_serialization_failure_is_transient() {
    let log = Log::new().await;
    let (sql, name) = (log.sql().await, &log.name);
    let (first, second) = (log.sql().await, log.sql().await);
    sql.batch_execute(&format!("CREATE TABLE {name}_shelf AS SELECT 1 AS books")).await.unwrap();
    let take = format!("UPDATE {name}_shelf SET books = books - 1");
    let begin = format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM {name}_shelf");
    first.batch_execute(&begin).await.unwrap();
    second.batch_execute(&format!("{begin}; {take}; COMMIT")).await.unwrap();

    let code = refusal(first.batch_execute(&take).await);

    assert_eq!(code, "40001");
    assert_classes(&code, false, [Class::Transient; 2]);
}

#[tokio::test]
async fn a_crash_of_another_session_is_transient() {
    let fragile = Fragile::new().await;
    let (url, application) = named(&fragile.primary_url());
    // A connection that ends with unread data is reset, and loses its last message.
    let (_neighbour, codes) = listen(&fragile.primary_url()).await;
    let watcher = fragile.sql().await;
    let (victim, _) = listen(&url).await;

    let sleep = victim.batch_execute("SELECT pg_sleep(600)");
    let crash = async {
        let process = sleeping_backend(&watcher, &application).await;
        fragile.cluster.primary().kill_backend(process).unwrap();
    };
    let (slept, ()) = tokio::join!(sleep, crash);

    assert!(slept.unwrap_err().is_closed());
    assert_eq!(codes.await.unwrap(), ["57P02"]);
    assert_classes("57P02", true, [Class::Transient, Class::OutcomeUnknown]);
}

/// Sends a message of an unknown type after the login.
#[tokio::test]
async fn a_protocol_violation_is_transient() {
    let port = cluster().await.primary().port();
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut login = vec![0, 0, 0, 0, 0, 3, 0, 0];
    login.extend_from_slice(b"user\0postgres\0\0");
    login[3] = login.len() as u8;
    server.write_all(&login).await.unwrap();
    server.write_all(b"!\0\0\0\x04").await.unwrap();
    let mut codes = Vec::new();
    server.read_to_end(&mut codes).await.unwrap();

    let at = codes.windows(2).rposition(|field| field == b"\0C").unwrap() + 2;
    let code = std::str::from_utf8(&codes[at..at + 5]).unwrap();

    assert_eq!(code, "08P01");
    assert_classes(code, true, [Class::Transient, Class::OutcomeUnknown]);
}

#[tokio::test]
async fn an_append_refused_for_a_lost_link_has_an_unknown_outcome() {
    let log = Log::isolated().await;
    let links = Links::new(&log).await;
    let connect = format!("SELECT dblink_connect('{}')", unreachable_url());
    let refused = [
        ("08001", &*connect),
        ("08003", "SELECT dblink_send_query('never_made', 'SELECT 1')"),
        ("08006", "SELECT dblink_exec('broken', 'SELECT 1')"),
    ];

    for (code, statement) in refused {
        let refusal = links.refusal(code, statement).await;

        assert_eq!(refusal, code, "{statement}");
        assert_classes(&refusal, false, [Class::Transient, Class::OutcomeUnknown]);
    }
}
