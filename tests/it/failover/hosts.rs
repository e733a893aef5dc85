//! The hosts of a store's address, and their watchers.

use eddyline::{Config, Error, ReadWrite, Store};
use fault_proxy::Proxy;
use local_postgres::Server;

use super::{POOLED, Servers, WATCHER, append, backends, books, config, connections};
use crate::support::{connect, end_sessions, lent, promptly, wait_until};

#[tokio::test]
async fn a_host_with_another_log_is_refused() {
    let (servers, other) = (Servers::start(0).await, Servers::start(0).await);
    let (port, other) = (servers.primary().port(), other.primary().port());
    let url = format!("postgres://postgres@127.0.0.1:{port},127.0.0.1:{other}/postgres");

    let refused = Store::<ReadWrite>::connect(Config::new(&url).unwrap()).await.unwrap_err();

    let Error::OtherLog { server, expected, found } = &refused else { panic!("{refused:?}") };
    assert!(server.contains(&other.to_string()) && expected != found, "{refused}");
}

#[tokio::test]
async fn the_watchers_end_with_the_store() {
    let servers = Servers::start(1).await;
    let store = servers.store().await;
    let both = [servers.primary(), servers.standby()];
    for server in both {
        wait_until(async || connections(server, WATCHER).await == 1).await;
    }
    let clone = store.clone();
    drop(store);
    append(&clone, lent("b-1", "r-1")).await;
    drop(clone);

    for server in both {
        wait_until(async || connections(server, WATCHER).await == 0).await;
        wait_until(async || connections(server, POOLED).await == 0).await;
    }
}

/// Waits until a watcher has recorded an answer of a server: it has asked again after that.
async fn wait_for_observation(server: &Server) {
    let sql = connect(&server.url("postgres")).await;
    let asked = "SELECT query_start::text FROM pg_stat_activity
        WHERE application_name = $1 AND query LIKE '%pg_postmaster_start_time%'";
    let asked = async || -> Option<String> {
        sql.query_opt(asked, &[&WATCHER]).await.unwrap().map(|row| row.get(0))
    };
    wait_until(async || asked().await.is_some()).await;
    let first = asked().await;
    wait_until(async || asked().await.is_some_and(|again| Some(again) != first)).await;
}

/// Timelines are numbers of one cluster. At first the other cluster has another log, and then a
/// copy of the store's log.
#[tokio::test]
async fn a_promotion_in_another_cluster_is_none_of_the_primary() {
    let (servers, other) = (Servers::start(0).await, Servers::start(1).await);
    let (primary, promoted) = (servers.primary(), other.standby());
    promoted.promote().await.unwrap();
    let proxy = Proxy::start(([127, 0, 0, 1], promoted.port()).into()).await.unwrap();
    // The other host answers only after the store has connected.
    proxy.freeze();
    let config = config([primary.port(), proxy.address().port()]);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let use_store = async || {
        append(&store, lent("b-1", "r-1")).await;
        promptly(store.head()).await.unwrap()
    };
    use_store().await;
    let before = backends(primary, POOLED).await;

    proxy.thaw();
    // Of two connections after this, one was refused because of the log.
    let accepted = proxy.accepted() + 2;
    wait_until(async || proxy.accepted() >= accepted).await;
    use_store().await;
    assert_eq!(backends(primary, POOLED).await, before);

    let sql = connect(&primary.url("postgres")).await;
    let log_id = "SELECT log_id::text FROM eddyline_schema";
    let log_id: String = sql.query_one(log_id, &[]).await.unwrap().get(0);
    let copy = format!("UPDATE eddyline_schema SET log_id = '{log_id}'");
    connect(&promoted.url("postgres")).await.batch_execute(&copy).await.unwrap();
    wait_for_observation(promoted).await;
    use_store().await;
    assert_eq!(backends(primary, POOLED).await, before);

    // New connections lead to the primary too.
    end_sessions(&sql, POOLED).await;
    use_store().await;
    assert_eq!((books(primary).await.len(), books(promoted).await.len()), (4, 0));
    wait_until(async || connections(promoted, POOLED).await == 0).await;
}
