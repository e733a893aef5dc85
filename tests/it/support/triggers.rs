//! Logs that run what a test likes while they are read or appended to.

use tokio_postgres::Client;

use super::{next, wait_until};

/// Keeps a statement busy until somebody ends it.
pub const SLEEP: &str = "PERFORM pg_sleep(600);";

/// Makes a log that runs a piece of PL/pgSQL whenever it is read, in a database that has logs. Only a
/// read-only store connects to it.
pub async fn log_that_runs(sql: &Client, body: &str) -> String {
    let name = format!("log_{}", next());
    let version = format!(
        "INSERT INTO eddyline_schema (log, version)
             SELECT '{name}', version FROM eddyline_schema LIMIT 1"
    );
    sql.batch_execute(&format!("{}; {version}", view_that_runs(&name, body))).await.unwrap();
    name
}

/// Has a log run a piece of PL/pgSQL whenever it is read, from now on.
pub async fn run_on_reads(sql: &Client, log: &str, body: &str) {
    let rename = format!("ALTER TABLE {log} RENAME TO {log}_before");
    sql.batch_execute(&format!("{rename}; {}", view_that_runs(log, body))).await.unwrap();
}

/// Renders a view in the place of a log's table.
fn view_that_runs(name: &str, body: &str) -> String {
    format!(
        "CREATE TABLE {name}_books ();
         CREATE FUNCTION {name}_events() RETURNS TABLE (sequence_number bigint, event_id uuid,
             occurred_at timestamptz, recorded_at timestamptz, event_type text, payload jsonb,
             metadata jsonb) LANGUAGE plpgsql AS $$ BEGIN
             PERFORM FROM public.{name}_books;
             {body}
         END $$;
         CREATE VIEW {name} AS SELECT * FROM {name}_events()"
    )
}

/// Has a log run a piece of PL/pgSQL after each append, in its transaction.
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

/// Lets the server answer appends with an error after their commit, as if they were canceled there. Returns
/// the statement that ends this.
pub async fn cancel_after_commits(sql: &Client, log: &str) -> String {
    run_after_commits(sql, log, "RAISE EXCEPTION 'canceled' USING ERRCODE = '57014';").await
}

/// Has the server run something after each commit of an append, in its call. Returns the statement that ends
/// this.
pub async fn run_after_commits(sql: &Client, log: &str, body: &str) -> String {
    let definition = format!("SELECT pg_get_functiondef('{log}_append'::regproc)");
    let definition: String = sql.query_one(&definition, &[]).await.unwrap().get(0);
    assert!(definition.contains("COMMIT;"));
    let longer = definition.replace("COMMIT;", &format!("COMMIT; {body}"));
    sql.batch_execute(&longer).await.unwrap();
    definition
}

/// Waits until a session sleeps, and returns its process.
pub async fn asleep(sql: &Client, application: &str) -> i32 {
    let process = "SELECT pid FROM pg_stat_activity
        WHERE application_name = $1 AND wait_event = 'PgSleep'";
    wait_until(async || !sql.query(process, &[&application]).await.unwrap().is_empty()).await;
    sql.query_one(process, &[&application]).await.unwrap().get(0)
}

/// Adds a name to an address by which its sessions can be found.
pub fn named(url: &str) -> (String, String) {
    let name = format!("branch_{}", next());
    (format!("{url}?application_name={name}"), name)
}
