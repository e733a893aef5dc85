//! The privileges of a log's roles.

use eddyline::error::Reason;
use eddyline::{
    AppendCondition, Class, Config, Decision, Error, Filter, ReadOnly, ReadWrite, RetryPolicy,
    Schema, Store,
};
use futures_util::stream;
use tokio_postgres::Client;

use crate::support::{Log, as_user, cluster, connect, lent, next, refusal};

/// A log, and a login role with its writer or reader privileges.
struct LogWithRole {
    log: Log,
    role: String,
}

impl LogWithRole {
    /// Creates a log with a role that may read and append.
    async fn for_writer() -> Self {
        let (log, role) = (Log::missing().await, format!("librarian_{}", next()));
        Schema::new(&log.config()).writer_role(&role).migrate().await.unwrap();
        Self::allow_login(log, role).await
    }

    /// Creates a log with a role that may read.
    async fn for_reader() -> Self {
        let (log, role) = (Log::missing().await, format!("visitor_{}", next()));
        Schema::new(&log.config()).reader_role(&role).migrate().await.unwrap();
        Self::allow_login(log, role).await
    }

    async fn allow_login(log: Log, role: String) -> Self {
        let login = format!("ALTER ROLE {role} LOGIN");
        log.sql().await.batch_execute(&login).await.unwrap();
        Self { log, role }
    }

    fn config(&self) -> Config {
        let url = as_user(&self.log.primary_url(), &self.role);
        Config::new(&url).unwrap().log(&self.log.name)
    }

    async fn sql(&self) -> Client {
        connect(&as_user(&self.log.primary_url(), &self.role)).await
    }

    /// Returns statements that neither role may run.
    fn forbidden(&self) -> Vec<String> {
        let name = &self.log.name;
        let row = "gen_random_uuid(), now(), 'BookCopyLentToReader', '{}'";
        let columns = "event_id, occurred_at, event_type, payload";
        vec![
            format!("INSERT INTO {name} ({columns}, recorded_at) VALUES ({row}, now())"),
            format!(
                "INSERT INTO {name} ({columns}, sequence_number)
                 OVERRIDING SYSTEM VALUE VALUES ({row}, 7)"
            ),
            format!("UPDATE {name} SET event_type = 'BookCopyReturnedByReader'"),
            format!("DELETE FROM {name}"),
            format!("TRUNCATE {name}"),
            format!("DROP TABLE {name}"),
            format!("ALTER TABLE {name} DISABLE TRIGGER ALL"),
            format!("CREATE TRIGGER late BEFORE INSERT ON {name} EXECUTE FUNCTION now()"),
            format!("SELECT nextval('{name}_sequence')"),
            format!("SELECT setval('{name}_sequence', 1)"),
            format!("ALTER SEQUENCE {name}_sequence RESTART"),
            "SET session_replication_role = replica".to_owned(),
            "UPDATE eddyline_schema SET version = 7".to_owned(),
            "DELETE FROM eddyline_schema".to_owned(),
            "INSERT INTO eddyline_schema (log, version) VALUES ('late', 1)".to_owned(),
            format!(
                "CREATE OR REPLACE FUNCTION {name}_lock_log() RETURNS trigger
             LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
            ),
        ]
    }
}

#[tokio::test]
async fn a_writer_reads_and_appends_through_the_store() {
    let log_with_role = LogWithRole::for_writer().await;
    let store = Store::<ReadWrite>::connect(log_with_role.config()).await.unwrap();
    let history = store.query(Filter::everything()).await.unwrap();

    let first = store.append([lent("b-1", "r-1")], history.condition()).await;
    let second = store.append([lent("b-1", "r-2")], history.condition()).await;

    assert!(first.is_ok(), "{first:?}");
    assert!(matches!(second, Err(Error::Conflict { .. })), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_repeats_an_append_and_decides_under_the_lock_through_the_store() {
    let log_with_role = LogWithRole::for_writer().await;
    let policy = RetryPolicy::builder().attempts(2).escalate_after(1).build().unwrap();
    let store = Store::<ReadWrite>::connect(log_with_role.config().retry(policy)).await.unwrap();
    let event = lent("b-1", "r-1");
    store.append([event.clone()], AppendCondition::none()).await.unwrap();

    let repeated = store.append([event], AppendCondition::none()).await.unwrap();
    let decided = store.decide(Filter::everything(), |history| {
        if history.events().len() == 1 {
            let other = store.append([lent("b-2", "r-1")], AppendCondition::none());
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(other))?;
        }
        Ok::<_, Error>(Decision::append([lent("b-3", "r-1")]))
    });

    assert!(repeated.is_repeat());
    assert!(decided.await.unwrap().is_escalated());
}

#[tokio::test]
async fn a_writer_imports_through_the_store() {
    let log_with_role = LogWithRole::for_writer().await;
    let store = Store::<ReadWrite>::connect(log_with_role.config()).await.unwrap();
    let events = [lent("b-1", "r-1"), lent("b-2", "r-1")];
    store.append([events[1].clone()], AppendCondition::none()).await.unwrap();

    let imported = store.import(stream::iter(events)).await.unwrap();

    assert_eq!((imported.stored(), imported.skipped()), (1, 1));
}

#[tokio::test]
async fn a_writer_may_run_no_other_statement() {
    let log_with_role = LogWithRole::for_writer().await;
    let sql = log_with_role.sql().await;
    sql.batch_execute(&log_with_role.log.insert("b-1")).await.unwrap();

    for statement in log_with_role.forbidden() {
        assert_eq!(refusal(sql.batch_execute(&statement).await), "42501", "{statement}");
    }
}

#[tokio::test]
async fn a_reader_reads_through_the_store() {
    let log_with_role = LogWithRole::for_reader().await;
    let owner = log_with_role.log.writer().await;
    owner.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();

    let store = Store::<ReadOnly>::connect(log_with_role.config()).await.unwrap();

    assert_eq!(store.query(Filter::everything()).await.unwrap().events().len(), 1);
}

#[tokio::test]
async fn a_reader_may_run_no_other_statement() {
    let log_with_role = LogWithRole::for_reader().await;
    let sql = log_with_role.sql().await;

    for statement in log_with_role.forbidden().into_iter().chain([log_with_role.log.insert("b-1")])
    {
        assert_eq!(refusal(sql.batch_execute(&statement).await), "42501", "{statement}");
    }
}

#[tokio::test]
async fn a_read_write_store_refuses_a_reader_and_names_the_writer_role() {
    let log_with_role = LogWithRole::for_reader().await;

    let refused = Store::<ReadWrite>::connect(log_with_role.config()).await.err().unwrap();

    let Error::UnsuitableRole { role, reason, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(
        (role, refused.class()),
        (&log_with_role.role, Class::Permanent(Reason::Permission))
    );
    assert!(reason.contains("INSERT") && reason.contains("Schema::writer_role"), "{reason}");
    Schema::new(&log_with_role.log.config())
        .writer_role(&log_with_role.role)
        .migrate()
        .await
        .unwrap();
    let store = Store::<ReadWrite>::connect(log_with_role.config()).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

#[tokio::test]
async fn only_the_owner_can_change_events_and_only_after_opting_in() {
    let log_with_role = LogWithRole::for_writer().await;
    let (name, role) = (&log_with_role.log.name, &log_with_role.role);
    let (owner, other) = (log_with_role.log.sql().await, log_with_role.sql().await);
    owner.batch_execute(&log_with_role.log.insert("b-1")).await.unwrap();
    // Privileges alone do not suffice.
    let grant = format!("GRANT UPDATE, DELETE, TRUNCATE ON {name} TO {role}");
    owner.batch_execute(&grant).await.unwrap();
    let changes = [
        format!("UPDATE {name} SET payload = '{{}}'"),
        format!("DELETE FROM {name}"),
        format!("TRUNCATE {name}"),
    ];

    for change in &changes {
        for (sql, allow) in [(&owner, "off"), (&other, "off"), (&other, "on")] {
            let allow = format!("SET eddyline.allow_changes = '{allow}'");
            sql.batch_execute(&allow).await.unwrap();

            let error = sql.batch_execute(change).await.expect_err(change);

            let error = error.as_db_error().unwrap();
            assert_eq!(error.code().code(), "55000", "{change}");
            assert!(error.hint().is_some_and(|hint| hint.contains("eddyline.allow_changes")));
        }
        owner.batch_execute("SET eddyline.allow_changes = 'on'").await.unwrap();
        owner.batch_execute(change).await.expect(change);
    }
}

/// A function with the name of one that a trigger calls must not be called instead of it.
#[tokio::test]
async fn a_search_path_does_not_bypass_the_triggers() {
    let log_with_role = LogWithRole::for_writer().await;
    let (name, role) = (&log_with_role.log.name, &log_with_role.role);
    let (owner, other) = (log_with_role.log.sql().await, log_with_role.sql().await);
    owner
        .batch_execute(&format!(
            "CREATE SCHEMA {role} AUTHORIZATION {role}; GRANT UPDATE ON {name} TO {role}"
        ))
        .await
        .unwrap();
    other
        .batch_execute(&format!(
            "CREATE FUNCTION {role}.pg_advisory_xact_lock(bigint) RETURNS void
                 LANGUAGE sql AS 'SELECT';
             CREATE FUNCTION {role}.pg_has_role(oid, text) RETURNS boolean
                 LANGUAGE sql AS 'SELECT true';
             SET search_path = {role}, pg_catalog, public;
             SET eddyline.allow_changes = 'on'"
        ))
        .await
        .unwrap();

    other.batch_execute(&format!("BEGIN; {}", log_with_role.log.insert("b-1"))).await.unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND (classid::bigint << 32 | objid::bigint) = $1";
    let held = owner.query_one(held, &[&log_with_role.log.lock_key().await]).await.unwrap();
    other.batch_execute("COMMIT").await.unwrap();
    let update = format!("UPDATE {name} SET event_type = 'BookCopyReturnedByReader'");
    let updated = other.batch_execute(&update).await;

    assert_eq!(held.get::<_, i64>(0), 1);
    assert_eq!(refusal(updated), "55000");
}

#[tokio::test]
async fn a_migration_without_changes_needs_no_create_privilege() {
    let log_with_role = LogWithRole::for_writer().await;

    let migrated = Schema::new(&log_with_role.config()).migrate().await;

    assert!(migrated.is_ok(), "{migrated:?}");
}

/// All processes of a program may migrate with the same settings, including those with few
/// privileges.
#[tokio::test]
async fn a_migration_with_existing_roles_needs_no_createrole() {
    let log_with_role = LogWithRole::for_writer().await;

    let migrated =
        Schema::new(&log_with_role.config()).writer_role(&log_with_role.role).migrate().await;

    assert!(migrated.is_ok(), "{migrated:?}");
}

/// An administrator creates the role. An owner without CREATEROLE grants it the privileges.
#[tokio::test]
async fn an_owner_without_createrole_grants_privileges_to_existing_roles() {
    let (database, owner) = (format!("library_{}", next()), format!("owner_{}", next()));
    let role = format!("librarian_{}", next());
    cluster().await.create_database(&database).await.unwrap();
    let url = cluster().await.primary().url(&database);
    connect(&url)
        .await
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN; CREATE ROLE {owner} LOGIN;
             ALTER DATABASE {database} OWNER TO {owner}"
        ))
        .await
        .unwrap();
    let config = Config::new(&as_user(&url, &owner)).unwrap().schema("branch");

    let migrated = Schema::new(&config).writer_role(&role).migrate().await;

    assert!(migrated.is_ok(), "{migrated:?}");
    let config = Config::new(&as_user(&url, &role)).unwrap().schema("branch");
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

/// There is no log and so no owner to name. Granting each privilege that the error names lets the
/// migration succeed.
#[tokio::test]
async fn a_failed_migration_names_the_privileges_to_create_a_log() {
    let (log, role) = (Log::isolated().await, format!("founder_{}", next()));
    let sql = log.sql().await;
    let database: String = sql.query_one("SELECT current_database()", &[]).await.unwrap().get(0);
    let schema = format!(
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE SCHEMA branch; CREATE ROLE {role} LOGIN"
    );
    sql.batch_execute(&schema).await.unwrap();
    let config = Config::new(&as_user(&log.primary_url(), &role)).unwrap();
    for (schema, privilege) in [
        ("branch", "USAGE, CREATE ON SCHEMA branch".to_owned()),
        ("new_branch", format!("CREATE ON DATABASE {database}")),
    ] {
        let migrate = || Schema::new(&config.clone().schema(schema)).migrate();

        let refused = migrate().await.unwrap_err();

        assert_eq!(refused.sqlstate().unwrap().as_str(), "42501", "{refused:?}");
        let (message, remedy) = (
            refused.to_string(),
            "USAGE and CREATE on the schema or, if the schema does \
             not exist, CREATE on the database",
        );
        assert!(message.contains(remedy), "{message}");
        sql.batch_execute(&format!("GRANT {privilege} TO {role}")).await.unwrap();
        migrate().await.unwrap();
        let store = Store::<ReadWrite>::connect(config.clone().schema(schema)).await.unwrap();
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    }

    let readers = format!("readers_{}", next());
    let migrate = || Schema::new(&config.clone().schema("branch")).reader_role(&readers).migrate();
    let message = migrate().await.unwrap_err().to_string();
    assert!(message.contains("to create roles, it needs CREATEROLE"), "{message}");
    sql.batch_execute(&format!("ALTER ROLE {role} CREATEROLE")).await.unwrap();
    migrate().await.unwrap();
}

#[tokio::test]
async fn role_names_that_need_quoting_are_refused() {
    let log = Log::missing().await;
    for name in ["", "a b", "a\"; DROP TABLE x --", "évènements", "1st", &"r".repeat(41)] {
        let writer = Schema::new(&log.config()).writer_role(name).migrate().await;
        let reader = Schema::new(&log.config()).reader_role(name).migrate().await;

        let setting = |outcome| match outcome {
            Err(Error::InvalidConfig { setting, .. }) => setting,
            outcome => panic!("{outcome:?}"),
        };
        assert_eq!((setting(writer), setting(reader)), ("writer_role", "reader_role"));
    }
}
