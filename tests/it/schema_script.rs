//! The SQL text that creates a log.

use std::process::Command;

use eddyline::{AppendCondition, Config, Error, Filter, ReadOnly, ReadWrite, Schema, Store};

use crate::schema::create_log_of_version;
use crate::support::{as_user, cluster, connect, lent, next};

/// Creates a database without a log, and returns its address.
async fn empty_database() -> String {
    let database = format!("library_{}", next());
    cluster().await.create_database(&database).await.unwrap();
    cluster().await.primary().url(&database)
}

/// Runs a script by psql. Returns its messages if it fails.
async fn run_by_psql(url: &str, script: &str) -> Result<(), String> {
    let cluster = cluster().await;
    let file = cluster.directory().join(format!("script_{}.sql", next()));
    std::fs::write(&file, script).unwrap();
    let programs = cluster.programs().directory().join("psql");
    let mut psql = Command::new(if programs.exists() { programs } else { "psql".into() });
    psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", url, "--file"]);
    psql.arg(file);
    let output = tokio::task::spawn_blocking(move || psql.output()).await.unwrap();
    let output = output.expect("the tests need psql");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[tokio::test]
async fn the_script_creates_a_log_that_stores_accept_and_migrations_leave_unchanged() {
    let longest = "L".repeat(40);
    for (schema, log) in
        [("public", "events"), ("Branch", "Loans"), ("select", "table"), ("_1", &longest)]
    {
        let url = empty_database().await;
        let config = Config::new(&url).unwrap().schema(schema).log(log);

        run_by_psql(&url, &Schema::new(&config).sql().unwrap()).await.unwrap();

        let store = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        let read = Store::<ReadOnly>::connect(config.clone()).await.unwrap();
        assert_eq!(read.query(Filter::everything()).await.unwrap().events().len(), 1);
        let sql = connect(&url).await;
        let migrated_at = format!("SELECT migrated_at::text FROM \"{schema}\".eddyline_schema");
        let created: String = sql.query_one(&migrated_at, &[]).await.unwrap().get(0);
        Schema::new(&config).migrate().await.unwrap();
        let migrated: String = sql.query_one(&migrated_at, &[]).await.unwrap().get(0);
        assert_eq!(created, migrated, "{schema}.{log}");
    }
}

/// A store does not check the settings of the table.
#[tokio::test]
async fn the_script_creates_what_a_migration_creates() {
    let (scripted, migrated) = (empty_database().await, empty_database().await);
    let [script, migration] = [&scripted, &migrated].map(|url| {
        Schema::new(&Config::new(url).unwrap()).writer_role("scribe").reader_role("student")
    });

    run_by_psql(&scripted, &script.sql().unwrap()).await.unwrap();
    migration.migrate().await.unwrap();

    let objects = "SELECT relname::text || ' ' || relkind::text || ' '
            || coalesce(reloptions::text, '') || ' ' || coalesce(relacl::text, '') FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT oid::regprocedure::text || ' ' || coalesce(proacl::text, '') || ' ' || prosrc
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT attname::text || ' ' || coalesce(attacl::text, '') FROM pg_attribute
        WHERE attrelid = 'events'::regclass
        ORDER BY 1";
    let of = async |url: &str| -> Vec<String> {
        let rows = connect(url).await.query(objects, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(of(&scripted).await, of(&migrated).await);
}

#[tokio::test]
async fn the_script_refuses_an_existing_log_and_changes_nothing() {
    let url = empty_database().await;
    let config = Config::new(&url).unwrap();
    let schema = Schema::new(&config);
    run_by_psql(&url, &schema.sql().unwrap()).await.unwrap();
    let store = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();

    let refused = run_by_psql(&url, &schema.sql().unwrap()).await.unwrap_err();

    assert!(refused.contains("log public.events exists already"), "{refused}");
    assert!(refused.contains("eddyline::Schema::migrate"), "{refused}");
    assert_eq!(store.query(Filter::everything()).await.unwrap().events().len(), 1);
    let second = config.log("loans");
    run_by_psql(&url, &Schema::new(&second).sql().unwrap()).await.unwrap();
    Store::<ReadWrite>::connect(second).await.unwrap();
}

/// The table of versions has no columns for the identity of a log.
#[tokio::test]
async fn the_script_creates_a_log_beside_those_of_an_older_version() {
    let url = empty_database().await;
    let schema = create_log_of_version(3, &connect(&url).await).await;
    let config = Config::new(&url).unwrap().schema(&schema).log("archive");

    run_by_psql(&url, &Schema::new(&config).sql().unwrap()).await.unwrap();

    Store::<ReadWrite>::connect(config.clone()).await.unwrap();
    let older = Store::<ReadWrite>::connect(config.log("loans")).await;
    assert!(matches!(older, Err(Error::SchemaVersion { found: 3, .. })), "{older:?}");
}

/// The logs of a schema share a function, which the newer version may have changed.
#[tokio::test]
async fn the_script_refuses_a_schema_with_a_log_of_a_newer_version() {
    let url = empty_database().await;
    let config = Config::new(&url).unwrap();
    Schema::new(&config).migrate().await.unwrap();
    connect(&url).await.batch_execute("UPDATE eddyline_schema SET version = 1000").await.unwrap();

    let script = Schema::new(&config.log("loans")).sql().unwrap();
    let refused = run_by_psql(&url, &script).await.unwrap_err();

    assert!(refused.contains("newer version than 4"), "{refused}");
}

#[tokio::test]
async fn the_script_gives_roles_their_rights() {
    let url = empty_database().await;
    let (writer, reader) = (format!("scribe_{}", next()), format!("student_{}", next()));
    let config = Config::new(&url).unwrap();
    let schema = Schema::new(&config).writer_role(&writer).reader_role(&reader);

    run_by_psql(&url, &schema.sql().unwrap()).await.unwrap();

    let login = format!("ALTER ROLE {writer} LOGIN; ALTER ROLE {reader} LOGIN");
    connect(&url).await.batch_execute(&login).await.unwrap();
    let as_role = |role: &str| Config::new(&as_user(&url, role)).unwrap();
    let store = Store::<ReadWrite>::connect(as_role(&writer)).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    Store::<ReadOnly>::connect(as_role(&reader)).await.unwrap();
    let refused = Store::<ReadWrite>::connect(as_role(&reader)).await.unwrap_err();
    assert!(matches!(refused, Error::UnsuitableRole { .. }), "{refused:?}");
}

#[test]
fn a_script_with_an_invalid_name_is_refused() {
    let config = Config::new("postgres://localhost/library").unwrap();

    let log = Schema::new(&config.clone().log("a\"b")).sql().unwrap_err();
    let role = Schema::new(&config).writer_role("a b").sql().unwrap_err();

    assert!(matches!(log, Error::InvalidConfig { setting: "log", .. }), "{log:?}");
    assert!(matches!(role, Error::InvalidConfig { setting: "writer_role", .. }), "{role:?}");
}
