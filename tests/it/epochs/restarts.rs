//! Restarts and crashes lose no event, so positions stay valid.

use eddyline::{AppendCondition, Error, Filter, Schema};
use local_postgres::Cluster;
use tokio_postgres::Client;

use super::{append, assert_valid, reader, writer};
use crate::support::{Log, cluster_with_log, connect, lent, loans_of, promptly};

async fn epochs(sql: &Client) -> (String, Vec<i64>) {
    let row = sql.query_one("SELECT epoch::text, ends FROM eddyline_schema", &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn positions_stay_valid_over_restarts_and_crashes() {
    let cluster = cluster_with_log(1).await;
    let (primary, standby) = (cluster.primary(), &cluster.standbys()[0]);
    let mut bookmarks = vec![append(&writer(primary).await, "b-1", 3).await.bookmark()];

    for round in 0..3 {
        match round {
            0 => primary.restart().await.unwrap(),
            1 => {
                primary.stop_immediately().await.unwrap();
                primary.start().await.unwrap();
            }
            _ => {
                standby.catch_up_with(primary).await.unwrap();
                primary.stop().await.unwrap();
                standby.promote().await.unwrap();
            }
        }
        let server = if round < 2 { primary } else { standby };
        let before = reader(server).await.query(loans_of("b-1")).await.unwrap().bookmark();
        for bookmark in &bookmarks {
            assert_valid(server, *bookmark).await;
        }
        bookmarks.extend([before, append(&writer(server).await, "b-1", 2).await.bookmark()]);
    }

    for bookmark in &bookmarks {
        assert_valid(standby, *bookmark).await;
    }
}

/// The store validates the condition in the new epoch by a search, and not at once.
#[tokio::test]
async fn a_condition_from_before_a_restart_conflicts_exactly_if_an_event_matches() {
    let cluster = cluster_with_log(0).await;
    let primary = cluster.primary();
    let store = writer(primary).await;
    append(&store, "b-1", 3).await;
    let history = store.query(loans_of("b-1")).await.unwrap();
    primary.restart().await.unwrap();
    let store = writer(primary).await;
    append(&store, "b-2", 1).await;

    let other = AppendCondition::no_match_after(loans_of("b-2"), history.bookmark());
    let first = store.append([lent("b-1", "r-1")], history.condition()).await;
    let second = store.append([lent("b-1", "r-1")], history.condition()).await;
    let other = store.append([lent("b-2", "r-1")], other).await;

    let first = first.unwrap();
    let Err(Error::Conflict { position, .. }) = second else { panic!("{second:?}") };
    assert_eq!(position, first.last());
    assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
}

/// A reader does not begin an epoch, and neither does an append that is rolled back.
#[tokio::test]
async fn the_first_append_of_a_server_begins_an_epoch() {
    let cluster = cluster_with_log(0).await;
    let primary = cluster.primary();
    let insert = "INSERT INTO events (event_id, occurred_at, event_type, payload)
        VALUES (gen_random_uuid(), now(), 'BookCopyLentToReader', '{}')";
    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        primary.restart().await.unwrap();
        let sql = connect(&primary.url("postgres")).await;
        let before = epochs(&sql).await;
        reader(primary).await.query(Filter::everything()).await.unwrap();
        sql.batch_execute(&format!("BEGIN; {insert}; ROLLBACK")).await.unwrap();
        let rolled_back = epochs(&sql).await;

        let insert_at = format!("BEGIN ISOLATION LEVEL {isolation}; {insert}; COMMIT");
        sql.batch_execute(&insert_at).await.unwrap();
        let begun = epochs(&sql).await;
        sql.batch_execute(insert).await.unwrap();
        connect(&primary.url("postgres")).await.batch_execute(insert).await.unwrap();

        assert_eq!(before, rolled_back, "{isolation}");
        assert_ne!(before.0, begun.0, "{isolation}");
        assert_eq!(begun, epochs(&sql).await, "{isolation}");
    }
}

/// The snapshot of the transaction is older than the epoch, so it cannot know the epoch's server.
#[tokio::test]
async fn an_insert_with_an_older_snapshot_than_the_epoch_is_repeated_by_its_client() {
    let cluster = cluster_with_log(0).await;
    let primary = cluster.primary();
    let sql = connect(&primary.url("postgres")).await;
    sql.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM events").await.unwrap();
    // Connecting would begin the epoch.
    let other = connect(&primary.url("postgres")).await;
    let insert = "INSERT INTO events (event_id, occurred_at, event_type, payload)
        VALUES (gen_random_uuid(), now(), 'BookCopyLentToReader', '{}')";
    other.batch_execute(insert).await.unwrap();

    let refused = sql.batch_execute(insert).await.unwrap_err();
    sql.batch_execute("ROLLBACK").await.unwrap();

    assert_eq!(refused.code().unwrap().code(), "40001");
    sql.batch_execute(insert).await.unwrap();
}

/// `PREPARE TRANSACTION` keeps the settings of the session, and another session may roll back.
#[tokio::test]
async fn a_prepared_transaction_that_is_rolled_back_begins_no_epoch() {
    let builder = Cluster::builder().fsync(false).setting("max_prepared_transactions", 2);
    let cluster = builder.start().await.unwrap();
    let primary = cluster.primary();
    Schema::new(&super::config(primary)).migrate().await.unwrap();
    append(&writer(primary).await, "b-1", 1).await;
    primary.restart().await.unwrap();
    let sql = connect(&primary.url("postgres")).await;
    let former = epochs(&sql).await;
    let insert = "INSERT INTO events (event_id, occurred_at, event_type, payload)
        VALUES (gen_random_uuid(), now(), 'BookCopyLentToReader', '{}')";
    let prepare = format!("BEGIN; {insert}; PREPARE TRANSACTION 'loan'");
    sql.batch_execute(&prepare).await.unwrap();
    sql.batch_execute("ROLLBACK PREPARED 'loan'").await.unwrap();
    let rolled_back = epochs(&sql).await;

    sql.batch_execute(insert).await.unwrap();

    assert_eq!(former, rolled_back);
    assert_ne!(former.0, epochs(&sql).await.0);
}

/// The column gets another value, although the server runs on.
#[tokio::test]
async fn a_store_appends_after_its_epoch_was_replaced() {
    let log = Log::isolated().await;
    let store = log.writer().await;
    append(&store, "b-1", 3).await;
    let drop = "ALTER TABLE eddyline_schema DROP COLUMN epoch";
    log.sql().await.batch_execute(drop).await.unwrap();
    Schema::new(&log.config()).migrate().await.unwrap();

    let history = store.query(loans_of("b-1")).await.unwrap();
    let appended = promptly(store.append([lent("b-1", "r-1")], history.condition())).await;

    assert_eq!(appended.unwrap().last().value(), 4);
}
