//! Logs that were copied, restored, renamed, or dropped and created again.

use eddyline::{Bookmark, Config, Decision, Error, Query, ReadWrite, RetryPolicy, Schema, Store};

use super::append;
use crate::support::{FOREVER, Log, cluster_with_log, connect, lent, loans_of, next, promptly};

/// Reads at least at a bookmark from the primary.
async fn use_at(config: &Config, bookmark: Bookmark) -> Result<(), Error> {
    let store = Store::<ReadWrite>::connect(config.clone()).await?;
    let query = Query::new(&loans_of("b-1")).after(bookmark);
    store.query(query).await.map(drop)
}

async fn append_to(config: &Config, count: usize) -> Bookmark {
    append(&Store::<ReadWrite>::connect(config.clone()).await.unwrap(), "b-1", count)
        .await
        .bookmark()
}

fn is_lost(outcome: &Result<(), Error>) -> bool {
    matches!(outcome, Err(Error::PositionLost { .. }))
}

/// Renders the restore of a log's three events from the table `dumped`, and of its row in
/// `eddyline_schema` from another table.
fn restore(log: &str, version: &str) -> String {
    format!(
        "SET session_replication_role = replica;
         INSERT INTO {log} OVERRIDING SYSTEM VALUE SELECT * FROM dumped;
         SET session_replication_role = origin;
         SELECT setval('{log}_sequence', 3);
         DELETE FROM eddyline_schema;
         INSERT INTO eddyline_schema SELECT * FROM {version}"
    )
}

/// The copy has the same oids, and its server started at the same time.
#[tokio::test]
async fn a_log_and_its_copy_on_the_same_server_refuse_each_others_positions() {
    let cluster = cluster_with_log(0).await;
    let original = super::config(cluster.primary());
    let kept = append_to(&original, 3).await;
    let elsewhere = connect(&cluster.primary().url("template1")).await;
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE datname = 'postgres'";
    elsewhere.query(end, &[]).await.unwrap();
    elsewhere.batch_execute("CREATE DATABASE copy TEMPLATE postgres").await.unwrap();
    let copy = Config::new(&cluster.primary().url("copy")).unwrap();

    let of_copy = append_to(&copy, 1).await;
    let of_original = append_to(&original, 1).await;

    assert_eq!(of_copy.position(), of_original.position());
    assert!(is_lost(&use_at(&original, of_copy).await));
    assert!(is_lost(&use_at(&copy, of_original).await));
    for config in [&original, &copy] {
        use_at(config, kept).await.unwrap();
    }
}

/// What `pg_dump` and `pg_restore` do: the table is another one, the rest is equal.
#[tokio::test]
async fn a_log_that_was_restored_to_a_former_state_refuses_the_positions_from_after_it() {
    let log = Log::isolated().await;
    let (config, sql) = (log.config(), log.sql().await);
    let kept = append_to(&config, 3).await;
    let name = &log.name;
    let dump = format!(
        "CREATE TABLE dumped AS SELECT * FROM {name};
         CREATE TABLE dumped_version AS SELECT * FROM eddyline_schema"
    );
    sql.batch_execute(&dump).await.unwrap();
    let lost = append_to(&config, 2).await;
    sql.batch_execute(&format!("DROP TABLE {name}")).await.unwrap();
    Schema::new(&config).migrate().await.unwrap();
    sql.batch_execute(&restore(name, "dumped_version")).await.unwrap();

    let after = append_to(&config, 5).await;

    assert!(after.position() > lost.position());
    assert!(is_lost(&use_at(&config, lost).await));
    use_at(&config, kept).await.unwrap();
    use_at(&config, after).await.unwrap();
}

#[tokio::test]
async fn a_log_that_was_dropped_and_created_again_refuses_all_former_positions() {
    let log = Log::isolated().await;
    let config = log.config();
    let store = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
    let former = append(&store, "b-1", 3).await.bookmark();
    log.sql().await.batch_execute(&format!("DROP TABLE {}", log.name)).await.unwrap();
    Schema::new(&config).migrate().await.unwrap();

    // The store still has its connections, whose sessions know the former epoch.
    let first = append(&store, "b-1", 1).await.bookmark();
    append_to(&config, 5).await;

    assert!(is_lost(&use_at(&config, former).await));
    use_at(&config, first).await.unwrap();
}

#[tokio::test]
async fn a_renamed_log_keeps_its_identity() {
    let log = Log::isolated().await;
    let bookmark = append_to(&log.config(), 3).await;
    let renamed = format!("log_{}", next());
    let rename = format!("ALTER TABLE {} RENAME TO {renamed}", log.name);
    let sql = log.sql().await;
    let identity = "SELECT log_id::text FROM eddyline_schema";
    let before: String = sql.query_one(identity, &[]).await.unwrap().get(0);
    sql.batch_execute(&rename).await.unwrap();
    let config = log.config().log(&renamed);

    Schema::new(&config).migrate().await.unwrap();

    let after: String = sql.query_one(identity, &[]).await.unwrap().get(0);
    assert_eq!(before, after);
    use_at(&config, bookmark).await.unwrap();
}

/// The table comes from a dump. The row of `eddyline_schema` stayed, and names a later end.
#[tokio::test]
async fn a_table_that_was_restored_without_its_row_refuses_the_positions_from_after_the_dump() {
    let log = Log::isolated().await;
    let (config, sql, name) = (log.config(), log.sql().await, &log.name);
    let kept = append_to(&config, 3).await;
    sql.batch_execute(&format!("CREATE TABLE dumped AS SELECT * FROM {name}")).await.unwrap();
    let lost = append_to(&config, 3).await;
    // As if the server had restarted.
    sql.batch_execute("UPDATE eddyline_schema SET epoch_server = 'former'").await.unwrap();
    let also_lost = append_to(&config, 2).await;
    let keep_row = format!(
        "CREATE TABLE kept_version AS SELECT * FROM eddyline_schema;
         DROP TABLE {name}"
    );
    sql.batch_execute(&keep_row).await.unwrap();
    Schema::new(&config).migrate().await.unwrap();
    sql.batch_execute(&restore(name, "kept_version")).await.unwrap();

    append_to(&config, 10).await;

    assert!(is_lost(&use_at(&config, lost).await));
    assert!(is_lost(&use_at(&config, also_lost).await));
    use_at(&config, kept).await.unwrap();
}

/// The other log has as many events, so its head is the one that the store has seen.
#[tokio::test]
async fn a_store_validates_no_condition_by_its_events_of_a_former_log() {
    let log = Log::isolated().await;
    let config = log.config();
    let store = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
    append(&store, "b-1", 3).await;
    let history = store.query(loans_of("b-7")).await.unwrap();
    log.sql().await.batch_execute(&format!("DROP TABLE {}", log.name)).await.unwrap();
    Schema::new(&config).migrate().await.unwrap();
    append(&Store::<ReadWrite>::connect(config).await.unwrap(), "b-7", 3).await;

    let appended = store.append([lent("b-7", "r-1")], history.condition()).await;

    // A new connection refuses the log.
    let refused = appended.unwrap_err();
    assert!(matches!(refused, Error::OtherLog { .. } | Error::PositionLost { .. }), "{refused:?}");
}

/// No further read would find the position.
#[tokio::test]
async fn a_decision_after_a_lost_position_fails_at_once() {
    let log = Log::isolated().await;
    let config = log.config();
    let lost = append_to(&config, 3).await;
    let sql = log.sql().await;
    // As if a failover had lost the last of the three events.
    let end = "UPDATE eddyline_schema SET epoch = DEFAULT, epoch_server = DEFAULT,
        ended_epochs = ended_epochs || epoch, ends = ends || 2::bigint";
    sql.batch_execute(end).await.unwrap();
    let retry = RetryPolicy::builder().no_deadline().no_attempt_timeout().escalate_after(1);
    let retry = retry.build().unwrap();
    let config = config.retry(retry).lock_timeout(FOREVER);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    // An attempt under the lock would wait.
    sql.batch_execute(&format!("BEGIN; {}", log.insert("b-1"))).await.unwrap();

    let query = Query::new(&loans_of("b-1")).after(lost);
    let decided = store.decide(query, |_| Ok::<_, Error>(Decision::nothing()));
    let decided = promptly(decided).await;

    assert!(is_lost(&decided.map(drop)));
}
