//! Servers that have another log under the same name.

use std::collections::BTreeSet;

use eddyline::error::Reason;
use eddyline::{
    AppendCondition, Class, Config, Error, ReadOnly, ReadWrite, RetryPolicy, Schema, Store,
};

use super::config;
use crate::support::{Log, cluster_with_log, connect, lent, wait_until};

#[tokio::test]
async fn each_log_has_an_identity_of_its_own() {
    let log = Log::isolated().await;
    for name in ["loans", "archive"] {
        Schema::new(&log.config().log(name)).migrate().await.unwrap();
    }

    let rows = log.sql().await;
    let rows = rows.query("SELECT log_id::text, epoch::text FROM eddyline_schema", &[]).await;

    let ids: BTreeSet<String> =
        rows.unwrap().iter().flat_map(|row| [row.get(0), row.get(1)]).collect();
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn replicas_of_two_logs_are_refused() {
    let (one, other) = tokio::join!(cluster_with_log(0), cluster_with_log(0));
    let config = config(one.primary()).replica(other.primary().url("postgres").as_str()).unwrap();

    let refused = Store::<ReadOnly>::connect(config).await.err().unwrap();

    let Error::OtherLog { expected, found, .. } = refused else { panic!("{refused:?}") };
    assert_ne!(expected, found);
    assert_eq!(refused.class(), Class::Permanent(Reason::Invalid));
    for id in [expected, found] {
        assert!(refused.to_string().contains(&id.to_string()), "{refused}");
    }
}

#[tokio::test]
async fn a_store_does_not_append_to_another_log_under_the_same_name() {
    let (one, other) = tokio::join!(cluster_with_log(0), cluster_with_log(0));
    let ports = [&one, &other].map(|cluster| format!("127.0.0.1:{}", cluster.primary().port()));
    let url = format!("postgres://postgres@{}/postgres", ports.join(","));
    let config = Config::new(&url).unwrap().retry(RetryPolicy::never());
    // If it answered, connecting would be refused.
    other.primary().stop().await.unwrap();
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    other.primary().start().await.unwrap();
    one.primary().stop_immediately().await.unwrap();

    wait_until(async || {
        let refused = store.append([lent("b-1", "r-1")], AppendCondition::none()).await;
        refused.unwrap_err().to_string().contains("and that of the store is")
    })
    .await;

    let sql = connect(&other.primary().url("postgres")).await;
    assert!(sql.query("SELECT FROM events", &[]).await.unwrap().is_empty());
}
