//! Acknowledged events are on the synchronous standby.

use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use eddyline::{AppendCondition, Config, Error, Event, ReadWrite, RetryPolicy, Store};
use fault_proxy::{Action, Direction, Proxy};
use futures_util::stream;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Fragile, lent, loans_of, wait_until};

/// A log on a primary that waits for a synchronous standby, which is down.
struct StandbyDown {
    fragile: Fragile,
    sql: Client,
    store: Store<ReadWrite>,
}

impl StandbyDown {
    async fn new() -> Self {
        let fragile = Fragile::new().await;
        let require_standby = "ALTER SYSTEM SET synchronous_standby_names = '*'";
        fragile.sql().await.batch_execute(require_standby).await.unwrap();
        fragile.cluster.primary().restart().await.unwrap();
        let policy = RetryPolicy::builder()
            .base_delay(Duration::from_millis(1))
            .attempt_timeout(Duration::from_millis(550))
            .deadline(Duration::from_secs(2));
        let config = fragile.config().retry(policy.build().unwrap());
        let store = Store::<ReadWrite>::connect(config).await.unwrap();
        // This connects and prepares the statements before the standby stops.
        let append = || store.append([lent("b-0", "r-0")], AppendCondition::none());
        wait_until(async || append().await.is_ok()).await;
        let sql = fragile.sql().await;
        fragile.cluster.standbys()[0].stop().await.unwrap();
        Self { fragile, sql, store }
    }

    async fn wait_for_commit(&self) {
        let waiting = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        wait_until(async || !self.sql.query(waiting, &[]).await.unwrap().is_empty()).await;
    }

    /// Cancels the wait for the standby, as an administrator can. PostgreSQL then reports the
    /// commit as successful.
    async fn cancel_wait_for_standby(&self) {
        let cancel =
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        self.wait_for_commit().await;
        self.sql.query(cancel, &[]).await.unwrap();
    }

    async fn loans(&self) -> Vec<Uuid> {
        let history = self.store.query(loans_of("b-1")).await.unwrap();
        history.events().iter().map(|event| event.id()).collect()
    }

    async fn restart_standby(&self) {
        self.fragile.cluster.standbys()[0].start().await.unwrap();
    }
}

/// The events of an unanswered append stay invisible on the primary until the standby has them,
/// even while the store retries the append.
#[tokio::test]
async fn an_append_is_not_visible_before_the_standby_has_it() {
    let server = StandbyDown::new().await;
    let (event, store) = (lent("b-1", "r-1"), &server.store);
    let append = || store.append([event.clone()], AppendCondition::none());

    let (unknown, ()) = tokio::join!(append(), server.wait_for_commit());

    assert!(unknown.as_ref().is_err_and(|error| error.is_outcome_unknown()), "{unknown:?}");
    assert_eq!(server.loans().await, [] as [Uuid; 0]);
    let again = append().await;
    assert!(again.is_err(), "{again:?}");
    assert_eq!(server.loans().await, [] as [Uuid; 0]);
    server.wait_for_commit().await;
    server.restart_standby().await;
    wait_until(async || append().await.is_ok_and(|appended| appended.is_repeat())).await;
    assert_eq!(server.loans().await, [Event::id(&event)]);
}

/// As above, for a chunk of an import.
#[tokio::test]
async fn an_import_is_not_visible_before_the_standby_has_it() {
    let server = StandbyDown::new().await;
    let (event, store) = (lent("b-1", "r-1"), &server.store);
    let import = || store.import(stream::iter([event.clone()])).into_future();

    let (unknown, ()) = tokio::join!(import(), server.wait_for_commit());

    let unknown = unknown.map_err(Error::from);
    assert!(unknown.as_ref().is_err_and(|error| error.is_outcome_unknown()), "{unknown:?}");
    assert_eq!(server.loans().await, [] as [Uuid; 0]);
    server.restart_standby().await;
    wait_until(async || import().await.is_ok_and(|imported| imported.skipped() == 1)).await;
}

/// Events whose wait for the standby was canceled are visible, but could still be lost.
#[tokio::test]
async fn events_found_in_the_log_are_not_acknowledged_before_the_standby_has_them() {
    let server = StandbyDown::new().await;
    let (event, store) = (lent("b-1", "r-1"), &server.store);
    let append = || store.append([event.clone()], AppendCondition::none());
    let import = || store.import(stream::iter([event.clone()])).into_future();
    let (_, ()) = tokio::join!(append(), server.cancel_wait_for_standby());
    wait_until(async || server.loans().await == [Event::id(&event)]).await;

    let (appended, imported) = tokio::join!(append(), import());

    assert!(appended.is_err(), "{appended:?}");
    assert!(imported.is_err(), "{imported:?}");
    server.restart_standby().await;
    wait_until(async || append().await.is_ok_and(|appended| appended.is_repeat())).await;
    wait_until(async || import().await.is_ok_and(|imported| imported.skipped() == 1)).await;
}

/// The procedure of an append commits before it answers, even if the commit waits for a standby. So
/// no client byte is awaited while the log's lock is held.
#[tokio::test]
async fn an_append_with_a_synchronous_standby_awaits_no_client_byte_under_the_lock() {
    let fragile = Fragile::new().await;
    let sql = fragile.sql().await;
    sql.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
    fragile.cluster.primary().restart().await.unwrap();
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, fragile.cluster.primary().port()));
    let proxy = Proxy::start(server).await.unwrap();
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let store = Config::new(&url).unwrap().log(&fragile.log).max_connections(1);
    let store = Store::<ReadWrite>::connect(store).await.unwrap();
    let mut length = 0;
    for _ in 0..2 {
        let before = proxy.passed(Direction::ToServer);
        store.append([lent("b-0", "r-0")], AppendCondition::none()).await.unwrap();
        length = proxy.passed(Direction::ToServer) - before;
    }
    let bounded = fragile.config().retry(RetryPolicy::never());
    let bounded = Store::<ReadWrite>::connect(bounded).await.unwrap();
    let end_of_request = proxy.inject(Direction::ToServer, length - 1, Action::Stall);

    let (appended, ()) =
        tokio::join!(store.append([lent("b-1", "r-1")], AppendCondition::none()), async {
            end_of_request.triggered().await;
            bounded.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();
            end_of_request.release();
        });

    appended.unwrap();
}
