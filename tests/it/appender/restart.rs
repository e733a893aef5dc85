//! Appends that wait while the primary restarts.

use eddyline::{AppendCondition, Filter, ReadWrite, RetryPolicy, Store};
use futures_util::future::join_all;

use super::Append;
use crate::support::{Fragile, connect, lent, wait_for_lock_waiter};

/// One append waits at the server, the others in the queue, when the server stops immediately.
#[tokio::test]
async fn waiting_appends_are_stored_once_each_if_the_primary_restarts() {
    let fragile = Fragile::new().await;
    let policy = RetryPolicy::builder().attempts(100).no_budget().build().unwrap();
    let store = Store::<ReadWrite>::connect(fragile.config().retry(policy)).await.unwrap();
    let holder = fragile.sql().await;
    let oid = format!("SELECT '{}'::regclass::oid::bigint", fragile.log);
    let oid: i64 = holder.query_one(&oid, &[]).await.unwrap().get(0);
    let key = 0x0edd_1e5e << 32 | oid;
    holder.execute("SELECT pg_advisory_lock($1)", &[&key]).await.unwrap();
    let sql = connect(&fragile.primary_url()).await;
    let events: Vec<_> = (0..256).map(|n| lent(&format!("b-{n}"), "r-1")).collect();
    let condition = |book| {
        let of_book = Filter::any_of([("BookID", format!("b-{book}"))]).build().unwrap();
        AppendCondition::no_match(of_book)
    };
    let appends = events.iter().enumerate().map(|(n, event)| -> Append<'_> {
        let condition = if n % 2 == 0 { AppendCondition::none() } else { condition(n) };
        Box::pin(store.append([event.clone()], condition))
    });
    let mut appends = join_all(appends);
    tokio::select! {
        biased;
        outcomes = &mut appends => panic!("{outcomes:?}"),
        () = wait_for_lock_waiter(&sql, key) => {}
    }

    let primary = fragile.cluster.primary();
    let restart = async {
        primary.stop_immediately().await.unwrap();
        primary.start().await.unwrap();
    };
    let (outcomes, ()) = tokio::join!(appends, restart);

    let stored = store.query(Filter::everything()).await.unwrap();
    let mut ids: Vec<_> = stored.events().iter().map(|event| event.id()).collect();
    let mut appended: Vec<_> = events.iter().map(|event| event.id()).collect();
    ids.sort_unstable();
    appended.sort_unstable();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(ids, appended);
}
