//! Appends of a store to whose log other sessions append as well.

use std::time::Duration;

use eddyline::{AppendCondition, Error, RetryPolicy};
use futures_util::future::try_join_all;

use crate::support::{Log, lent, loans_of};

/// The server validates an append with a short timeout, and reads the head only if the append has a
/// condition.
#[tokio::test]
async fn events_of_others_before_an_unconditional_append_break_conditions() {
    let log = Log::new().await;
    let store = log.writer().await;
    let seen = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    log.sql().await.batch_execute(&log.insert("b-2")).await.unwrap();
    let bounded = RetryPolicy::builder().attempt_timeout(Duration::from_secs(5)).build().unwrap();
    let bounded = store.with_retry_policy(bounded);
    bounded.append([lent("b-1", "r-2")], AppendCondition::none()).await.unwrap();

    let condition = AppendCondition::no_match_after(loans_of("b-2"), seen.last());
    let refused = store.append([lent("b-2", "r-1")], condition).await;

    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
}

#[tokio::test]
async fn appends_that_wait_together_share_one_transaction() {
    let log = Log::new().await;
    let (store, sql) = (log.writer().await, log.sql().await);
    let append = async |book: String| {
        let condition = store.query(loans_of(&book)).await?.condition();
        store.append([lent(&book, "r-1")], condition).await
    };
    append("b-1".to_owned()).await.unwrap();
    sql.batch_execute(&log.insert("b-2")).await.unwrap();
    append("b-3".to_owned()).await.unwrap();

    let conditions =
        try_join_all((4..12).map(async |book| store.query(loans_of(&format!("b-{book}"))).await));
    let conditions = conditions.await.unwrap().into_iter().map(|history| history.condition());
    let appends = conditions.enumerate().map(|(book, condition)| {
        store.append([lent(&format!("b-{}", book + 4), "r-1")], condition)
    });
    let first = try_join_all(appends).await.unwrap()[0].first();

    let text =
        format!("SELECT count(DISTINCT xmin::text) FROM {} WHERE sequence_number >= $1", log.name);
    let first = i64::try_from(first.value()).unwrap();
    let transactions: i64 = sql.query_one(&text, &[&first]).await.unwrap().get(0);
    assert_eq!(transactions, 1);
}
