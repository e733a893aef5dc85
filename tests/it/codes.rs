//! Codes that servers say where no store listens, and what they mean.

use std::future::poll_fn;

use eddyline::{Class, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::documented_classes::{class_in_append, class_in_read};
use crate::support::{Fragile, Log, asleep, cluster, named, nowhere, refusal, wait_until};

/// Connects, and returns what the server says unasked until it ends the connection.
async fn listen(url: &str) -> (Client, tokio::task::JoinHandle<Vec<String>>) {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let said = tokio::spawn(async move {
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
    (client, said)
}

/// Links from a server to servers, made by its extension `dblink`. Servers that were built without
/// it do not refuse any by themselves.
struct Links {
    sql: Client,
    are_real: bool,
}

impl Links {
    /// Makes a link named `broken`, whose session has ended.
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
        // The first to ask may be told instead why it ended.
        refusal(self.sql.batch_execute("SELECT dblink_exec('broken', 'SELECT 1')").await);
    }

    /// Returns the code with which what is asked of a link is refused.
    async fn refusal(&self, code: &str, asked: &str) -> String {
        let raise = format!("DO $$ BEGIN RAISE 'no link' USING ERRCODE = '{code}'; END $$");
        let statement = if self.are_real { asked } else { &raise };
        refusal(self.sql.batch_execute(statement).await)
    }
}

/// Checks the class of a code in a read, and in an append that was sent.
fn assert_classes(code: &str, ended: bool, [read, append]: [Class; 2]) {
    assert_eq!(class_in_read(code, Role::Primary), read.as_str(), "{code}");
    assert_eq!(class_in_append(code, ended), append.as_str(), "{code}");
}

#[tokio::test]
async fn a_session_that_idles_for_too_long_is_closed_without_harm() {
    let (client, said) = listen(&cluster().await.primary().url("postgres")).await;
    client.batch_execute("SET idle_session_timeout = 10").await.unwrap();

    let said = said.await.unwrap();

    assert_eq!(said, ["57P05"]);
    assert_classes(&said[0], true, [Class::Transient, Class::OutcomeUnknown]);
}

#[tokio::test]
async fn a_transaction_that_idles_for_too_long_is_a_timeout() {
    let (client, said) = listen(&cluster().await.primary().url("postgres")).await;
    let begin = "SET idle_in_transaction_session_timeout = 10; BEGIN";
    client.batch_execute(begin).await.unwrap();

    let said = said.await.unwrap();

    assert_eq!(said, ["25P03"]);
    assert_classes(&said[0], true, [Class::Timeout, Class::OutcomeUnknown]);
}

/// Servers older than 17 do not say so by themselves.
#[tokio::test]
async fn a_transaction_that_takes_too_long_is_a_timeout() {
    let cluster = cluster().await;
    let (client, said) = listen(&cluster.primary().url("postgres")).await;
    let code = if cluster.programs().major_version() < 17 {
        let raise = "DO $$ BEGIN RAISE 'too long' USING ERRCODE = '25P04'; END $$";
        refusal(client.batch_execute(raise).await)
    } else {
        client.batch_execute("SET transaction_timeout = 200; BEGIN").await.unwrap();
        said.await.unwrap().remove(0)
    };

    assert_eq!(code, "25P04");
    assert_classes(&code, true, [Class::Timeout, Class::OutcomeUnknown]);
}

#[tokio::test]
async fn who_lost_a_race_on_the_primary_may_run_again() {
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
async fn neighbours_of_a_session_that_crashed_are_sent_away_with_a_code() {
    let fragile = Fragile::new().await;
    let (url, application) = named(&fragile.primary_url());
    // What it had not read yet when it ends would take its last words along.
    let (_neighbour, said) = listen(&fragile.primary_url()).await;
    let watcher = fragile.sql().await;
    let (victim, _) = listen(&url).await;

    let sleep = victim.batch_execute("SELECT pg_sleep(600)");
    let crash = async {
        let process = asleep(&watcher, &application).await;
        fragile.cluster.primary().kill_backend(process).unwrap();
    };
    let (slept, ()) = tokio::join!(sleep, crash);

    assert!(slept.unwrap_err().is_closed());
    assert_eq!(said.await.unwrap(), ["57P02"]);
    assert_classes("57P02", true, [Class::Transient, Class::OutcomeUnknown]);
}

/// A message of a type that there is none of, after a login.
#[tokio::test]
async fn what_a_server_cannot_understand_breaks_the_connection() {
    let port = cluster().await.primary().port();
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut login = vec![0, 0, 0, 0, 0, 3, 0, 0];
    login.extend_from_slice(b"user\0postgres\0\0");
    login[3] = login.len() as u8;
    server.write_all(&login).await.unwrap();
    server.write_all(b"!\0\0\0\x04").await.unwrap();
    let mut said = Vec::new();
    server.read_to_end(&mut said).await.unwrap();

    let at = said.windows(2).rposition(|field| field == b"\0C").unwrap() + 2;
    let code = std::str::from_utf8(&said[at..at + 5]).unwrap();

    assert_eq!(code, "08P01");
    assert_classes(code, true, [Class::Transient, Class::OutcomeUnknown]);
}

#[tokio::test]
async fn a_server_that_has_no_link_to_another_one_leaves_an_append_in_doubt() {
    let log = Log::alone().await;
    let links = Links::new(&log).await;
    let connect = format!("SELECT dblink_connect('{}')", nowhere());
    let refused = [
        ("08001", &*connect),
        ("08003", "SELECT dblink_send_query('never_made', 'SELECT 1')"),
        ("08006", "SELECT dblink_exec('broken', 'SELECT 1')"),
    ];

    for (code, asked) in refused {
        let refusal = links.refusal(code, asked).await;

        assert_eq!(refusal, code, "{asked}");
        assert_classes(&refusal, false, [Class::Transient, Class::OutcomeUnknown]);
    }
}
