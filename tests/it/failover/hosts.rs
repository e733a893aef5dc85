//! The hosts of a store's address, and their watchers.

use eddyline::{Config, Error, ReadWrite, Store};

use super::{POOLED, Servers, WATCHER, append, connections};
use crate::support::{lent, wait_until};

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
