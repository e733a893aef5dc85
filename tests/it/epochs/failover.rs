//! Standbys that are promoted without the last events of their primary.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eddyline::{
    AppendCondition, Causality, Config, Decision, Error, Query, ReadWrite, RetryPolicy,
    SequenceNumber, Store,
};
use fault_proxy::Proxy;
use tokio::task::JoinHandle;

use super::{LOST, append, assert_lost, assert_valid, reader, writer};
use crate::support::{cluster_with_log, connect, lent, loans_of, wait, wait_until};

#[tokio::test]
async fn a_lost_position_is_refused_also_after_the_numbers_have_caught_up() {
    let cluster = cluster_with_log(1).await;
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    let store = writer(old).await;
    let kept = append(&store, "b-1", 10).await;
    cluster.wait_for_replay().await.unwrap();
    new.stop_streaming().await.unwrap();
    let lost = append(&store, "b-2", LOST).await;
    new.promote().await.unwrap();

    assert_lost(new, lost.bookmark()).await;

    let promoted = writer(new).await;
    let first = append(&promoted, "b-3", 1).await;
    assert!(first.first() < lost.last(), "no number is given again");
    assert_lost(new, lost.bookmark()).await;
    append(&promoted, "b-3", 2 * LOST).await;
    assert_lost(new, lost.bookmark()).await;
    assert_valid(new, kept.bookmark()).await;
    // For the old primary, the positions of the new one are not its own.
    assert_lost(old, first.bookmark()).await;
    assert_valid(old, lost.bookmark()).await;
}

/// What the epoch is for.
#[tokio::test]
async fn a_lost_position_without_its_epoch_misses_the_event_that_got_its_number() {
    let cluster = cluster_with_log(1).await;
    let new = &cluster.standbys()[0];
    let store = writer(cluster.primary()).await;
    append(&store, "b-1", 1).await;
    cluster.wait_for_replay().await.unwrap();
    new.stop_streaming().await.unwrap();
    let lost = append(&store, "b-2", LOST).await;
    new.promote().await.unwrap();
    let promoted = writer(new).await;
    append(&promoted, "b-7", 1).await;
    append(&promoted, "b-1", 2 * LOST).await;

    let condition = AppendCondition::no_match_after(loans_of("b-7"), lost.bookmark());
    let bookmark = promoted.append([lent("b-7", "r-1")], condition).await;
    let condition = AppendCondition::no_match_after(loans_of("b-7"), lost.last());
    let number = promoted.append([lent("b-7", "r-1")], condition).await;

    assert!(matches!(bookmark, Err(Error::PositionLost { .. })), "{bookmark:?}");
    // The event that breaks the condition has a lower number.
    assert!(number.is_ok(), "{number:?}");
}

/// Each of the two continues the epoch of their former primary with other events.
#[tokio::test]
async fn two_promoted_standbys_refuse_each_others_positions() {
    let cluster = cluster_with_log(2).await;
    let [one, other] = cluster.standbys() else { panic!("two standbys") };
    let kept = append(&writer(cluster.primary()).await, "b-1", 3).await;
    cluster.wait_for_replay().await.unwrap();
    one.promote().await.unwrap();
    other.promote().await.unwrap();

    let of_one = append(&writer(one).await, "b-2", 5).await;
    let of_other = append(&writer(other).await, "b-3", 50).await;

    assert_lost(one, of_other.bookmark()).await;
    assert_lost(other, of_one.bookmark()).await;
    for server in [one, other] {
        assert_valid(server, kept.bookmark()).await;
    }
}

/// A new log has an epoch before its first append.
#[tokio::test]
async fn two_promoted_standbys_of_an_empty_log_refuse_each_others_positions() {
    let cluster = cluster_with_log(2).await;
    let [one, other] = cluster.standbys() else { panic!("two standbys") };
    one.promote().await.unwrap();
    other.promote().await.unwrap();
    // A foreign program is the first writer.
    for (server, book) in [(one, "b-1"), (other, "b-2")] {
        let insert = format!(
            "INSERT INTO events (event_id, occurred_at, event_type, payload)
             VALUES (gen_random_uuid(), now(), 'BookCopyLentToReader', '{{\"BookID\": \"{book}\"}}')"
        );
        connect(&server.url("postgres")).await.batch_execute(&insert).await.unwrap();
    }

    let histories = [one, other]
        .map(async |server| reader(server).await.query(loans_of("b-1")).await.unwrap().bookmark());
    let [first, second] = histories;
    let (of_one, of_other) = (first.await, second.await);

    assert_eq!(of_one.position(), of_other.position());
    assert_ne!(of_one, of_other);
    assert_lost(one, of_other).await;
    assert_lost(other, of_one).await;
}

/// A standby may not have replayed the beginning of an epoch.
#[tokio::test]
async fn a_standby_that_is_behind_waits_for_a_position_that_is_not_lost() {
    let cluster = cluster_with_log(2).await;
    let [new, behind] = cluster.standbys() else { panic!("two standbys") };
    let store = writer(cluster.primary()).await;
    append(&store, "b-1", 5).await;
    cluster.wait_for_replay().await.unwrap();
    new.promote().await.unwrap();
    let appended = append(&writer(new).await, "b-1", 1).await;
    let waiting = reader(behind).await.at_least(appended.bookmark());

    let read = tokio::spawn(async move { waiting.query(loans_of("b-1")).await });
    behind.follow(new).await.unwrap();

    let history = read.await.unwrap();
    // Or the wait was over before the standby followed.
    let is_behind = matches!(&history, Err(Error::ReplicaBehind { .. }));
    assert!(is_behind || history.unwrap().events().len() == 6);
    let history = reader(behind).await.at_least(appended.bookmark()).query(loans_of("b-1")).await;
    assert_eq!(history.unwrap().events().len(), 6);
}

/// A reader that tails the log must not miss the events that got the numbers of lost ones.
#[tokio::test]
async fn a_reader_that_tails_the_log_notices_that_its_position_is_lost() {
    let cluster = cluster_with_log(1).await;
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    let store = writer(old).await;
    append(&store, "b-1", 3).await;
    cluster.wait_for_replay().await.unwrap();
    new.stop_streaming().await.unwrap();
    append(&store, "b-1", LOST).await;
    let tail = |bookmark| Query::new(&loans_of("b-1")).after(bookmark);
    let seen = store.query(&loans_of("b-1")).await.unwrap().bookmark();
    new.promote().await.unwrap();
    append(&writer(new).await, "b-1", 2 * LOST).await;
    let reader = reader(new).await;

    let next = reader.query(tail(seen)).await;
    let anew = reader.query(loans_of("b-1")).await.unwrap();

    let Err(Error::PositionLost { ended, .. }) = next else { panic!("{next:?}") };
    assert_eq!(ended, Some(SequenceNumber::new(3)));
    assert_eq!(anew.events().len(), 3 + 2 * LOST);
    let last = append(&writer(new).await, "b-1", 1).await;
    let next = reader.at_least(last.bookmark()).query(tail(anew.bookmark())).await.unwrap();
    assert_eq!(next.events().len(), 1);
}

#[tokio::test]
async fn a_causality_with_a_lost_append_is_refused_until_it_is_cleared() {
    let cluster = cluster_with_log(1).await;
    let new = &cluster.standbys()[0];
    let causality = Causality::new();
    let store = writer(cluster.primary()).await;
    append(&store, "b-1", 3).await;
    cluster.wait_for_replay().await.unwrap();
    new.stop_streaming().await.unwrap();
    append(&store.with_causality(&causality), "b-1", LOST).await;
    new.promote().await.unwrap();
    let promoted = writer(new).await.with_causality(&causality);
    // An append does not show what was lost, so that it is still noticed.
    append(&promoted, "b-1", 2 * LOST).await;
    let reader = reader(new).await.with_causality(&causality);

    let on_replica = reader.query(loans_of("b-1")).await;
    let on_primary = promoted.query(loans_of("b-1")).await;
    let decision = |_: &_| Ok::<_, Error>(Decision::nothing());
    let decided = promoted.decide(loans_of("b-1"), decision).await;
    causality.clear();
    let cleared = reader.query(loans_of("b-1")).await;

    let is_lost = |error: Option<Error>| matches!(error, Some(Error::PositionLost { .. }));
    assert!(is_lost(on_replica.err()) && is_lost(on_primary.err()) && is_lost(decided.err()));
    assert_eq!(cleared.unwrap().events().len(), 3 + 2 * LOST);
    assert_eq!(causality.bookmarks().len(), 1);
}

/// The decision read before the failover, and appends after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_made_again_after_a_failover_that_lost_events() {
    let cluster = cluster_with_log(1).await;
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    let url = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}", old.port(), new.port());
    let config = Config::new(&format!("{url}/postgres")).unwrap();
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    append(&store, "b-1", 3).await;
    cluster.wait_for_replay().await.unwrap();
    new.stop_streaming().await.unwrap();
    append(&store, "b-1", LOST).await;

    let is_first = AtomicBool::new(true);
    let decided = store.decide(loans_of("b-7"), |history| {
        if is_first.swap(false, Ordering::Relaxed) {
            wait(async {
                old.stop_immediately().await.unwrap();
                new.promote().await.unwrap();
                append(&writer(new).await, "b-7", 2 * LOST).await;
            });
        }
        let seen = history.events().len();
        Ok::<_, Error>(Decision::append([lent("b-7", "r-1")]).with_value(seen))
    });
    let decided = decided.await.unwrap();

    assert_eq!(decided.into_value(), 2 * LOST);
}

/// The search validates the condition on the old primary. The append arrives at the new one, which
/// has given the numbers in between to other events.
#[tokio::test]
async fn a_search_on_the_old_primary_validates_no_append_on_the_new_one() {
    let cluster = cluster_with_log(1).await;
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    let old_epoch = append(&writer(old).await, "b-1", 5).await.bookmark();
    // The position is of an ended epoch, so the store searches before it appends.
    old.restart().await.unwrap();
    new.follow(old).await.unwrap();
    append(&writer(old).await, "b-1", 1).await;
    cluster.wait_for_replay().await.unwrap();
    new.stop_streaming().await.unwrap();
    let proxy = Proxy::start(([127, 0, 0, 1], new.port()).into()).await.unwrap();
    let hosts = [old.port(), proxy.address().port()].map(|port| format!("127.0.0.1:{port}"));
    let url = format!("postgres://postgres@{}/postgres", hosts.join(","));
    let patient = RetryPolicy::builder().attempt_timeout(Duration::from_secs(30));
    let patient = patient.deadline(Duration::from_secs(60)).build().unwrap();
    let config = Config::new(&url).unwrap().retry(patient);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    append(&store, "b-1", LOST).await;
    proxy.freeze();
    // A batch that waits for the log's lock keeps the next one in the queue.
    let (holder, sql) = (connect(&old.url("postgres")).await, connect(&old.url("postgres")).await);
    let lock = "BEGIN; LOCK TABLE events IN SHARE MODE";
    holder.batch_execute(lock).await.unwrap();
    let blocked = append_in_background(&store, "b-1", AppendCondition::none());
    let waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    wait_until(async || !sql.query(waiting, &[]).await.unwrap().is_empty()).await;
    let condition = AppendCondition::no_match_after(loans_of("b-7"), old_epoch);
    let searched = append_in_background(&store, "b-7", condition);
    let searches = "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT head.position%'
        AND state LIKE 'idle%'";
    wait_until(async || !sql.query(searches, &[]).await.unwrap().is_empty()).await;

    old.stop_immediately().await.unwrap();
    new.promote().await.unwrap();
    let promoted = writer(new).await;
    let broken = append(&promoted, "b-7", 1).await;
    append(&promoted, "b-1", 2 * LOST).await;
    proxy.thaw();

    let _ = blocked.await.unwrap();
    let searched = searched.await.unwrap();
    let Err(Error::Conflict { position, .. }) = searched else { panic!("{searched:?}") };
    assert_eq!(position, broken.last());
}

fn append_in_background(
    store: &Store<ReadWrite>,
    book: &'static str,
    condition: AppendCondition,
) -> JoinHandle<Result<(), Error>> {
    let store = store.clone();
    tokio::spawn(async move { store.append([lent(book, "r-1")], condition).await.map(drop) })
}

/// The procedure compares the epoch under the lock, whatever the head is.
#[tokio::test]
async fn the_procedure_appends_nothing_for_a_position_of_another_epoch() {
    let cluster = cluster_with_log(0).await;
    append(&writer(cluster.primary()).await, "b-1", 5).await;
    let sql = connect(&cluster.primary().url("postgres")).await;
    let current = "SELECT epoch::text FROM eddyline_schema";
    let current: String = sql.query_one(current, &[]).await.unwrap().get(0);
    let other = "00000000-0000-0000-0000-000000000001";
    for (epochs, numbers) in [
        (other.to_owned(), 0),
        (format!("{current}, {other}"), 0),
        (format!("{other}, {current}"), 0),
        (current.clone(), 1),
    ] {
        let call = format!(
            "CALL events_append(NULL, NULL, known => 5, front => NULL, batch => NULL,
                 ids => ARRAY[gen_random_uuid()], times => ARRAY[now()],
                 types => ARRAY['BookCopyLentToReader'], payloads => ARRAY['{{}}'::jsonb],
                 metadatas => ARRAY['{{}}'::jsonb], since => 5, members => ARRAY[-1::bigint],
                 most => 4096, epochs => '{{{epochs}}}')"
        );

        let answer: Vec<i64> = sql.query_one(&call, &[]).await.unwrap().get(0);

        assert_eq!(answer.len(), 1 + numbers, "{epochs}");
    }
}

#[tokio::test]
async fn a_connection_to_a_former_primary_is_not_used_any_more() {
    let cluster = cluster_with_log(1).await;
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    let url = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}", old.port(), new.port());
    let config = Config::new(&format!("{url}/postgres")).unwrap();
    let config = config.retry(RetryPolicy::never());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    append(&store, "b-1", 1).await;
    cluster.wait_for_replay().await.unwrap();
    old.stop_immediately().await.unwrap();
    new.promote().await.unwrap();
    wait_until(async || store.append([lent("b-1", "r-1")], AppendCondition::none()).await.is_ok())
        .await;
    // The old primary is back, as a primary, and the new one is down.
    old.start().await.unwrap();
    new.stop_immediately().await.unwrap();

    let _lost = store.append([lent("b-1", "r-1")], AppendCondition::none()).await;
    let refused = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();

    assert!(refused.is_transient(), "{refused:?}");
    assert!(refused.to_string().contains("it is a former primary: its timeline is 1"), "{refused}");
}
