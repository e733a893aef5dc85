//! Wrong forms of the append protocol. Each one is shown to fail, which proves that the race can
//! fail and so tests the right form.

use eddyline::{AppendCondition, Error, Filter, Pooler, ReadWrite, SequenceNumber, Store};
use tokio_postgres::Client;

use crate::support::{Log, lent, wait_for_lock_waiter};

/// The key of the advisory lock that the statements under test take.
const KEY: i64 = 4711;
const LOCK: &str = "SELECT pg_advisory_xact_lock(4711)";
const INSERT: &str =
    "INSERT INTO loans (book) SELECT 'b-1' WHERE NOT EXISTS (SELECT FROM loans WHERE book = 'b-1')";

/// Lends the book in one session that holds the lock, while a second session runs the given
/// statements and waits for it. Returns how often the book was lent.
async fn race(sql: &[&str]) -> i64 {
    let log = Log::isolated().await;
    let (holder, waiter) = (log.sql().await, log.sql().await);
    holder.batch_execute("CREATE TABLE loans (number bigserial, book text)").await.unwrap();
    holder.batch_execute(&format!("BEGIN; {LOCK}; {INSERT}")).await.unwrap();

    let statements = async {
        for statement in sql {
            waiter.batch_execute(statement).await.unwrap();
        }
    };
    let release = async {
        wait_for_lock_waiter(&log.sql().await, KEY).await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(statements, release);
    count(&holder).await
}

async fn count(sql: &Client) -> i64 {
    sql.query_one("SELECT count(*) FROM loans", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_lock_within_the_checking_statement_is_too_late() {
    let within = format!(
        "WITH lock AS MATERIALIZED ({LOCK})
         INSERT INTO loans (book) SELECT 'b-1' FROM lock
         WHERE NOT EXISTS (SELECT FROM loans WHERE book = 'b-1')"
    );

    assert_eq!(race(&[&within]).await, 2);
}

#[tokio::test]
async fn a_lock_before_the_statement_is_too_late_above_read_committed() {
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        let begin = format!("BEGIN ISOLATION LEVEL {isolation}");

        assert_eq!(race(&[&begin, LOCK, INSERT, "COMMIT"]).await, 2, "{isolation}");
    }
}

#[tokio::test]
async fn a_lock_before_the_statement_is_in_time_at_read_committed() {
    assert_eq!(race(&["BEGIN ISOLATION LEVEL READ COMMITTED", LOCK, INSERT, "COMMIT"]).await, 1);
}

#[tokio::test]
async fn the_highest_number_misses_events_that_commit_out_of_order() {
    let log = Log::isolated().await;
    let (slow, quick) = (log.sql().await, log.sql().await);
    quick.batch_execute("CREATE TABLE loans (number bigserial, book text)").await.unwrap();
    let highest = "SELECT coalesce(max(number), 0) FROM loans";

    slow.batch_execute("BEGIN; INSERT INTO loans (book) VALUES ('b-1')").await.unwrap();
    quick.batch_execute("INSERT INTO loans (book) VALUES ('b-2')").await.unwrap();
    let seen: i64 = quick.query_one(highest, &[]).await.unwrap().get(0);
    slow.batch_execute("COMMIT").await.unwrap();

    // The highest number did not change, although a loan was committed that had not been visible.
    let now: i64 = quick.query_one(highest, &[]).await.unwrap().get(0);
    assert_eq!(now, seen);
    assert_eq!(count(&quick).await, 2);
}

/// The append waits for another transaction and sees its events at each default isolation level of
/// the database. Behind a pooler this is so too, although the store cannot change the level of a
/// connection there.
#[tokio::test]
async fn an_append_sees_the_events_it_waited_for_at_every_default_isolation() {
    let isolations = ["read committed", "repeatable read", "serializable"];
    let poolers = [Pooler::None, Pooler::Transaction];
    for (isolation, pooler) in isolations.iter().flat_map(|one| poolers.map(|pooler| (one, pooler)))
    {
        let log = Log::isolated().await;
        let sql = log.sql().await;
        log.set(&format!("default_transaction_isolation = '{isolation}'")).await;
        let store = Store::<ReadWrite>::connect(log.config().pooler(pooler)).await.unwrap();
        let books = Filter::any_of([("BookID", "b-1")]).build().unwrap();
        let history = store.query(&books).await.unwrap();
        let insert = format!(
            "BEGIN; INSERT INTO {} (event_id, occurred_at, event_type, payload)
             VALUES (gen_random_uuid(), now(), 'BookCopyLentToReader', '{{\"BookID\": \"b-1\"}}')",
            log.name
        );
        sql.batch_execute(&insert).await.unwrap();

        let append = store.append([lent("b-1", "r-1")], history.condition());
        let release = async {
            wait_for_lock_waiter(&log.sql().await, log.lock_key().await).await;
            sql.batch_execute("COMMIT").await.unwrap();
        };
        let (refused, ()) = tokio::join!(append, release);

        let is_conflict = matches!(refused, Err(Error::Conflict { .. }));
        assert!(is_conflict, "{isolation}, {pooler:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_condition_at_a_position_above_the_head_is_refused() {
    let log = Log::new().await;
    let store = log.writer().await;
    let last = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap().last();
    let above_head = SequenceNumber::new(last.value() + 1);

    let refused = store
        .append(
            [lent("b-1", "r-2")],
            AppendCondition::no_match_after(Filter::everything(), above_head),
        )
        .await;

    assert!(matches!(refused, Err(Error::PositionAhead { head, .. }) if head == last));
    assert_eq!(store.head().await.unwrap(), last);
}
