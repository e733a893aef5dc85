//! Servers that know other positions than the server that is asked.

use std::time::Duration;

use eddyline::{
    AppendCondition, Config, Error, Filter, Query, ReadOnly, ReplicaState, RetryPolicy, Role, Store,
};
use tokio_postgres::Client;

use super::{LOST, append, reader, writer};
use crate::support::{
    FOREVER, REPLAY_TIMEOUT, cluster_with_log, connect, lent, loans_of, promptly, wait_until,
};

/// Sets the standbys that the commits of a server wait for.
async fn wait_for_standbys(sql: &Client, standbys: &str) {
    let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{standbys}'");
    sql.batch_execute(&set).await.unwrap();
    sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let waits = "SELECT FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting = $1";
    wait_until(async || !sql.query(waits, &[&standbys]).await.unwrap().is_empty()).await;
}

/// Returns how many appends wait for the log's lock.
async fn blocked_appends(sql: &Client) -> usize {
    let blocked = "SELECT FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND query LIKE 'CALL%'";
    sql.query(blocked, &[]).await.unwrap().len()
}

/// The commit waits for a synchronous standby. The other standby shows it already, and the primary
/// does not.
#[tokio::test]
async fn a_position_that_only_a_standby_shows_is_waited_for() {
    let cluster = cluster_with_log(1).await;
    let (primary, standby) = (cluster.primary(), &cluster.standbys()[0]);
    let (store, reader) = (writer(primary).await, reader(standby).await);
    let sql = connect(&primary.url("postgres")).await;
    wait_for_standbys(&sql, "another").await;
    let everything = Filter::everything();

    let appended = async {
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap().bookmark()
    };
    let read = async {
        let shown = async || reader.query(&everything).await.unwrap().bookmark();
        wait_until(async || shown().await.position().value() > 0).await;
        let bookmark = shown().await;
        assert!(store.query(&everything).await.unwrap().events().is_empty());
        let released = async {
            wait_until(async || blocked_appends(&sql).await == 1).await;
            wait_for_standbys(&sql, "").await;
        };
        let query = Query::new(&everything).after(bookmark);
        let (history, ()) = tokio::join!(store.query(query), released);
        (bookmark, history.unwrap())
    };
    let (appended, (bookmark, history)) = promptly(async { tokio::join!(appended, read) }).await;

    assert_eq!(appended, bookmark);
    assert_eq!(history.bookmark(), bookmark);
}

/// The commit that waits is the first one after a restart, so that the primary does not show the
/// epoch of the position either.
#[tokio::test]
async fn an_epoch_that_only_a_standby_shows_is_waited_for() {
    let cluster = cluster_with_log(1).await;
    let (primary, standby) = (cluster.primary(), &cluster.standbys()[0]);
    let store = writer(primary).await;
    append(&store, "b-1", 1).await;
    primary.restart().await.unwrap();
    cluster.wait_for_replay().await.unwrap();
    let (sql, foreign) =
        (connect(&primary.url("postgres")).await, connect(&primary.url("postgres")).await);
    wait_for_standbys(&sql, "another").await;
    let insert = "INSERT INTO events (event_id, occurred_at, event_type, payload)
        VALUES (gen_random_uuid(), now(), 'BookCopyLentToReader', '{\"BookID\": \"b-2\"}')";
    let (everything, reader) = (Filter::everything(), reader(standby).await);

    let used = async {
        let shown = async || reader.query(&everything).await.unwrap();
        wait_until(async || shown().await.events().len() == 2).await;
        let bookmark = shown().await.bookmark();
        assert_eq!(store.query(&everything).await.unwrap().events().len(), 1);
        let read = store.query(Query::new(&everything).after(bookmark));
        let condition = AppendCondition::no_match_after(loans_of("b-7"), bookmark);
        let append = store.append([lent("b-7", "r-1")], condition);
        let released = async {
            wait_until(async || blocked_appends(&sql).await == 2).await;
            wait_for_standbys(&sql, "").await;
        };
        let (read, appended, ()) = tokio::join!(read, append, released);
        (bookmark, read.unwrap(), appended.unwrap())
    };
    let (inserted, (bookmark, read, appended)) =
        promptly(async { tokio::join!(foreign.batch_execute(insert), used) }).await;

    inserted.unwrap();
    assert!(read.bookmark().position() >= bookmark.position());
    assert_eq!(appended.first().value(), bookmark.position().value() + 1);
}

/// The store has not noticed the promotion yet: its watchers are idle.
#[tokio::test]
async fn a_former_primary_among_the_replicas_does_not_fail_a_read() {
    let cluster = cluster_with_log(2).await;
    let (old, [new, follower]) = (cluster.primary(), cluster.standbys()) else { panic!("two") };
    let config = Config::new(&old.url("postgres")).unwrap();
    let config = config.replica(follower.url("postgres").as_str()).unwrap();
    let config = config.watch_interval(Duration::from_secs(3_600)).replica_timeout(REPLAY_TIMEOUT);
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    // In this order, the follower receives nothing that the new primary lacks.
    for standby in [follower, new] {
        standby.stop_streaming().await.unwrap();
    }
    append(&writer(old).await, "b-1", LOST).await;
    new.promote().await.unwrap();
    follower.follow(new).await.unwrap();
    let bookmark = append(&writer(new).await, "b-2", 3).await.bookmark();

    for _ in 0..20 {
        let history = reader.at_least(bookmark).query(Filter::everything()).await.unwrap();
        assert_eq!(history.events().len(), 3);
    }
}

/// The standby is promoted after it has taken the snapshot of a read, which lacks the epoch of the
/// position, and before it says what it is.
#[tokio::test]
async fn a_replica_that_is_promoted_while_it_answers_calls_no_position_lost() {
    let cluster = cluster_with_log(1).await;
    let (primary, standby) = (cluster.primary(), &cluster.standbys()[0]);
    append(&writer(primary).await, "b-1", 1).await;
    let sql = connect(&primary.url("postgres")).await;
    let log = "CREATE FUNCTION slow_events() RETURNS SETOF events LANGUAGE plpgsql AS $$ BEGIN
            IF current_query() NOT LIKE '%pg_postmaster_start_time%' THEN
                WHILE pg_is_in_recovery() LOOP PERFORM pg_sleep(0.01); END LOOP;
            END IF;
            RETURN QUERY SELECT * FROM public.events;
        END $$;
        CREATE VIEW slow AS SELECT * FROM slow_events();
        INSERT INTO eddyline_schema (log, version) SELECT 'slow', version FROM eddyline_schema";
    sql.batch_execute(log).await.unwrap();
    cluster.wait_for_replay().await.unwrap();
    standby.pause_replay().await.unwrap();
    let begin_epoch = "UPDATE eddyline_schema SET epoch = DEFAULT WHERE log = 'slow'";
    sql.batch_execute(begin_epoch).await.unwrap();
    let of_primary = Config::new(&primary.url("postgres")).unwrap().log("slow");
    let of_primary = Store::<ReadOnly>::connect(of_primary).await.unwrap();
    let bookmark = of_primary.query(Filter::everything()).await.unwrap().bookmark();
    let config = Config::new(&standby.url("postgres")).unwrap().log("slow");
    let config = config.retry(RetryPolicy::never()).statement_timeout(FOREVER);
    let reader = Store::<ReadOnly>::connect(config.replica_timeout(FOREVER)).await.unwrap();
    wait_until(async || reader.replicas()[0].role == Some(Role::Replica)).await;

    let sql = connect(&standby.url("postgres")).await;
    let promotion = async {
        let reads = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        wait_until(async || !sql.query(reads, &[]).await.unwrap().is_empty()).await;
        standby.promote().await.unwrap();
    };
    let reader = reader.at_least(bookmark);
    let read = promptly(reader.query(Filter::everything()));
    let (read, ()) = tokio::join!(read, promotion);

    let Err(Error::NoReplica { replicas }) = &read else { panic!("{read:?}") };
    assert_eq!(replicas[0].state, ReplicaState::Promoted);
}
