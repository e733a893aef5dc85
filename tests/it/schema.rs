//! The creation and the upgrade of a log's tables, and the rows that they refuse.

use std::time::Duration;

use eddyline::{
    AppendCondition, Bookmark, Config, Error, Filter, Pooler, Query, ReadOnly, ReadWrite, Schema,
    SequenceNumber, Store,
};
use futures_util::future::join_all;
use tokio_postgres::Client;

use crate::support::{Log, cluster, lent, loans_of, next, refusal, wait_until};

fn everything() -> Filter {
    Filter::everything()
}

#[tokio::test]
async fn concurrent_migrations_create_one_schema() {
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
async fn concurrent_migrations_of_several_databases_share_roles() {
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

/// Another migration may take longer than any append may wait.
#[tokio::test]
async fn a_migration_waits_for_another_without_a_timeout() {
    let log = Log::isolated().await;
    let (holder, sql) = (log.sql().await, log.sql().await);
    let lock = "SELECT pg_advisory_lock(x'0edd1e5e'::bigint << 32)";
    holder.batch_execute(lock).await.unwrap();
    let hasty = Duration::from_millis(50);
    let config = log.config().lock_timeout(hasty).statement_timeout(hasty);

    let release = async {
        let waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event = 'advisory' AND query_start < clock_timestamp() - interval '200 ms'";
        wait_until(async || !sql.query(waiting, &[]).await.unwrap().is_empty()).await;
        holder.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
        std::future::pending().await
    };
    let outcome = tokio::select! {
        outcome = Schema::new(&config).migrate() => outcome,
        () = release => Ok(()),
    };

    assert!(outcome.is_ok(), "{outcome:?}");
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
async fn a_failed_migration_changes_nothing() {
    let log = Log::missing().await;
    let sql = log.sql().await;
    // The name of an index that the migration creates after the table.
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
async fn a_missing_log_is_an_error_that_names_the_remedy() {
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
async fn operations_on_a_dropped_table_fail_with_schema_missing() {
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
async fn a_table_of_another_purpose_is_no_log() {
    let log = Log::missing().await;
    let sql = log.sql().await;
    let table = format!("orders_{}", next());
    let columns = "id bigint PRIMARY KEY, event_type text, payload jsonb";
    sql.batch_execute(&format!("CREATE TABLE {table} ({columns})")).await.unwrap();
    let config = log.config().log(&table);

    let connected = Store::<ReadWrite>::connect(config.clone()).await.err().unwrap();
    let read = Store::<ReadOnly>::connect(config.clone()).await.err().unwrap();
    let migrated = Schema::new(&config).migrate().await.unwrap_err();

    for refused in [connected, read, migrated] {
        let message = refused.to_string();
        let missing =
            "since it has no sequence_number, event_id, occurred_at, recorded_at, metadata";
        assert!(matches!(refused, Error::SchemaDamaged { .. }), "{refused:?}");
        assert!(message.contains(missing), "{message}");
        assert!(message.contains("choose another name by eddyline::Config::log"), "{message}");
    }
    sql.batch_execute(&format!("INSERT INTO {table} VALUES (1)")).await.unwrap();
}

#[tokio::test]
async fn a_log_of_an_unknown_version_is_refused() {
    for (version, remedy) in [(0, "migrate"), (1_000, "newer")] {
        let log = Log::new().await;
        let name = &log.name;
        let set = format!("UPDATE eddyline_schema SET version = {version} WHERE log = '{name}'");
        log.sql().await.batch_execute(&set).await.unwrap();
        let writer = Store::<ReadWrite>::connect(log.config()).await.err().unwrap();
        let reader = Store::<ReadOnly>::connect(log.config()).await.err().unwrap();

        for error in [writer, reader] {
            let Error::SchemaVersion { found, supported, .. } = error else { panic!("{error:?}") };
            assert_eq!((found, supported), (version, 4));
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }
}

/// The statements by which earlier versions of this crate created a log, and upgraded it.
const VERSIONS: [&str; 3] = [
    include_str!("versions/1.sql"),
    include_str!("versions/2.sql"),
    include_str!("versions/3.sql"),
];

/// Creates the log `loans` as an earlier version did, in a schema of its own, which it returns.
pub async fn create_log_of_version(version: usize, sql: &Client) -> String {
    let schema = format!("branch_{}", next());
    for step in &VERSIONS[..version] {
        sql.batch_execute(&step.replace("{schema}", &schema)).await.unwrap();
    }
    schema
}

#[tokio::test]
async fn a_migration_upgrades_a_log_of_each_earlier_version() {
    for version in 1..=VERSIONS.len() {
        let log = Log::missing().await;
        let sql = log.sql().await;
        let schema = create_log_of_version(version, &sql).await;
        let insert = log.insert("b-1").replace(&log.name, "loans");
        sql.batch_execute(&format!("SET search_path = {schema}; {insert}")).await.unwrap();
        let config = log.config().schema(&schema).log("loans");
        let refused = Store::<ReadWrite>::connect(config.clone()).await.err().unwrap();

        Schema::new(&config).migrate().await.unwrap();

        assert!(
            matches!(refused, Error::SchemaVersion { found, .. } if found == version as i32),
            "{refused:?}"
        );
        let store = Store::<ReadWrite>::connect(config).await.unwrap();
        let appended = store.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();
        assert_eq!(appended.last().value(), 2, "version {version}");
        assert_eq!(store.query(everything()).await.unwrap().events().len(), 2);
        let options = "SELECT reloptions::text FROM pg_class WHERE oid = 'loans'::regclass";
        let options: String = sql.query_one(options, &[]).await.unwrap().get(0);
        assert!(options.contains("autovacuum_freeze_min_age=0"), "{options}");
    }
}

/// Clients hold a position from before the upgrade, a bookmark from right after it, and one of the
/// first append.
#[tokio::test]
async fn positions_from_before_and_after_an_upgrade_are_valid() {
    let log = Log::missing().await;
    let sql = log.sql().await;
    let schema = create_log_of_version(VERSIONS.len(), &sql).await;
    sql.batch_execute(&format!("SET search_path = {schema}")).await.unwrap();
    for book in ["b-1", "b-2", "b-1"] {
        sql.batch_execute(&log.insert(book).replace(&log.name, "loans")).await.unwrap();
    }
    let config = log.config().schema(&schema).log("loans");
    Schema::new(&config).migrate().await.unwrap();
    let reader = Store::<ReadOnly>::connect(config.clone()).await.unwrap();
    let upgraded = reader.query(everything()).await.unwrap().bookmark();
    let writer = Store::<ReadWrite>::connect(config).await.unwrap();
    let former = SequenceNumber::new(2);
    let condition = AppendCondition::no_match_after(loans_of("b-2"), former);
    let appended = writer.append([lent("b-2", "r-1")], condition).await.unwrap();
    let token = |bookmark: Bookmark| bookmark.to_string().parse::<Bookmark>().unwrap();

    let bookmarks = [former.into(), token(upgraded), token(appended.bookmark())];
    let newest = writer.append([lent("b-2", "r-2")], AppendCondition::none()).await.unwrap();

    for (bookmark, broken_by) in
        bookmarks.into_iter().zip([appended.last(), appended.last(), newest.last()])
    {
        let after = Query::new(&everything()).after(bookmark);
        let later = newest.last().value() - bookmark.position().value();
        let read = reader.at_least(bookmark).query(after.clone()).await.unwrap();
        let on_primary = writer.query(after).await.unwrap();
        let condition = |book| AppendCondition::no_match_after(loans_of(book), bookmark);
        let broken = writer.append([lent("b-2", "r-3")], condition("b-2")).await.unwrap_err();

        assert!(
            matches!(broken, Error::Conflict { position, .. } if position == broken_by),
            "{broken:?}"
        );
        for history in [read.events(), on_primary.events()] {
            assert_eq!(history.len() as u64, later);
        }
    }
    for bookmark in bookmarks {
        let condition = AppendCondition::no_match_after(loans_of("b-3"), bookmark);
        writer.append([lent("b-4", "r-1")], condition).await.unwrap();
    }
    assert_eq!([upgraded.position().value(), appended.last().value()], [3, 4]);
}

/// The migration waits for a reader of the log. A store that connects meanwhile waits behind it.
#[tokio::test]
async fn a_migration_does_not_deadlock_with_a_store_that_connects() {
    let log = Log::missing().await;
    let sql = log.sql().await;
    let schema = create_log_of_version(VERSIONS.len(), &sql).await;
    sql.batch_execute(&format!("BEGIN; SELECT FROM {schema}.loans")).await.unwrap();
    let config = log.config().schema(&schema).log("loans");
    let observer = log.sql().await;
    let wait_for_waiters = async |count: i64| {
        let waiters = "SELECT count(*) FROM pg_locks WHERE NOT granted
            AND relation = to_regclass($1 || '.loans')";
        let count_waiters =
            async || -> i64 { observer.query_one(waiters, &[&schema]).await.unwrap().get(0) };
        wait_until(async || count_waiters().await == count).await;
    };

    let migrating = tokio::spawn(Schema::new(&config).migrate());
    wait_for_waiters(1).await;
    let connecting = tokio::spawn(Store::<ReadWrite>::connect(config.clone()));
    wait_for_waiters(2).await;
    sql.batch_execute("COMMIT").await.unwrap();

    migrating.await.unwrap().unwrap();
    // It may have read the version before the migration.
    let _connected = connecting.await.unwrap();
    Store::<ReadWrite>::connect(config).await.unwrap();
}

#[tokio::test]
async fn a_migration_leaves_a_log_of_a_newer_version_unchanged() {
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
async fn names_that_sql_folds_or_reserves_are_accepted() {
    let database = Log::isolated().await;
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

/// These settings change how the server shows definitions.
#[tokio::test]
async fn database_settings_do_not_make_a_log_look_damaged() {
    let log = Log::isolated().await;
    for setting in [
        "datestyle = 'Postgres, DMY'",
        "timezone = 'Asia/Kolkata'",
        "quote_all_identifiers = on",
        "search_path = public, pg_catalog",
    ] {
        log.set(setting).await;
    }
    for pooler in [Pooler::None, Pooler::Transaction] {
        let config = log.config().pooler(pooler);

        Schema::new(&config).migrate().await.unwrap();

        let store = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        Store::<ReadOnly>::connect(config).await.unwrap();
    }
}

#[tokio::test]
async fn the_table_refuses_rows_that_a_store_cannot_read() {
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

        assert!(outcome.is_err(), "accepted: {statement}");
        assert_eq!(refusal(outcome), "23514", "{statement}");
    }
}

#[tokio::test]
async fn every_time_that_the_table_accepts_can_be_read() {
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
