//! Log records through `tracing`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use eddyline::retry::Retry;
use eddyline::{
    AppendCondition, Config, Decision, Error, Filter, ReadOnly, ReadWrite, ReplicaState,
    RetryPolicy, Schema, Store,
};
use opentelemetry::Context;
use opentelemetry::trace::{
    FutureExt as _, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use tokio_postgres::Client;
use tracing::Level;

use crate::support::{
    Log, LogRecord, LogRecords, MEMBER, Observer, PASSWORD, as_user, lent, loans_of, secure_server,
    wait, wait_for_lock_waiter, wait_until,
};

async fn connect(config: Config, observer: &Observer) -> Store<ReadWrite> {
    let config = config.name("lending").telemetry(observer.telemetry());
    Store::<ReadWrite>::connect(config).await.unwrap()
}

/// Opens a transaction with an insert, which holds the log's lock.
async fn hold(log: &Log) -> Client {
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", log.insert("b-held"))).await.unwrap();
    holder
}

/// Returns the levels, operations and outcomes of records.
fn summaries(records: &[LogRecord]) -> Vec<(Level, &str, &str)> {
    records
        .iter()
        .map(|record| (record.level, record.field("operation"), record.field("outcome")))
        .collect()
}

#[tokio::test]
async fn every_operation_is_one_record_whose_level_depends_on_its_outcome() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config().lock_timeout(Duration::from_millis(50)).retry(RetryPolicy::never());
    let hasty = connect(config, &observer).await;
    let store = connect(log.config().retry(RetryPolicy::never()), &observer).await;
    let (sql, key) = (log.sql().await, log.lock_key().await);
    let (records, _guard) = LogRecords::collect();

    let before = store.query(Filter::everything()).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    store.append([lent("b-1", "r-1")], before.condition()).await.unwrap_err();
    store.append([], AppendCondition::none()).await.unwrap_err();
    store.head().await.unwrap();
    let _holder = hold(&log).await;
    hasty.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();
    tokio::select! {
        biased;
        outcome = store.append([lent("b-1", "r-1")], AppendCondition::none()) => panic!("{outcome:?}"),
        () = wait_for_lock_waiter(&sql, key) => {}
    }

    assert_eq!(
        summaries(&records.all()),
        [
            (Level::TRACE, "query", "success"),
            (Level::TRACE, "append", "success"),
            (Level::DEBUG, "append", "conflict"),
            (Level::WARN, "append", "error"),
            (Level::TRACE, "head", "success"),
            (Level::WARN, "append", "timeout"),
            (Level::DEBUG, "append", "canceled"),
        ]
    );
}

#[tokio::test]
async fn a_failed_operation_is_a_warning_with_the_ids_of_its_span() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config(), &observer).await.with_scope("LendBookCopyToReader");
    let (records, _guard) = LogRecords::collect();

    let began = Instant::now();
    let error = store.append([], AppendCondition::none()).await.unwrap_err();
    let took = began.elapsed();

    let records = records.all();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.level, record.target.as_str()), (Level::WARN, "eddyline"));
    let spans = observer.spans();
    let span = spans.iter().find(|span| span.name == "eventstore.append");
    let span = &span.unwrap().span_context;
    let duration: f64 = record.field("duration").parse().unwrap();
    assert!(duration > 0.0 && duration <= took.as_secs_f64(), "{duration}");
    let mut fields = record.fields.clone();
    fields.remove("duration");
    let expected = [
        ("class", "invalid"),
        ("error", &error.to_string()),
        ("message", "operation failed"),
        ("operation", "append"),
        ("outcome", "error"),
        ("scope", "LendBookCopyToReader"),
        ("server", "primary"),
        ("span_id", &span.span_id().to_string()),
        ("store", "lending"),
        ("trace_id", &span.trace_id().to_string()),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name, value.to_owned())).into());
}

#[tokio::test]
async fn a_record_without_a_tracer_has_no_ids() {
    let log = Log::new().await;
    let store = log.writer().await;
    let (records, _guard) = LogRecords::collect();

    store.append([], AppendCondition::none()).await.unwrap_err();

    let records = records.all();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.field("trace_id"), record.field("span_id")), ("", ""));
    assert_eq!(record.field("store"), log.name);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_a_record_with_the_ids_of_the_caller() {
    let observer = Observer::new();
    let telemetry = observer.telemetry();
    let policy = RetryPolicy::builder().attempts(3).build().unwrap();
    let command = observer.tracers.tracer("library").start("lend book copy to reader");
    let context = Context::current_with_span(command);
    let caller = context.span().span_context().clone();
    let (records, _guard) = LogRecords::collect();
    let mut attempts = 0;

    let operation = || {
        attempts += 1;
        let waiting = 8;
        std::future::ready(if attempts < 3 { Err(Error::QueueFull { waiting }) } else { Ok(()) })
    };
    let call = Retry::new(&policy, operation).telemetry(&telemetry, "import");
    let _ = call.with_context(context).await;

    let records = records.all();
    assert_eq!(records.len(), 2, "{records:?}");
    for (record, attempt) in records.iter().zip(["2", "3"]) {
        assert_eq!(record.level, Level::DEBUG);
        assert_eq!(record.field("message"), "another attempt follows");
        assert_eq!(record.field("attempt"), attempt);
        assert_eq!((record.field("scope"), record.field("reason")), ("import", "transient"));
        assert!(record.field("pause").parse::<f64>().unwrap() >= 0.0);
        assert_eq!(record.field("trace_id"), caller.trace_id().to_string());
        assert_eq!(record.field("span_id"), caller.span_id().to_string());
        assert_eq!(record.fields.get("store"), None);
    }
}

/// The store works on several threads here, so that the closure can wait for another append.
#[test]
fn a_decision_that_takes_the_lock_is_one_record() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (log, observer) = (runtime.block_on(Log::new()), Observer::new());
    let other = runtime.block_on(log.writer());
    let policy = RetryPolicy::builder().attempts(5).escalate_after(2).build().unwrap();
    let store = runtime.block_on(connect(log.config().retry(policy), &observer));
    // The decision runs on this thread.
    let (records, _guard) = LogRecords::collect();
    let rounds = AtomicU32::new(0);

    let decided = store.decide(loans_of("b-1"), |_| {
        if rounds.fetch_add(1, Ordering::Relaxed) < 2 {
            wait(other.append([lent("b-1", "r-2")], AppendCondition::none())).unwrap();
        }
        Ok::<_, Error>(Decision::append([lent("b-1", "r-1")]))
    });
    let decided = runtime.block_on(decided).unwrap();

    assert!(decided.is_escalated());
    let records = records.of("decision takes the log's lock after several conflicts");
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record.level, Level::INFO);
    assert_eq!((record.field("store"), record.field("scope")), ("lending", "decide"));
}

#[tokio::test]
async fn a_replica_that_is_found_unfit_is_one_warning() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config().name("lending").telemetry(observer.telemetry());
    let (records, _guard) = LogRecords::collect();
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();

    let name = &log.name;
    let drop = format!("DROP TABLE {name}; DELETE FROM eddyline_schema WHERE log = '{name}'");
    log.sql().await.batch_execute(&drop).await.unwrap();
    Schema::new(&log.config()).migrate().await.unwrap();
    wait_until(async || {
        reader.replicas().iter().any(|replica| replica.state == ReplicaState::OtherLog)
    })
    .await;

    let faults: Vec<_> = records
        .all()
        .into_iter()
        .filter(|record| record.field("message").starts_with("replica is unfit"))
        .collect();
    let [fault] = faults.as_slice() else { panic!("{faults:?}") };
    assert_eq!(fault.level, Level::WARN);
    assert_eq!((fault.field("server"), fault.field("reason")), ("replica-0", "other_log"));
    assert_eq!(fault.field("store"), "lending");
}

#[tokio::test]
async fn each_failed_connection_is_one_warning() {
    let (server, observer) = (secure_server().await, Observer::new());
    let url = as_user(&server.url(), &format!("{MEMBER}:wrong-secret"));
    let config = Config::new(&url).unwrap().name("lending").telemetry(observer.telemetry());
    let (records, _guard) = LogRecords::collect();

    let error = Store::<ReadWrite>::connect(config).await.unwrap_err();

    let records = records.of("connection failed");
    let counted = observer.counted("eventstore.connection.failures");
    assert!(!records.is_empty());
    assert_eq!(records.len() as u64, counted.values().sum::<u64>());
    for record in records {
        assert_eq!((record.level, record.field("store")), (Level::WARN, "lending"));
        assert_eq!(record.field("class"), "authentication");
        assert_eq!(record.field("error"), error.to_string());
        assert!(record.field("pool").starts_with("primary"), "{record:?}");
        assert!(!format!("{record:?}").contains("secret"), "{record:?}");
    }
}

/// Messages of the server quote values of parameters, and those of decoders quote payloads.
#[tokio::test]
async fn records_contain_no_secrets() {
    let (log, observer) = (Log::new().await, Observer::new());
    let url = as_user(&log.primary_url(), &format!("postgres:{PASSWORD}"));
    let config = Config::new(&url).unwrap().log(&log.name).retry(RetryPolicy::never());
    let store = connect(config.lock_timeout(Duration::from_millis(50)), &observer).await;
    let (records, _guard) = LogRecords::collect();
    let filter = Filter::any_of([("BookID", "book-secret")]).build().unwrap();
    let secret = || lent("book-secret", "reader-secret");
    let refuse = format!(
        "CREATE FUNCTION refuse_{0}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'refused %', NEW; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON {0}
            FOR EACH ROW EXECUTE FUNCTION refuse_{0}();",
        log.name
    );

    let history = store.query(&filter).await.unwrap();
    store.append([secret()], history.condition()).await.unwrap();
    store.append([secret()], history.condition()).await.unwrap_err();
    let sql = log.sql().await;
    sql.batch_execute(&refuse).await.unwrap();
    let refused = store.append([secret()], AppendCondition::none()).await.unwrap_err();
    sql.batch_execute(&format!("ALTER TABLE {0} RENAME TO {0}_moved", log.name)).await.unwrap();
    store.query(&filter).await.unwrap_err();

    // The server's message has the secret, so the test would see it.
    assert!(format!("{refused:?}").contains("book-secret"), "{refused:?}");
    let text = format!("{:?}", records.all());
    assert!(records.all().len() >= 5, "{text}");
    assert!(text.contains("refused: SQLSTATE P0001"), "{text}");
    for secret in ["secret", PASSWORD] {
        assert!(!text.contains(secret), "{text}");
    }
}
