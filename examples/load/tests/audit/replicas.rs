use eddyline::{AppendCondition, Config, Event, ReadOnly, RetryPolicy, SequenceNumber, Store};
use load::LoadError;
use load::audit::{Audit, audit};
use load::replies::Replies;
use load::servers::{AuditStores, ServerName};
use serde_json::json;

use crate::small_library::{SmallLibrary, cluster};

/// Audits a log, with another log in the place of the replica.
async fn audit_with_replica(library: &SmallLibrary, other: &SmallLibrary) -> Audit {
    let stores = AuditStores {
        primary: library.primary().await,
        replicas: vec![(ServerName::Replica(0), other.primary().await)],
        gone: Vec::new(),
    };
    audit(&stores, Replies::after(SequenceNumber::new(u64::MAX))).await.unwrap()
}

/// Appends an event of a reader, with an id that depends on the name.
async fn register(library: &SmallLibrary, name: &str) -> Event {
    let event = Event::new("ReaderRegistered", &json!({ "Name": name })).unwrap();
    library.writer.append([event.clone()], AppendCondition::none()).await.unwrap();
    event
}

#[tokio::test]
async fn finds_a_replica_with_another_event() {
    let (library, other) = (SmallLibrary::open().await, SmallLibrary::open().await);
    let event = register(&library, "Ada Lovelace").await;
    let other_event = register(&other, "Grace Hopper").await;

    let found = audit_with_replica(&library, &other).await.findings.first;

    let shown = format!(
        "first the primary has event 1, ReaderRegistered {}, and the replica event 1, \
         ReaderRegistered {}",
        event.id(),
        other_event.id(),
    );
    assert!(found.len() == 1 && found[0].starts_with("replica-0 has 1 events"), "{found:?}");
    assert!(found[0].ends_with(&shown), "{found:?}");
}

#[tokio::test]
async fn a_replica_that_is_gone_is_a_finding() {
    let (library, other) = (SmallLibrary::open().await, SmallLibrary::open().await);
    register(&library, "Ada Lovelace").await;
    let stores = AuditStores {
        primary: library.primary().await,
        replicas: vec![(ServerName::Replica(0), other.primary().await)],
        gone: Vec::new(),
    };
    drop_database(&other).await;

    let replies = Replies::after(SequenceNumber::new(u64::MAX));
    let audit = audit(&stores, replies).await.unwrap();

    let found = audit.findings.first;
    assert!(found.len() == 1 && found[0].starts_with("replica-0 cannot be compared"), "{found:?}");
}

#[tokio::test]
async fn a_replica_that_cannot_be_reached_is_a_finding_and_the_others_are_compared() {
    let (library, other) = (SmallLibrary::open().await, SmallLibrary::open().await);
    register(&library, "Ada Lovelace").await;
    register(&other, "Grace Hopper").await;
    let unreachable = Config::new("postgres://postgres@127.0.0.1:1/library").unwrap();
    let error = Store::<ReadOnly>::connect(unreachable.retry(RetryPolicy::never())).await;
    let gone = vec![(ServerName::Replica(0), LoadError::Store(error.unwrap_err()))];
    let (primary, replicas) =
        (library.primary().await, vec![(ServerName::Replica(1), other.primary().await)]);

    let replies = Replies::after(SequenceNumber::new(u64::MAX));
    let audit = audit(&AuditStores { primary, replicas, gone }, replies).await.unwrap();

    let found = audit.findings.first;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("replica-0 cannot be reached: "), "{found:?}");
    assert!(found[1].starts_with("replica-1 has 1 events with hash "), "{found:?}");
}

async fn drop_database(library: &SmallLibrary) {
    let url = cluster().await.primary().url("postgres");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let statement = format!("DROP DATABASE {} WITH (FORCE)", library.database);
    client.batch_execute(&statement).await.unwrap();
}
