//! Sequence numbers, which are assigned in commit order.

use eddyline::{AppendCondition, Filter, ReadWrite, Schema, Store};
use tokio_postgres::Client;

use crate::support::{Log, lent, next, refusal, wait_for_lock_waiter};

/// Returns the books of a log's events in the order of their positions.
async fn books(sql: &Client, table: &str) -> Vec<String> {
    let query = format!("SELECT payload->>'BookID' FROM {table} ORDER BY sequence_number");
    sql.query(&query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn logs_number_their_events_independently() {
    let log = Log::new().await;
    let schema = format!("branch_{}", next());
    let configs =
        [log.config(), Log::new().await.config(), log.config().schema(schema).log("events")];
    for config in configs {
        Schema::new(&config).migrate().await.unwrap();
        let store = Store::<ReadWrite>::connect(config).await.unwrap();

        let appended = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();

        assert_eq!(appended.first().value(), 1);
        assert_eq!(store.query(Filter::everything()).await.unwrap().events().len(), 1);
    }
}

#[tokio::test]
async fn a_held_lock_blocks_no_other_log() {
    let (held, free) = (Log::new().await, Log::new().await);
    let same_name = free.config().schema(format!("branch_{}", next())).log(&held.name);
    Schema::new(&same_name).migrate().await.unwrap();
    let store = held.writer().await;
    let holder = held.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", held.insert("b-1"))).await.unwrap();

    let waiting = store.append([lent("b-2", "r-1")], AppendCondition::none());
    let others = async {
        wait_for_lock_waiter(&held.sql().await, held.lock_key().await).await;
        for config in [free.config(), same_name] {
            let other = Store::<ReadWrite>::connect(config).await.unwrap();
            other.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        }
        assert!(books(&held.sql().await, &held.name).await.is_empty());
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, others);

    assert_eq!(waited.unwrap().first().value(), 2);
}

/// An insert of any form waits for an open transaction with an insert, and gets a higher number.
#[tokio::test]
async fn a_foreign_insert_waits_for_an_open_one_and_gets_a_higher_number() {
    let log = Log::new().await;
    let (holder, waiter) = (log.sql().await, log.sql().await);
    let (name, second) = (&log.name, log.insert("second"));
    let row = r#"123e4567-e89b-12d3-a456-426614174000\t2026-01-01 00:00:00+00\tBookCopyLentToReader\t{\"BookID\": \"second\"}"#;
    let forms = [
        second.clone(),
        format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM {name}; {second}; COMMIT"),
        format!("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM {name}; {second}; COMMIT"),
        format!(
            "WITH books AS (VALUES ('second'))
             INSERT INTO {name} (event_id, occurred_at, event_type, payload)
             SELECT gen_random_uuid(), now(), 'BookCopyLentToReader',
                 jsonb_build_object('BookID', column1) FROM books"
        ),
        format!("{second} ON CONFLICT DO NOTHING"),
        format!(
            "COPY {name} (event_id, occurred_at, event_type, payload) FROM PROGRAM 'printf ''{row}'''"
        ),
    ];

    for form in forms {
        holder.batch_execute("SET eddyline.allow_changes = 'on'").await.unwrap();
        holder.batch_execute(&format!("DELETE FROM {name}")).await.unwrap();
        holder.batch_execute(&format!("BEGIN; {}", log.insert("first"))).await.unwrap();

        let release = async {
            let observer = log.sql().await;
            wait_for_lock_waiter(&observer, log.lock_key().await).await;
            assert!(books(&observer, name).await.is_empty());
            holder.batch_execute("COMMIT").await.unwrap();
        };
        let (inserted, ()) = tokio::join!(waiter.batch_execute(&form), release);

        inserted.unwrap();
        assert_eq!(books(&holder, name).await, ["first", "second"], "{form}");
    }
}

#[tokio::test]
async fn an_append_waits_for_an_open_insert_and_gets_a_higher_number() {
    for end in ["COMMIT", "ROLLBACK"] {
        let log = Log::new().await;
        let store = log.writer().await;
        let holder = log.sql().await;
        holder.batch_execute(&format!("BEGIN; {}", log.insert("first"))).await.unwrap();

        let release = async {
            wait_for_lock_waiter(&log.sql().await, log.lock_key().await).await;
            holder.batch_execute(end).await.unwrap();
        };
        let append = store.append([lent("second", "r-1")], AppendCondition::none());
        let (appended, ()) = tokio::join!(append, release);

        // A number is not assigned twice, even if its event was rolled back.
        assert_eq!(appended.unwrap().first().value(), 2, "{end}");
    }
}

#[tokio::test]
async fn explicit_sequence_numbers_are_refused() {
    let log = Log::new().await;
    let name = &log.name;
    let row = |number: u64| {
        format!(
            "{number}, gen_random_uuid(), now(), 'BookCopyLentToReader', '{{\"BookID\": \"b-1\"}}'"
        )
    };
    let columns = "(sequence_number, event_id, occurred_at, event_type, payload)";
    let line = |number: u64| {
        format!(
            r"{number}\t123e4567-e89b-12d3-a456-426614174000\t2026-01-01\tBookCopyLentToReader\t{{}}"
        )
    };

    // Before and after the first event, in the session that inserted it and in another one.
    for (stored, numbers) in [(0, [0, 1, 2, i64::MAX as u64]), (1, [0, 2, 3, i64::MAX as u64])] {
        let inserter = log.sql().await;
        if stored == 1 {
            inserter.batch_execute(&log.insert("b-1")).await.unwrap();
        }
        for sql in [inserter, log.sql().await] {
            for number in numbers {
                let (row, line) = (row(number), line(number));
                for statement in [
                    format!("INSERT INTO {name} {columns} VALUES ({row})"),
                    format!("INSERT INTO {name} {columns} OVERRIDING SYSTEM VALUE VALUES ({row})"),
                    format!("COPY {name} {columns} FROM PROGRAM 'printf ''{line}'''"),
                ] {
                    let outcome = sql.batch_execute(&statement).await;

                    let error = outcome.expect_err(&statement);
                    assert_eq!(error.code().unwrap().code(), "428C9", "{statement}: {error:?}");
                }
            }
        }
    }
}

/// A number that a session took from the sequence and did not use is refused after later events.
#[tokio::test]
async fn a_number_below_the_head_is_refused() {
    let log = Log::new().await;
    let store = log.writer().await;
    let late = log.sql().await;
    late.batch_execute(&format!("BEGIN; {}; ROLLBACK", log.insert("b-1"))).await.unwrap();
    let last = store.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap().last();
    assert_eq!(last.value(), 2);

    let outcome = late
        .batch_execute(&format!(
            "INSERT INTO {} (sequence_number, event_id, occurred_at, event_type, payload)
             OVERRIDING SYSTEM VALUE
             VALUES (1, gen_random_uuid(), now(), 'BookCopyLentToReader', '{{}}')",
            log.name
        ))
        .await;

    assert_eq!(refusal(outcome), "428C9");
    assert_eq!(books(&late, &log.name).await, ["b-2"]);
}
