//! Logs that run PL/pgSQL code of a test while they are read or appended to.

use tokio_postgres::Client;

use super::{next, wait_until};

/// PL/pgSQL code that blocks a statement until it is canceled.
pub const SLEEP: &str = "PERFORM pg_sleep(600);";

/// Creates a log that runs PL/pgSQL code when it is read. The database has to have another log.
/// Only a read-only store can connect to it, since it is a view.
pub async fn log_that_runs(sql: &Client, body: &str) -> String {
    let name = format!("log_{}", next());
    let version = format!(
        "INSERT INTO eddyline_schema (log, version)
             SELECT '{name}', version FROM eddyline_schema LIMIT 1"
    );
    sql.batch_execute(&format!("{}; {version}", view_that_runs(&name, body))).await.unwrap();
    name
}

/// Replaces the table of a log by a view that runs PL/pgSQL code when it is read.
pub async fn run_on_reads(sql: &Client, log: &str, body: &str) {
    let rename = format!("ALTER TABLE {log} RENAME TO {log}_before");
    sql.batch_execute(&format!("{rename}; {}", view_that_runs(log, body))).await.unwrap();
}

/// Renders a view with the columns of a log that runs PL/pgSQL code. The code does not run for the
/// statement by which a store connects and watches its servers.
fn view_that_runs(name: &str, body: &str) -> String {
    format!(
        "CREATE TABLE {name}_books ();
         CREATE FUNCTION {name}_events() RETURNS TABLE (sequence_number bigint, event_id uuid,
             occurred_at timestamptz, recorded_at timestamptz, event_type text, payload jsonb,
             metadata jsonb) LANGUAGE plpgsql AS $$ BEGIN
             IF current_query() NOT LIKE '%pg_postmaster_start_time%' THEN
                 PERFORM FROM public.{name}_books;
                 {body}
             END IF;
         END $$;
         CREATE VIEW {name} AS SELECT * FROM {name}_events()"
    )
}

/// Creates a trigger that runs PL/pgSQL code after each append, in its transaction.
pub async fn run_after_appends(sql: &Client, log: &str, body: &str) {
    sql.batch_execute(&format!(
        "CREATE FUNCTION {log}_trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             {body}
             RETURN NULL;
         END $$;
         CREATE TRIGGER trap AFTER INSERT ON {log} EXECUTE FUNCTION {log}_trap()"
    ))
    .await
    .unwrap();
}

/// Makes the append procedure fail after its commit, as if it was canceled there. Returns the
/// statement that restores the procedure.
pub async fn cancel_after_commits(sql: &Client, log: &str) -> String {
    run_after_commits(sql, log, "RAISE EXCEPTION 'canceled' USING ERRCODE = '57014';").await
}

/// Makes the append procedure run PL/pgSQL code after its commit, in the same call. Returns the
/// statement that restores the procedure.
pub async fn run_after_commits(sql: &Client, log: &str, body: &str) -> String {
    let definition = format!("SELECT pg_get_functiondef('{log}_append'::regproc)");
    let definition: String = sql.query_one(&definition, &[]).await.unwrap().get(0);
    assert!(definition.contains("COMMIT;"));
    let longer = definition.replace("COMMIT;", &format!("COMMIT; {body}"));
    sql.batch_execute(&longer).await.unwrap();
    definition
}

/// Waits until a session of an application sleeps in `pg_sleep`, and returns its process id.
pub async fn sleeping_backend(sql: &Client, application: &str) -> i32 {
    let process = "SELECT pid FROM pg_stat_activity
        WHERE application_name = $1 AND wait_event = 'PgSleep'";
    wait_until(async || !sql.query(process, &[&application]).await.unwrap().is_empty()).await;
    sql.query_one(process, &[&application]).await.unwrap().get(0)
}

/// Adds a unique application name to a URL. Returns the URL and the name.
pub fn named(url: &str) -> (String, String) {
    let name = format!("branch_{}", next());
    (format!("{url}?application_name={name}"), name)
}
