//! The log's tables: how they come to be, how logs keep apart, and what the tables refuse.

use eddyline::{AppendCondition, Config, Error, Filter, ReadOnly, ReadWrite, Schema, Store};
use futures_util::future::join_all;
use tokio_postgres::Client;

use crate::support::{Log, cluster, lent, next, refusal, wait_for_lock_waiter};

/// Returns the books of a log's events, in the order of their numbers.
async fn books(sql: &Client, table: &str) -> Vec<String> {
    let query = format!("SELECT payload->>'BookID' FROM {table} ORDER BY sequence_number");
    sql.query(&query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

fn everything() -> Filter {
    Filter::everything()
}

#[tokio::test]
async fn many_who_migrate_at_once_make_one_schema() {
    let log = Log::missing().await;
    let (schema, role) = (format!("branch_{}", next()), format!("librarian_{}", next()));
    let config = log.config().schema(&schema);
    let migrations = (0..12).map(|_| Schema::new(&config).writer_role(&role).migrate());

    let outcomes = join_all(migrations).await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let versions = format!("SELECT log, version FROM {schema}.eddyline_schema");
    assert_eq!(log.sql().await.query(&versions, &[]).await.unwrap().len(), 1);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

#[tokio::test]
async fn databases_that_migrate_at_once_share_their_roles() {
    let role = format!("librarian_{}", next());
    let databases = [format!("library_{}", next()), format!("library_{}", next())];
    let mut migrations = Vec::new();
    for database in &databases {
        cluster().await.create_database(database).await.unwrap();
        let config = Config::new(&cluster().await.primary().url(database)).unwrap();
        migrations.extend((0..4).map(|_| Schema::new(&config).writer_role(&role).migrate()));
    }

    let outcomes = join_all(migrations).await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let log = Log::new().await;
    let store = log.writer().await;
    let last = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap().last();
    let migrated =
        format!("SELECT migrated_at::text FROM eddyline_schema WHERE log = '{}'", log.name);
    let sql = log.sql().await;
    let before: String = sql.query_one(&migrated, &[]).await.unwrap().get(0);

    Schema::new(&log.config()).migrate().await.unwrap();

    let after: String = sql.query_one(&migrated, &[]).await.unwrap().get(0);
    assert_eq!(after, before);
    let history = store.query(everything()).await.unwrap();
    assert_eq!((history.events().len(), history.position()), (1, last));
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind() {
    let log = Log::missing().await;
    let sql = log.sql().await;
    // The name of an index that the migration makes after the table.
    let name = &log.name;
    sql.batch_execute(&format!("CREATE VIEW {name}_payload_idx AS SELECT 1")).await.unwrap();

    let refused = Schema::new(&log.config()).migrate().await;

    let Err(error) = refused else { panic!("{refused:?}") };
    assert_eq!(error.sqlstate().unwrap().as_str(), "42P07");
    let table: Option<String> =
        sql.query_one(&format!("SELECT to_regclass('{name}')::text"), &[]).await.unwrap().get(0);
    assert_eq!(table, None);
    let refused = Store::<ReadWrite>::connect(log.config()).await;
    assert!(matches!(refused, Err(Error::SchemaMissing { .. })), "{refused:?}");
}

#[tokio::test]
async fn names_the_remedy_where_the_log_is_missing() {
    let log = Log::missing().await;
    Log::new().await;
    let elsewhere = Config::new(&cluster().await.primary().url("postgres")).unwrap();
    for config in [log.config(), log.config().schema("no_such_branch"), elsewhere] {
        let writer = Store::<ReadWrite>::connect(config.clone()).await.err().unwrap();
        let reader = Store::<ReadOnly>::connect(config).await.err().unwrap();

        for error in [writer, reader] {
            assert!(matches!(error, Error::SchemaMissing { .. }), "{error:?}");
            assert!(error.to_string().contains("eddyline::Schema::migrate"), "{error}");
        }
    }
}

#[tokio::test]
async fn says_that_the_log_is_missing_where_its_table_was_dropped() {
    let log = Log::new().await;
    let store = log.writer().await;
    log.sql().await.batch_execute(&format!("DROP TABLE {}", log.name)).await.unwrap();

    let errors = [
        store.head().await.err(),
        store.query(everything()).await.err(),
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.err(),
    ];

    for error in errors {
        assert!(matches!(error, Some(Error::SchemaMissing { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn refuses_a_log_of_a_version_that_it_does_not_know() {
    for (version, remedy) in [(0, "migrate"), (1_000, "newer")] {
        let log = Log::new().await;
        let name = &log.name;
        let set = format!("UPDATE eddyline_schema SET version = {version} WHERE log = '{name}'");
        log.sql().await.batch_execute(&set).await.unwrap();
        let writer = Store::<ReadWrite>::connect(log.config()).await.err().unwrap();
        let reader = Store::<ReadOnly>::connect(log.config()).await.err().unwrap();

        for error in [writer, reader] {
            let Error::SchemaVersion { found, supported, .. } = error else { panic!("{error:?}") };
            assert_eq!((found, supported), (version, 1));
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }
}

#[tokio::test]
async fn leaves_a_log_alone_that_a_newer_version_has_migrated() {
    let log = Log::new().await;
    let sql = log.sql().await;
    let newer = format!("UPDATE eddyline_schema SET version = 1000 WHERE log = '{}'", log.name);
    sql.batch_execute(&newer).await.unwrap();

    let refused = Schema::new(&log.config()).migrate().await;

    assert!(matches!(refused, Err(Error::SchemaVersion { found: 1_000, .. })), "{refused:?}");
    let version = format!("SELECT version FROM eddyline_schema WHERE log = '{}'", log.name);
    let version: i32 = sql.query_one(&version, &[]).await.unwrap().get(0);
    assert_eq!(version, 1_000);
}

#[tokio::test]
async fn takes_names_that_sql_would_fold_or_reserve() {
    let database = Log::alone().await;
    let longest = "L".repeat(40);
    for (schema, log) in [("Branch", "Loans"), ("select", "table"), ("_1", &longest)] {
        let config = database.config().schema(schema).log(log);
        Schema::new(&config).migrate().await.unwrap();
        let store = Store::<ReadWrite>::connect(config).await.unwrap();

        let appended = store.append([lent("b-1", "r-1")], AppendCondition::none()).await;

        assert!(appended.is_ok(), "{schema}.{log}: {appended:?}");
        assert_eq!(store.query(everything()).await.unwrap().events().len(), 1);
    }
}

#[tokio::test]
async fn logs_number_their_events_apart() {
    let log = Log::new().await;
    let schema = format!("branch_{}", next());
    let configs =
        [log.config(), Log::new().await.config(), log.config().schema(schema).log("events")];
    for config in configs {
        Schema::new(&config).migrate().await.unwrap();
        let store = Store::<ReadWrite>::connect(config).await.unwrap();

        let appended = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();

        assert_eq!(appended.first().value(), 1);
        assert_eq!(store.query(everything()).await.unwrap().events().len(), 1);
    }
}

#[tokio::test]
async fn a_log_whose_lock_is_held_holds_up_no_other() {
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

/// Whoever inserts, and however, waits for whoever has an insert open, and comes after it.
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

        // A number once given out is not given again, even if its event was not stored.
        assert_eq!(appended.unwrap().first().value(), 2, "{end}");
    }
}

#[tokio::test]
async fn refuses_numbers_that_are_not_its_own() {
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

    // Before the first event and after it, in a session that inserted it and in one that did not.
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

/// A number that a session was given and did not use is not its own any more once others went on.
#[tokio::test]
async fn refuses_a_number_that_would_arrive_late() {
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

#[tokio::test]
async fn refuses_what_could_not_be_read() {
    let log = Log::new().await;
    let sql = log.sql().await;
    let long = "B".repeat(256);
    let columns = "event_id, occurred_at, recorded_at, event_type, payload, metadata";
    let refused = [
        ("now()", "now()", "", "{}", "{}"),
        ("now()", "now()", &long, "{}", "{}"),
        ("now()", "now()", "BookCopyLentToReader", "[]", "{}"),
        ("now()", "now()", "BookCopyLentToReader", "null", "{}"),
        ("now()", "now()", "BookCopyLentToReader", "{}", "\"\""),
        ("'infinity'", "now()", "BookCopyLentToReader", "{}", "{}"),
        ("'-infinity'", "now()", "BookCopyLentToReader", "{}", "{}"),
        ("'10000-01-01 00:00:00+00'", "now()", "BookCopyLentToReader", "{}", "{}"),
        ("'294276-12-31 23:59:59+00'", "now()", "BookCopyLentToReader", "{}", "{}"),
        ("now()", "'infinity'", "BookCopyLentToReader", "{}", "{}"),
        ("now()", "'10000-01-01 00:00:00+00'", "BookCopyLentToReader", "{}", "{}"),
    ];

    for (occurred_at, recorded_at, event_type, payload, metadata) in refused {
        let statement = format!(
            "INSERT INTO {} ({columns}) VALUES (gen_random_uuid(), {occurred_at}, {recorded_at},
                 '{event_type}', '{payload}', '{metadata}')",
            log.name
        );
        let outcome = sql.batch_execute(&statement).await;

        assert!(outcome.is_err(), "taken: {statement}");
        assert_eq!(refusal(outcome), "23514", "{statement}");
    }
}

/// Whatever time the tables take, an event of that time can be read.
#[tokio::test]
async fn reads_whatever_time_the_tables_take() {
    let log = Log::new().await;
    let sql = log.sql().await;
    for time in [
        "4714-11-24 00:00:00+00 BC",
        "0001-01-01 00:00:00+00",
        "9999-12-30 22:00:00+00",
        "9999-12-30 22:00:00.999999+00",
        "9999-12-30 22:00:01+00",
        "9999-12-31 23:59:59.999999+00",
    ] {
        let insert = format!(
            "INSERT INTO {} (event_id, occurred_at, event_type, payload)
             VALUES (gen_random_uuid(), '{time}', 'BookCopyLentToReader', '{{}}')",
            log.name
        );
        if let Err(error) = sql.batch_execute(&insert).await {
            assert_eq!(error.code().unwrap().code(), "23514", "{time}");
        }
    }

    let history = log.writer().await.query(everything()).await;

    assert!(history.is_ok(), "{history:?}");
    assert!(history.unwrap().events().len() >= 3);
}
