//! Servers that know other positions than the server that is asked.

use std::time::Duration;

use eddyline::{AppendCondition, Config, Filter, Query, ReadOnly, Store};

use super::{LOST, append, reader, writer};
use crate::support::{REPLAY_TIMEOUT, cluster_with_log, connect, lent, promptly, wait_until};

/// The commit waits for a synchronous standby. The other standby shows it already, and the primary
/// does not.
#[tokio::test]
async fn a_position_that_only_a_standby_shows_is_waited_for() {
    let cluster = cluster_with_log(1).await;
    let (primary, standby) = (cluster.primary(), &cluster.standbys()[0]);
    let (store, reader) = (writer(primary).await, reader(standby).await);
    let sql = connect(&primary.url("postgres")).await;
    let wait_for = async |standbys: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{standbys}'");
        sql.batch_execute(&set).await.unwrap();
        sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let waits =
            "SELECT FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting = $1";
        let waits = async || !sql.query(waits, &[&standbys]).await.unwrap().is_empty();
        wait_until(waits).await;
    };
    wait_for("another").await;
    let everything = Filter::everything();

    let appended = async {
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap().bookmark()
    };
    let read = async {
        let shown = async || reader.query(&everything).await.unwrap().bookmark();
        wait_until(async || shown().await.position().value() > 0).await;
        let bookmark = shown().await;
        assert!(store.query(&everything).await.unwrap().events().is_empty());
        let waiting = "SELECT FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND query LIKE 'CALL%'";
        let released = async {
            wait_until(async || !sql.query(waiting, &[]).await.unwrap().is_empty()).await;
            wait_for("").await;
        };
        let query = Query::new(&everything).after(bookmark);
        let (history, ()) = tokio::join!(store.query(query), released);
        (bookmark, history.unwrap())
    };
    let (appended, (bookmark, history)) = promptly(async { tokio::join!(appended, read) }).await;

    assert_eq!(appended, bookmark);
    assert_eq!(history.bookmark(), bookmark);
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
