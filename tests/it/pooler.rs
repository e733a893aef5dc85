//! Stores behind a pooler in transaction mode, which may give each transaction of a client another
//! backend.

use std::time::Duration;

use eddyline::{AppendCondition, Config, Filter, Pooler, ReadOnly, ReadWrite, RetryPolicy, Store};
use futures_util::stream;
use tokio_postgres::SimpleQueryMessage;

use crate::every_operation::use_all;
use crate::support::{
    ConnectionPooler, Log, cancel_after_commits, connect, lent, loans_of, log_that_runs, promptly,
};

/// Returns the prepared statements, changed settings and advisory locks of a pooled session.
async fn left_behind(url: &str) -> Vec<String> {
    let left = "SELECT name FROM pg_prepared_statements
        UNION ALL SELECT name FROM pg_settings WHERE source = 'session'
        UNION ALL SELECT 'a lock' FROM pg_locks
            WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    let messages = connect(url).await.simple_query(left).await.unwrap();
    let names = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_leaves_no_session_state_behind() {
    let log = Log::new().await;
    let pooler = ConnectionPooler::in_transaction_mode(&log.primary_url()).await;
    let url = pooler.url(&log.primary_url());
    let name = format!("{}_pooled", log.name);
    let config = Config::new(&url).unwrap().log(&name).max_connections(1);

    use_all(config.pooler(Pooler::Transaction), log.config().log(&name)).await;

    assert_eq!(left_behind(&url).await, [""; 0]);
}

/// The counterpart of the test above, which would prove nothing otherwise.
#[tokio::test]
async fn a_store_without_the_pooler_setting_leaves_session_state_behind() {
    let log = Log::new().await;
    let pooler = ConnectionPooler::in_transaction_mode(&log.primary_url()).await;
    let url = pooler.url(&log.primary_url());

    let store = Store::<ReadWrite>::connect(Config::new(&url).unwrap().log(&log.name));
    let history = store.await.unwrap().query(&loans_of("b-1")).await.unwrap();

    assert!(history.events().is_empty());
    let left = left_behind(&url).await;
    assert!(left.iter().any(|name| name == "plan_cache_mode"), "{left:?}");
    assert!(left.iter().any(|name| name.starts_with('s')), "{left:?}");
}

#[tokio::test]
async fn the_server_refuses_what_a_read_would_write() {
    let log = Log::isolated().await;
    let sql = log.sql().await;
    sql.batch_execute("CREATE TABLE loans (book text)").await.unwrap();
    let writing = log_that_runs(&sql, "INSERT INTO public.loans VALUES ('b-1');").await;
    let config = log.config().log(&writing).pooler(Pooler::Transaction);
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();

    let refused = reader.query(Filter::everything()).await;

    let sqlstate = refused.unwrap_err().sqlstate().unwrap().as_str().to_owned();
    assert_eq!(sqlstate, "25006");
}

/// The setting that is otherwise made for a connection has to be made in each transaction.
#[tokio::test]
async fn a_fuzzy_search_limit_of_the_database_loses_no_event() {
    let log = Log::isolated().await;
    log.set("gin_fuzzy_search_limit = 10").await;
    let config = log.config().pooler(Pooler::Transaction);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let book = |n: usize| if n.is_multiple_of(10) { "b-1" } else { "b-2" };
    let events: Vec<_> = (0..20_000).map(|n| lent(book(n), "r-1")).collect();
    store.append(events, AppendCondition::none()).await.unwrap();

    let found = store.query(&loans_of("b-1")).await.unwrap();

    assert_eq!(found.events().len(), 2_000);
}

/// Behind a pooler, the call of an import commits by itself and may be canceled after its commit.
#[tokio::test]
async fn an_import_succeeds_despite_errors_after_its_commits() {
    let log = Log::new().await;
    let config = log.config().pooler(Pooler::Transaction);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    cancel_after_commits(&log.sql().await, &log.name).await;
    let events: Vec<_> = (0..5).map(|copy| lent(&format!("b-{copy}"), "r-1")).collect();

    let imported = store.import(stream::iter(events)).chunk(2).await.unwrap();

    assert_eq!((imported.read(), imported.stored()), (5, 5));
    assert_eq!(store.query(Filter::everything()).await.unwrap().events().len(), 5);
}

/// Behind a pooler, each append carries the lock timeout, which is a setting of the connection
/// otherwise.
#[tokio::test]
async fn an_append_fails_after_the_lock_timeout() {
    let log = Log::new().await;
    let pooler = ConnectionPooler::in_transaction_mode(&log.primary_url()).await;
    let config = Config::new(&pooler.url(&log.primary_url())).unwrap().log(&log.name);
    let config = config.pooler(Pooler::Transaction).retry(RetryPolicy::never());
    let store = Store::<ReadWrite>::connect(config.lock_timeout(Duration::from_millis(100)));
    let store = store.await.unwrap();
    let mut holder = log.sql().await;
    let transaction = holder.transaction().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock($1)";
    transaction.execute(lock, &[&log.lock_key().await]).await.unwrap();

    let append = store.append([lent("b-1", "r-1")], AppendCondition::none());
    let error = promptly(append).await.unwrap_err();

    assert_eq!(error.sqlstate().unwrap().as_str(), "55P03");
    transaction.rollback().await.unwrap();
    assert!(store.query(Filter::everything()).await.unwrap().events().is_empty());
}
