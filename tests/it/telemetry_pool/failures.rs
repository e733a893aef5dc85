//! Failed attempts to connect.

use std::collections::BTreeMap;

use eddyline::{Config, ReadOnly, Schema, Store};

use super::{
    CREATE_TIME, MAX, READS, TIMEOUTS, WAIT_TIME, branch, connections, end, failures, hold,
    of_class, point,
};
use crate::support::{
    Log, Observer, as_user, closed_port, cluster, connect, next, promptly, secure_server,
    unreachable_url, wait_until,
};

/// The server refuses each new connection, and the caller waits for the one that exists.
#[tokio::test]
async fn failures_that_a_waiting_caller_does_not_see_are_counted() {
    let (log, observer) = (Log::new().await, Observer::new());
    let role = format!("writer_{}", next());
    Schema::new(&log.config()).writer_role(&role).migrate().await.unwrap();
    let sql = log.sql().await;
    sql.batch_execute(&format!("ALTER ROLE {role} LOGIN")).await.unwrap();
    let config = Config::new(&as_user(&log.primary_url(), &role)).unwrap().log(&log.name);
    let store = branch(config, &observer).await;
    let stream = hold(&store).await;
    let server_log = cluster().await.primary().log().to_owned();
    let refusals = || {
        let text = std::fs::read_to_string(&server_log).unwrap();
        text.matches(&format!("\"{role}\"")).count()
    };
    let before = failures(&observer, READS);
    sql.batch_execute(&format!("ALTER ROLE {role} NOLOGIN")).await.unwrap();

    let end = async {
        wait_until(async || refusals() > 2).await;
        end(stream).await;
    };
    let (head, ()) = promptly(async { tokio::join!(store.head(), end) }).await;

    head.unwrap();
    assert_eq!(before, BTreeMap::new());
    // The last attempt goes on without its caller.
    wait_until(async || failures(&observer, READS) == of_class("authentication", refusals())).await;
    assert_eq!(observer.value(TIMEOUTS, READS), Some(0.0));
}

#[tokio::test]
async fn a_wrong_password_is_a_failure_of_authentication() {
    let (server, observer) = (secure_server().await, Observer::new());
    let (name, log) = (format!("writer_{}", next()), format!("log_{}", next()));
    let owner = Config::new(&server.url_by_address()).unwrap().log(&log);
    Schema::new(&owner).migrate().await.unwrap();
    server.create_user_with_password(&name, "shelf-mark").await;
    let url = as_user(&server.url(), &format!("{name}:shelf-mark"));
    let store = branch(Config::new(&url).unwrap().log(&log), &observer).await;
    let sql = connect(&server.url_by_address()).await;
    sql.batch_execute(&format!("ALTER ROLE {name} PASSWORD 'other'")).await.unwrap();

    for _ in 0..3 {
        let error = promptly(store.head()).await.unwrap_err();
        assert_eq!(error.sqlstate().unwrap().as_str(), "28P01", "{error:?}");
    }

    assert_eq!(failures(&observer, READS), of_class("authentication", 3));
    assert_eq!(point(&observer, CREATE_TIME, READS).count, 0);
    assert_eq!(point(&observer, WAIT_TIME, READS).count, 0);
}

/// The attempts are those of the store's check and of its watchers, for which no caller waits.
#[tokio::test]
async fn a_replica_that_refuses_connections_is_a_failure_of_its_pool() {
    let (log, observer) = (Log::new().await, Observer::new());
    log.reader().await;
    let config = Config::new(&unreachable_url()).unwrap().replica(&log.replica_url()).unwrap();
    let config = config.log(&log.name).name("branch").telemetry(observer.telemetry());
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();

    let refused = || failures(&observer, "store=branch pool=replica-0");
    wait_until(async || refused().get("class=transient").is_some_and(|count| *count > 2.0)).await;
    let added = reader.add_replica(&unreachable_url()).await;

    added.unwrap_err();
    assert_eq!(refused().len(), 1, "{:?}", refused());
    assert_eq!(failures(&observer, "store=branch pool=replica-1"), BTreeMap::new());
    assert_eq!(failures(&observer, "store=branch pool=replica-2"), of_class("transient", 1));
}

fn address(ports: [u16; 2]) -> String {
    format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/library", ports[0], ports[1])
}

/// The attempt succeeds with the second host, and leaves nobody without a connection.
#[tokio::test]
async fn a_host_that_fails_before_another_one_succeeds_is_no_failure() {
    let (log, observer) = (Log::new().await, Observer::new());
    log.reader().await;
    let replica = cluster().await.standbys()[0].port();
    let config = Config::new(&address([closed_port(), replica])).unwrap().log(&log.name);
    let config = config.name("branch").telemetry(observer.telemetry());

    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    reader.head().await.unwrap();

    let pool = "store=branch pool=replica-0";
    assert_eq!(failures(&observer, pool), BTreeMap::new());
    // The watcher has one of its own.
    assert_eq!(point(&observer, CREATE_TIME, pool).count, 2);
}

/// A read-write store watches each host of its address. No caller gets one of these connections.
#[tokio::test]
async fn the_watchers_of_hosts_are_counted_in_the_pool_of_the_primary() {
    let (log, observer) = (Log::new().await, Observer::new());
    let primary = cluster().await.primary().port();
    let config = Config::new(&address([primary, closed_port()])).unwrap().log(&log.name);

    let store = branch(config.max_connections(3), &observer).await;

    let refused = || failures(&observer, READS).get("class=transient").copied();
    wait_until(async || refused().is_some_and(|count| count > 1.0)).await;
    let limits = observer.values(MAX, "store=branch");
    let expected = [("pool=primary".to_owned(), 3.0), ("pool=primary-appends".to_owned(), 4.0)];
    assert_eq!(limits, BTreeMap::from(expected));
    wait_until(async || point(&observer, CREATE_TIME, READS).count > 0).await;
    assert_eq!(connections(&observer, READS), [Some(0.0), Some(0.0)]);
    drop(store);
}
