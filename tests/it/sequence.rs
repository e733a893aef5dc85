//! A log whose sequence does not continue above the head, as after logical replication, a data-only
//! restore, or a restart of the sequence.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicU32, Ordering};

use eddyline::{
    AppendCondition, Decision, Error, Event, Filter, ReadWrite, RetryPolicy, Schema, Store,
};
use futures_util::stream;
use serde_json::json;
use tokio_postgres::Client;

use crate::support::{Log, lent, loans_of, wait};

/// A log with events at the positions 1 to 5 and 9 to 13.
struct DamagedLog {
    log: Log,
    sql: Client,
    store: Store<ReadWrite>,
}

const HEAD: i64 = 13;

impl DamagedLog {
    async fn new() -> Self {
        let log = Log::new().await;
        let (sql, store) = (log.sql().await, log.writer().await);
        let damaged = Self { log, sql, store };
        damaged.append(5).await;
        for _ in 0..3 {
            damaged.alter(&format!("SELECT nextval('{}_sequence')", damaged.log.name)).await;
        }
        damaged.append(5).await;
        assert_eq!(damaged.store.head().await.unwrap().value(), HEAD as u64);
        damaged
    }

    async fn append(&self, count: usize) {
        for number in 0..count {
            let book = format!("b-{number}");
            self.store.append([lent(&book, "r-1")], AppendCondition::none()).await.unwrap();
        }
    }

    async fn alter(&self, statement: &str) {
        self.sql.batch_execute(statement).await.unwrap();
    }

    async fn restart(&self, options: &str) {
        self.alter(&format!("ALTER SEQUENCE {}_sequence {options}", self.log.name)).await;
    }

    /// Returns the positions of the events.
    async fn positions(&self) -> Vec<i64> {
        let text = format!("SELECT sequence_number FROM {} ORDER BY 1", self.log.name);
        self.sql.query(&text, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

fn assert_names_the_remedy(error: &Error, kind: &str) {
    assert!(matches!(error, Error::SchemaDamaged { .. }), "{kind}: {error:?}");
    assert!(error.to_string().contains("migrate"), "{kind}: {error}");
}

fn large() -> Event {
    let note = json!({ "BookID": "b-1", "Note": "x".repeat(200_000) });
    Event::new("BookCopyLentToReader", &note).unwrap()
}

/// Renders a trigger of the owner that inserts an event before each row or statement that `each`
/// selects. Its return value matters for row triggers only.
fn audit(log: &str, each: &str) -> String {
    format!(
        "CREATE FUNCTION {log}_audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.{log} (event_id, occurred_at, event_type, payload)
             VALUES (gen_random_uuid(), now(), 'LendingAudited', '{{}}');
             RETURN NEW;
         END $$;
         CREATE TRIGGER {log}_zaudit BEFORE INSERT ON {log} FOR EACH {each}
             EXECUTE FUNCTION {log}_audit()"
    )
}

/// Covers each way to append, with a next number inside the gap and outside of it.
#[tokio::test]
async fn no_kind_of_append_stores_events_below_the_head() {
    let damaged = DamagedLog::new().await;
    let (log, store) = (&damaged.log, &damaged.store);
    let before = damaged.positions().await;
    let none = AppendCondition::none;
    for restart in ["RESTART WITH 1", "RESTART WITH 6", "INCREMENT BY -1 RESTART WITH 8"] {
        let fresh = || async { store.query(loans_of("b-1")).await.unwrap().condition() };
        for kind in ["plain", "fresh", "old", "large", "import", "other store"] {
            damaged.restart(restart).await;
            let loan = || [lent("b-90", "r-1")];
            let error = match kind {
                "plain" => store.append(loan(), none()).await.unwrap_err(),
                "fresh" => store.append(loan(), fresh().await).await.unwrap_err(),
                "old" => {
                    let condition = AppendCondition::no_match(loans_of("b-90"));
                    store.append(loan(), condition).await.unwrap_err()
                }
                "large" => store.append([large()], none()).await.unwrap_err(),
                "import" => {
                    let import = store.import(stream::iter(loan())).into_future();
                    Error::from(import.await.unwrap_err())
                }
                _ => Store::<ReadWrite>::connect(log.config()).await.unwrap_err(),
            };

            assert_names_the_remedy(&error, kind);
            assert_eq!(damaged.positions().await, before, "{restart}: {kind}");
        }
        damaged.restart(restart).await;
        let refused = damaged.sql.batch_execute(&log.insert("b-90")).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "LE001", "{restart}");
        assert_eq!(damaged.positions().await, before, "{restart}: INSERT");
    }
}

/// The sequence is set back while the decision holds the lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_under_the_lock_stores_no_events_below_the_head() {
    let damaged = DamagedLog::new().await;
    let escalating = RetryPolicy::builder().attempts(2).escalate_after(1).build().unwrap();
    let rounds = AtomicU32::new(0);

    let store = damaged.store.with_retry_policy(escalating);
    let decided = store.decide(Filter::everything(), |_| {
        match rounds.fetch_add(1, Ordering::Relaxed) {
            0 => wait(damaged.append(1)),
            _ => wait(damaged.restart("RESTART WITH 6")),
        }
        Ok::<_, Error>(Decision::append([lent("b-90", "r-1")]))
    });
    let error = decided.await.unwrap_err();

    assert_names_the_remedy(&error, "held");
    assert_eq!((rounds.into_inner(), damaged.positions().await.len()), (2, 11));
}

/// The decision is out of date. The loan that it has not seen would have been stored below the
/// position of its condition.
#[tokio::test]
async fn an_outdated_decision_is_refused() {
    let damaged = DamagedLog::new().await;
    let (mine, other) = (&damaged.store, damaged.log.writer().await);
    let free = mine.query(loans_of("b-99")).await.unwrap().condition();
    damaged.restart("RESTART WITH 6").await;

    for _ in 0..20 {
        let lending = other.append([lent("b-99", "r-1")], AppendCondition::none()).await;
        if lending.is_ok() {
            break;
        }
    }
    let late = mine.append([lent("b-99", "r-2")], free).await;

    assert!(late.as_ref().is_err_and(Error::is_conflict), "{late:?}");
    assert_eq!(damaged.positions().await.iter().filter(|number| **number > HEAD).count(), 1);
}

/// A cycle starts again below the head. Numbers of a session's cache were reserved before other
/// sessions took higher ones.
#[tokio::test]
async fn numbers_of_a_cycling_or_caching_sequence_are_refused() {
    let damaged = DamagedLog::new().await;
    let append = || damaged.store.append([lent("b-1", "r-1")], AppendCondition::none());
    damaged.restart("MAXVALUE 14 CYCLE RESTART WITH 14").await;
    assert_eq!(append().await.unwrap().last().value(), 14);

    assert_names_the_remedy(&append().await.unwrap_err(), "cycle");

    damaged.restart("NO MAXVALUE NO CYCLE RESTART WITH 15 CACHE 10").await;
    for _ in 0..3 {
        assert_names_the_remedy(&append().await.unwrap_err(), "cache");
        assert!(damaged.sql.batch_execute(&damaged.log.insert("b-1")).await.is_err());
    }
    assert_eq!(damaged.positions().await.last(), Some(&14));
    Schema::new(&damaged.log.config()).migrate().await.unwrap();
    let repaired = damaged.log.writer().await;
    repaired.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

/// The numbers of a descending sequence are above the head, but do not ascend.
#[tokio::test]
async fn events_with_descending_positions_are_refused() {
    let damaged = DamagedLog::new().await;
    let store = &damaged.store;
    let before = damaged.positions().await;
    let two = || [lent("b-90", "r-1"), lent("b-91", "r-1")];
    for kind in ["append", "import"] {
        damaged.restart("INCREMENT BY -1 RESTART WITH 1000").await;

        let error = match kind {
            "append" => store.append(two(), AppendCondition::none()).await.unwrap_err(),
            _ => {
                let import = store.import(stream::iter(two())).into_future();
                Error::from(import.await.unwrap_err())
            }
        };

        assert_names_the_remedy(&error, kind);
        assert_eq!(damaged.positions().await, before, "{kind}");
    }
}

/// The event that the owner's trigger inserts has a position between two events of the append.
#[tokio::test]
async fn a_condition_sees_an_event_that_a_trigger_inserts_between_two_events() {
    let log = Log::new().await;
    let (sql, store) = (log.sql().await, log.writer().await);
    // This trigger runs after the one that compares each row's number with the sequence.
    let trigger = audit(&log.name, "ROW WHEN (NEW.payload->>'BookID' = 'b-1')");
    store.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap();
    sql.batch_execute(&trigger).await.unwrap();
    for _ in 0..3 {
        let two = [lent("b-1", "r-1"), lent("b-2", "r-1")];
        let appended = store.append(two, AppendCondition::none()).await.unwrap();
        assert_eq!(appended.last().value() - appended.first().value(), 2);
        let audits = Filter::types(["LendingAudited"]).build().unwrap();
        let condition = AppendCondition::no_match_after(audits, appended.first());

        let late = store.append([lent("b-3", "r-1")], condition).await;

        assert!(late.as_ref().is_err_and(Error::is_conflict), "{late:?}");
    }
}

/// The event of the trigger has the position below that of the append.
#[tokio::test]
async fn a_condition_sees_an_event_that_a_trigger_inserts_before_the_append() {
    let log = Log::new().await;
    let (sql, store) = (log.sql().await, log.writer().await);
    let trigger = audit(&log.name, "STATEMENT WHEN (pg_trigger_depth() = 0)");
    let mut head =
        store.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap().last();
    sql.batch_execute(&trigger).await.unwrap();
    for _ in 0..3 {
        let appended = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        assert_eq!(appended.last().value() - head.value(), 2);
        let audits = Filter::types(["LendingAudited"]).build().unwrap();

        let late =
            store.append([lent("b-2", "r-1")], AppendCondition::no_match_after(audits, head)).await;

        assert!(late.as_ref().is_err_and(Error::is_conflict), "{late:?}");
        head = store.head().await.unwrap();
    }
}

/// Two statements of one transaction, and a rolled back savepoint that took the lock.
#[tokio::test]
async fn inserts_of_one_transaction_are_accepted_in_ascending_order() {
    let log = Log::new().await;
    let (sql, insert) = (log.sql().await, log.insert("b-1"));

    sql.batch_execute(&format!(
        "BEGIN; SAVEPOINT one; {insert}; ROLLBACK TO one; {insert}; {insert}; COMMIT; {insert}"
    ))
    .await
    .unwrap();

    let text = format!("SELECT count(*), max(sequence_number) FROM {}", log.name);
    let row = sql.query_one(&text, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (3, 4));
}
