//! A former primary that takes writes, while the promoted server does too.

use std::cell::RefCell;
use std::time::Duration;

use eddyline::{AppendCondition, Config, Decision, Error, ReadWrite, RetryPolicy, Store};

use super::{
    POOLED, Servers, WATCHER, append, append_until_stored_at, books, connections, patient,
};
use crate::support::{lent, loans_of, promptly, wait_until};

/// The old primary still takes writes, as if only its connection to the standby was cut.
#[tokio::test]
async fn an_isolated_old_primary_gets_nothing_once_the_new_one_was_seen() {
    let servers = Servers::start(1).await;
    let (old, new) = (servers.primary(), servers.standby());
    let store = servers.store_with_event().await;
    new.promote().await.unwrap();
    append_until_stored_at(&store, new).await;
    let (at_old, at_new) = (books(old).await, books(new).await.len());

    for number in 0..10 {
        append(&store, lent(&format!("b-{number}"), "r-2")).await;
    }
    let decided = store.decide(loans_of("b-1"), |history| {
        assert_eq!(history.events().len(), 2);
        Ok::<_, Error>(Decision::append([lent("b-1", "r-3")]))
    });
    let decided = promptly(decided).await.unwrap();
    let history = promptly(store.query(loans_of("b-1"))).await.unwrap();
    let import = store.import(futures_util::stream::iter([lent("b-11", "r-2")]));
    promptly(import.into_future()).await.unwrap();

    assert_eq!(books(old).await, at_old);
    assert_eq!(books(new).await.len(), at_new + 12);
    assert_eq!((history.events().len(), history.position()), (3, decided.position()));
    wait_until(async || connections(old, POOLED).await == 0).await;
    assert_eq!(connections(old, WATCHER).await, 1);
}

#[tokio::test]
async fn a_store_that_connects_to_two_primaries_uses_the_promoted_one() {
    let servers = Servers::start(1).await;
    servers.standby().promote().await.unwrap();

    let store = servers.store().await;
    append(&store, lent("b-1", "r-1")).await;

    assert_eq!(
        (books(servers.primary()).await.len(), books(servers.standby()).await.len()),
        (0, 1)
    );
}

#[tokio::test]
async fn a_former_primary_is_refused_whenever_it_comes_back() {
    let servers = Servers::start(1).await;
    let (old, new) = (servers.primary(), servers.standby());
    let store = servers.store_with_event().await;
    old.kill().await.unwrap();
    new.promote().await.unwrap();
    append(&store, lent("b-2", "r-1")).await;
    old.start().await.unwrap();
    append(&store, lent("b-3", "r-1")).await;
    new.stop_immediately().await.unwrap();
    let policy = RetryPolicy::builder().attempts(1).attempt_timeout(Duration::from_millis(300));
    let single = store.with_retry_policy(policy.build().unwrap());
    let refused = RefCell::new(String::new());
    let (reason, closed) = (
        "it is a former primary: its timeline is 1, and that of the promoted one is 2",
        format!("nothing listens on port {}", new.port()),
    );
    // At first an append may be sent over the connection that the server closes.
    wait_until(async || {
        let append = single.append([lent("b-4", "r-1")], AppendCondition::none());
        refused.replace(append.await.unwrap_err().to_string());
        refused.borrow().contains(reason) && refused.borrow().contains(&closed)
    })
    .await;
    // Once the new primary is back, the store goes on.
    let (appended, started) =
        tokio::join!(append(&store, lent("b-5", "r-1")), async { new.start().await });

    started.unwrap();
    assert_eq!(books(old).await.len(), 1);
    assert_eq!(books(new).await.get(&appended.value()).map(|book| &**book), Some("b-5"));
}

#[tokio::test]
async fn a_store_with_one_host_has_no_watcher_and_stays_with_its_host() {
    let servers = Servers::start(1).await;
    let config = Config::new(&servers.primary().url("postgres")).unwrap();
    let store = Store::<ReadWrite>::connect(config.retry(patient())).await.unwrap();
    append(&store, lent("b-1", "r-1")).await;
    servers.standby().promote().await.unwrap();

    append(&store, lent("b-2", "r-1")).await;

    assert_eq!(books(servers.primary()).await.len(), 2);
    assert_eq!(connections(servers.primary(), WATCHER).await, 0);
}
