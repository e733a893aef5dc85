//! Damaged objects of a log: connecting detects the damage, a migration repairs it.

use eddyline::error::Reason;
use eddyline::{AppendCondition, Class, Config, Error, Filter, ReadOnly, ReadWrite, Schema, Store};
use tokio_postgres::Client;

use crate::support::{Log, lent, next, refusal};

/// A log with two events in a schema of its own.
struct LogInSchema {
    schema: String,
    config: Config,
    sql: Client,
}

impl LogInSchema {
    async fn new() -> Self {
        let log = Log::missing().await;
        let schema = format!("branch_{}", next());
        let config = log.config().schema(&schema).log("loans");
        Schema::new(&config).migrate().await.unwrap();
        let sql = log.sql().await;
        sql.batch_execute(&format!(
            "SET search_path = {schema}; SET eddyline.allow_changes = 'on'"
        ))
        .await
        .unwrap();
        let log = Self { schema, config, sql };
        log.connect().await.unwrap();
        log.append().await.unwrap();
        log.append().await.unwrap();
        log
    }

    async fn run(&self, statements: &str) {
        self.sql.batch_execute(statements).await.unwrap_or_else(|e| panic!("{statements}: {e:?}"));
    }

    async fn connect(&self) -> Result<Store<ReadWrite>, Error> {
        Store::<ReadWrite>::connect(self.config.clone()).await
    }

    async fn append(&self) -> Result<u64, Error> {
        let store = self.connect().await?;
        let appended = store.append([lent("b-1", "r-1")], AppendCondition::none()).await?;
        Ok(appended.last().value())
    }

    async fn migrate(&self) -> Result<(), Error> {
        Schema::new(&self.config).migrate().await
    }

    /// Asserts that connecting fails with `reason`, and that the remedy of the error repairs the
    /// log.
    async fn assert_is_repaired(&self, damage: &str, reason: &str) {
        let error = self.connect().await.err().unwrap_or_else(|| panic!("not detected: {damage}"));
        let Error::SchemaDamaged { reason: found, remedy, .. } = &error else {
            panic!("{damage}: {error:?}")
        };
        assert!(found.contains(reason), "{damage}: {error}");
        assert!(remedy.contains("eddyline::Schema::migrate once"), "{damage}: {error}");
        assert_eq!(error.class(), Class::Permanent(Reason::Schema));

        let migrated = self.migrate().await;

        assert!(migrated.is_ok(), "{damage}: {migrated:?}");
        assert_eq!(self.append().await.unwrap_or_else(|e| panic!("{damage}: {e}")), 3);
        let store = self.connect().await.unwrap();
        assert_eq!(store.query(Filter::everything()).await.unwrap().events().len(), 3);
        // The log's rules are enforced again.
        for refused in [
            "INSERT INTO loans (sequence_number, event_id, occurred_at, event_type, payload)
                 OVERRIDING SYSTEM VALUE VALUES (1, gen_random_uuid(), now(), 'Late', '{}')",
            "SET eddyline.allow_changes = 'off'; DELETE FROM loans",
        ] {
            assert!(self.sql.batch_execute(refused).await.is_err(), "{damage}: {refused}");
        }
        let late = "ALTER SEQUENCE loans_sequence RESTART;
            INSERT INTO loans (event_id, occurred_at, event_type, payload)
                VALUES (gen_random_uuid(), now(), 'Late', '{}')";
        assert_eq!(refusal(self.sql.batch_execute(late).await), "LE001", "{damage}");
    }
}

#[tokio::test]
async fn a_migration_repairs_each_object_that_was_dropped_or_altered() {
    for (damage, reason) in [
        ("DROP ROUTINE loans_append", "routine loans_append is missing"),
        ("DROP ROUTINE loans_begin_epoch", "routine loans_begin_epoch is missing"),
        (
            "ALTER FUNCTION loans_begin_epoch SECURITY INVOKER",
            "routine loans_begin_epoch has another body or other settings",
        ),
        ("DROP TRIGGER loans_lock_log ON loans", "trigger loans_lock_log is missing"),
        ("DROP TRIGGER loans_refuse_number ON loans", "trigger loans_refuse_number is missing"),
        ("DROP TRIGGER loans_refuse_change ON loans", "trigger loans_refuse_change is missing"),
        ("ALTER TABLE loans DISABLE TRIGGER loans_lock_log", "\"disabled BEFORE INSERT"),
        ("ALTER TABLE loans DISABLE TRIGGER ALL", "trigger loans_refuse_change is \"disabled"),
        ("ALTER TABLE loans ENABLE REPLICA TRIGGER loans_lock_log", "on replicas only"),
        (
            "DROP FUNCTION eddyline_refuse_change CASCADE",
            "routine eddyline_refuse_change is missing",
        ),
        (
            "CREATE OR REPLACE FUNCTION eddyline_refuse_change() RETURNS trigger LANGUAGE plpgsql
                 AS 'BEGIN RETURN NULL; END'",
            "routine eddyline_refuse_change has another body",
        ),
        (
            "ALTER FUNCTION eddyline_refuse_change RESET ALL",
            "routine eddyline_refuse_change has another body or other settings",
        ),
        (
            "ALTER FUNCTION loans_lock_log SECURITY DEFINER",
            "routine loans_lock_log has another body",
        ),
        (
            "ALTER ROUTINE loans_append SET work_mem = '1MB'",
            "routine loans_append has another body",
        ),
        (
            "CREATE OR REPLACE TRIGGER loans_lock_log BEFORE INSERT ON loans
                 FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION loans_lock_log()",
            "loans_lock_log WHEN false",
        ),
        (
            "CREATE OR REPLACE TRIGGER loans_refuse_number BEFORE INSERT ON loans FOR EACH ROW
                 WHEN (NEW.sequence_number < pg_sequence_last_value('loans_sequence'))
                 EXECUTE FUNCTION loans_refuse_number()",
            "(new.sequence_number < pg_sequence_last_value(its sequence))",
        ),
        (
            "CREATE OR REPLACE TRIGGER loans_refuse_change BEFORE UPDATE OF metadata OR DELETE
                 OR TRUNCATE ON loans EXECUTE FUNCTION eddyline_refuse_change()",
            "UPDATE OR DELETE OR TRUNCATE OF COLUMNS",
        ),
        ("DROP INDEX loans_payload_idx", "index loans_payload_idx is missing"),
        ("DROP INDEX loans_event_type_idx", "index loans_event_type_idx is missing"),
        ("DROP INDEX loans_occurred_at_idx", "index loans_occurred_at_idx is missing"),
        (
            "DROP INDEX loans_payload_idx; CREATE INDEX loans_payload_idx ON loans (event_id)",
            "index loans_payload_idx is \"btree (event_id)\"",
        ),
        (
            "UPDATE pg_index SET indisvalid = false
                 WHERE indexrelid = 'loans_event_type_idx'::regclass",
            "index loans_event_type_idx is \"invalid",
        ),
        ("ALTER TABLE loans DROP CONSTRAINT loans_pkey", "constraint loans_pkey is missing"),
        (
            "ALTER TABLE loans DROP CONSTRAINT loans_event_id_key",
            "constraint loans_event_id_key is missing",
        ),
        (
            "ALTER TABLE loans DROP CONSTRAINT loans_payload_check",
            "constraint loans_payload_check is missing",
        ),
        (
            "ALTER TABLE loans DROP CONSTRAINT loans_event_id_key,
                 ADD CONSTRAINT loans_event_id_key UNIQUE (event_id) DEFERRABLE",
            "\"UNIQUE (event_id) DEFERRABLE\"",
        ),
        (
            "ALTER TABLE loans DROP CONSTRAINT loans_payload_check,
                 ADD CONSTRAINT loans_payload_check CHECK (payload IS NOT NULL)",
            "constraint loans_payload_check is \"CHECK (payload IS NOT NULL)\"",
        ),
        (
            "ALTER TABLE loans DROP CONSTRAINT loans_occurred_at_check,
                 ADD CONSTRAINT loans_occurred_at_check CHECK
                     (isfinite(occurred_at) AND occurred_at <= '9999-12-30 23:00:00+00')",
            "<= '9999-12-30 23:00:00+00'",
        ),
        ("ALTER TABLE loans ALTER payload DROP NOT NULL", "nullability of column payload"),
        ("ALTER TABLE loans ALTER metadata DROP DEFAULT", "default of column metadata is missing"),
        ("ALTER TABLE loans ALTER recorded_at DROP DEFAULT", "default of column recorded_at"),
        ("ALTER TABLE loans ALTER event_type TYPE text COLLATE \"POSIX\"", "collation of column"),
        ("ALTER TABLE loans SET UNLOGGED", "table loans is \"an unlogged table\""),
        (
            "ALTER TABLE loans ALTER sequence_number SET GENERATED BY DEFAULT",
            "identity of column sequence_number is \"BY DEFAULT",
        ),
        (
            "DROP TRIGGER loans_refuse_number ON loans;
             ALTER TABLE loans ALTER sequence_number DROP IDENTITY",
            "identity of column sequence_number is missing",
        ),
        (
            "DROP TRIGGER loans_refuse_number ON loans;
             ALTER TABLE loans ALTER sequence_number DROP IDENTITY;
             CREATE SEQUENCE loans_sequence OWNED BY loans.sequence_number;
             ALTER TABLE loans ALTER sequence_number SET DEFAULT nextval('loans_sequence')",
            "identity of column sequence_number is missing",
        ),
        ("ALTER SEQUENCE loans_sequence RENAME TO numbers_sequence", "loans_sequence is missing"),
        ("DROP TABLE eddyline_schema", "table eddyline_schema has no row"),
        ("DELETE FROM eddyline_schema", "table eddyline_schema has no row"),
        (
            "ALTER TABLE eddyline_schema DROP log_id",
            "column of table eddyline_schema log_id is missing",
        ),
        (
            "ALTER TABLE eddyline_schema DROP epoch, DROP ends",
            "column of table eddyline_schema ends is missing",
        ),
        (
            "ALTER TABLE eddyline_schema ALTER epoch DROP NOT NULL; UPDATE eddyline_schema SET epoch = NULL",
            "has to be \"uuid NOT NULL with a default\"",
        ),
        ("ALTER TABLE eddyline_schema ALTER epoch_server DROP DEFAULT", "without a default"),
    ] {
        let log = LogInSchema::new().await;
        log.run(damage).await;

        log.assert_is_repaired(damage, reason).await;
    }
}

/// Logical replication copies events but not sequences. A restored sequence may have any value.
/// The function appends with the rights of its owner.
#[tokio::test]
async fn a_log_whose_functions_owner_lacks_rights_on_it_is_refused_and_repaired() {
    let log = LogInSchema::new().await;
    let role = format!("librarian_{}", next());
    let change_owner = format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role};
         GRANT SELECT ON loans TO {role}; GRANT SELECT, UPDATE ON eddyline_schema TO {role};
         ALTER FUNCTION loans_begin_epoch OWNER TO {role}",
        schema = log.schema
    );
    log.run(&change_owner).await;
    log.connect().await.unwrap();
    let damage = format!("REVOKE UPDATE ON eddyline_schema FROM {role}");

    log.run(&damage).await;

    let reason = "routine loans_begin_epoch has an owner that lacks rights on the log";
    log.assert_is_repaired(&damage, reason).await;
}

#[tokio::test]
async fn a_migration_repairs_a_sequence_that_would_give_numbers_below_the_head() {
    for (damage, reason) in [
        ("ALTER SEQUENCE loans_sequence RESTART", "gives 1 next, and the head is 2"),
        ("SELECT setval('loans_sequence', 1)", "gives 2 next, and the head is 2"),
        ("SELECT setval('loans_sequence', 2, false)", "gives 2 next, and the head is 2"),
        ("ALTER SEQUENCE loans_sequence CACHE 10", "CACHE 10"),
        ("ALTER SEQUENCE loans_sequence CYCLE", "1 CYCLE"),
        ("ALTER SEQUENCE loans_sequence INCREMENT 2", "INCREMENT 2"),
        ("ALTER SEQUENCE loans_sequence INCREMENT -1", "INCREMENT -1"),
        ("ALTER SEQUENCE loans_sequence MAXVALUE 2", "has reached its maximum"),
        ("ALTER SEQUENCE loans_sequence AS integer RESTART", "integer"),
    ] {
        let log = LogInSchema::new().await;
        log.run(damage).await;

        log.assert_is_repaired(damage, reason).await;
    }
}

#[tokio::test]
async fn a_sequence_that_continues_above_the_head_is_not_damaged() {
    for (change, number) in [
        ("ALTER SEQUENCE loans_sequence RESTART WITH 3", 3),
        ("ALTER SEQUENCE loans_sequence RESTART WITH 14", 14),
        ("SELECT setval('loans_sequence', 20)", 21),
        ("DELETE FROM loans", 3),
        ("ALTER SEQUENCE loans_sequence MAXVALUE 100", 3),
    ] {
        let log = LogInSchema::new().await;
        log.run(change).await;

        assert_eq!(log.append().await.unwrap(), number, "{change}");
        log.migrate().await.unwrap();
        assert_eq!(log.append().await.unwrap(), number + 1, "{change}");
    }
}

/// The first constraint names no column, the second one the whole row.
#[tokio::test]
async fn a_check_constraint_of_the_owner_is_not_damage() {
    for check in ["CHECK (true)", "CHECK (loans IS NOT NULL)", "CHECK (payload ? 'BookID')"] {
        let log = LogInSchema::new().await;
        log.run(&format!("ALTER TABLE loans ADD CONSTRAINT owners {check}")).await;

        assert_eq!(log.append().await.unwrap(), 3, "{check}");
        log.migrate().await.unwrap();
        assert_eq!(log.append().await.unwrap(), 4, "{check}");
    }
}

/// The sequence is inside a gap below the head, as can happen after logical replication.
#[tokio::test]
async fn a_migrated_log_assigns_no_number_below_its_head() {
    let log = LogInSchema::new().await;
    log.run("ALTER SEQUENCE loans_sequence RESTART WITH 9").await;
    assert_eq!(log.append().await.unwrap(), 9);
    log.run("ALTER SEQUENCE loans_sequence RESTART WITH 5").await;
    let refused = log.connect().await.err().unwrap();
    assert!(matches!(refused, Error::SchemaDamaged { .. }), "{refused:?}");

    log.migrate().await.unwrap();

    assert_eq!(log.append().await.unwrap(), 10);
}

#[tokio::test]
async fn a_log_in_a_renamed_schema_is_refused_until_it_is_migrated() {
    let mut log = LogInSchema::new().await;
    let renamed = format!("{}_renamed", log.schema);
    log.run(&format!("ALTER SCHEMA {} RENAME TO {renamed}", log.schema)).await;
    log.run(&format!("SET search_path = {renamed}")).await;
    let missing = log.connect().await.err().unwrap();
    log.config = log.config.schema(renamed);

    assert!(matches!(missing, Error::SchemaMissing { .. }), "{missing:?}");
    log.assert_is_repaired("renamed schema", "routine loans_append has another body").await;
}

#[tokio::test]
async fn a_migration_adopts_a_renamed_table_with_all_of_its_events() {
    let mut log = LogInSchema::new().await;
    log.run("ALTER TABLE loans RENAME TO archive").await;
    let missing = log.connect().await.err().unwrap();
    let before = log.config.clone();
    log.config = log.config.log("archive");
    assert!(matches!(missing, Error::SchemaMissing { .. }), "{missing:?}");
    let refused = log.connect().await.err().unwrap();
    assert!(matches!(refused, Error::SchemaDamaged { .. }), "{refused:?}");

    log.migrate().await.unwrap();

    assert_eq!(log.append().await.unwrap(), 3);
    let left = "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace
        AND relname LIKE 'loans%'
        UNION SELECT tgname FROM pg_trigger WHERE tgrelid = 'archive'::regclass
            AND tgname LIKE 'loans%'
        UNION SELECT conname FROM pg_constraint WHERE conrelid = 'archive'::regclass
            AND contype <> 'n' AND conname LIKE 'loans%'";
    // Since PostgreSQL 18 a NOT NULL constraint has a name as well, which is local to its table.
    assert!(log.sql.query(left, &[]).await.unwrap().is_empty());
    // The old name is free for another log.
    log.config = before;
    log.migrate().await.unwrap();
    assert_eq!(log.append().await.unwrap(), 1);
}

/// The version row and the functions that are left after DROP TABLE are not a log.
#[tokio::test]
async fn a_log_whose_table_was_dropped_is_missing_and_a_migration_creates_a_new_one() {
    let log = LogInSchema::new().await;
    log.run("DROP TABLE loans").await;
    let missing = log.connect().await.err().unwrap();

    log.migrate().await.unwrap();

    assert!(matches!(missing, Error::SchemaMissing { .. }), "{missing:?}");
    assert!(missing.to_string().contains("eddyline::Schema::migrate"), "{missing}");
    assert_eq!(log.append().await.unwrap(), 1);
}

/// The error names damage that only the owner can repair, and the migration changes nothing.
#[tokio::test]
async fn a_migration_refuses_what_it_cannot_repair() {
    for (damage, reason) in [
        ("ALTER TABLE loans DROP metadata", "column metadata is missing"),
        ("ALTER TABLE loans ALTER event_id TYPE text", "column event_id is \"text\""),
        (
            "ALTER TABLE eddyline_schema ALTER log_id DROP DEFAULT, ALTER log_id TYPE text",
            "column of table eddyline_schema log_id is \"text NOT NULL without a default\"",
        ),
        (
            "ALTER TABLE loans RENAME TO kept; CREATE VIEW loans AS SELECT * FROM kept",
            "table loans is \"a view\"",
        ),
    ] {
        let log = LogInSchema::new().await;
        log.run(damage).await;

        let refused = [log.connect().await.err(), log.migrate().await.err()];

        for error in refused {
            let Some(Error::SchemaDamaged { reason: found, remedy, .. }) = &error else {
                panic!("{damage}: {error:?}")
            };
            assert!(found.contains(reason) && remedy.contains("by hand"), "{damage}: {error:?}");
        }
    }
}

/// A reader needs the columns, of a table or a view, and the version row.
#[tokio::test]
async fn a_reader_is_refused_a_log_that_it_cannot_decode() {
    for damage in ["ALTER TABLE loans DROP metadata", "ALTER TABLE loans ALTER event_id TYPE text"]
    {
        let log = LogInSchema::new().await;
        Store::<ReadOnly>::connect(log.config.clone()).await.unwrap();
        log.run(damage).await;

        let refused = Store::<ReadOnly>::connect(log.config.clone()).await;

        assert!(matches!(refused, Err(Error::SchemaDamaged { .. })), "{damage}: {refused:?}");
    }
}

#[tokio::test]
async fn a_migration_does_not_change_objects_shared_with_a_log_of_a_newer_version() {
    let log = LogInSchema::new().await;
    let newer = "CREATE OR REPLACE FUNCTION eddyline_refuse_change() RETURNS trigger
        LANGUAGE plpgsql AS 'BEGIN RAISE ''newer''; END'";
    log.run("INSERT INTO eddyline_schema (log, version) VALUES ('other', 1000)").await;
    log.run(newer).await;

    log.migrate().await.unwrap();

    assert_eq!(log.append().await.unwrap(), 3);
    let body = "SELECT prosrc FROM pg_proc WHERE oid = 'eddyline_refuse_change()'::regprocedure";
    let body: String = log.sql.query_one(body, &[]).await.unwrap().get(0);
    assert!(body.contains("newer"), "{body}");
}

/// Appends that wait for the migration are stored after it. Neither side fails with a deadlock.
#[tokio::test]
async fn appends_succeed_during_a_repairing_migration() {
    let log = LogInSchema::new().await;
    let store = log.connect().await.unwrap();
    for _ in 0..5 {
        log.run("DROP INDEX loans_event_type_idx; ALTER SEQUENCE loans_sequence CACHE 1").await;
        let appends = (0..20).map(|_| store.append([lent("b-1", "r-1")], AppendCondition::none()));

        let (appended, migrated) =
            tokio::join!(futures_util::future::join_all(appends), log.migrate());

        assert!(appended.iter().all(Result::is_ok), "{appended:?}");
        assert!(migrated.is_ok(), "{migrated:?}");
    }
}
