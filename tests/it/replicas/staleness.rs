//! Reads with a bound on the staleness.

use std::time::Duration;

use eddyline::{Error, Fallback, Filter, ReadOnly, Store};
use futures_util::future::join_all;

use super::unlimited;
use crate::replica::append;
use crate::support::{Replicated, promptly, unreachable_url, wait_until};

const LONG: Duration = Duration::from_secs(60 * 60);

async fn bounded(replicated: &Replicated, timeout: Duration) -> Store<ReadOnly> {
    let primary = replicated.cluster.primary().url("postgres");
    let config = unlimited(replicated.replica_config()).replica_timeout(timeout);
    let config = config.primary(&primary, Fallback::Never).unwrap();
    Store::<ReadOnly>::connect(config).await.unwrap()
}

#[tokio::test]
async fn a_read_without_staleness_sees_every_append_that_has_returned() {
    let replicated = Replicated::new().await;
    let (writer, reader) = (replicated.writer().await, bounded(&replicated, LONG).await);
    let fresh = reader.max_staleness(Duration::ZERO).unwrap();

    for number in 0..30 {
        let last = append(&writer, &format!("b-{number}")).await;
        let heads = promptly(join_all((0..5).map(|_| fresh.head()))).await;

        for head in heads {
            assert!(head.unwrap() >= last);
        }
    }
    let history = fresh.query(Filter::everything()).await.unwrap();
    assert_eq!(history.events().len(), 30);
    assert!(history.served_by().name().starts_with("replica-"));
}

#[tokio::test]
async fn a_read_is_refused_if_no_replica_is_fresh_enough() {
    let replicated = Replicated::new().await;
    let (writer, reader) =
        (replicated.writer().await, bounded(&replicated, Duration::from_millis(200)).await);
    let fresh = reader.max_staleness(Duration::ZERO).unwrap();
    let before = append(&writer, "b-1").await;
    replicated.cluster.wait_for_replay().await.unwrap();
    replicated.pause_replay().await;

    // A read is also refused while both replicas are left out, on a busy machine.
    let answers = async |reader: &Store<ReadOnly>, expected| {
        wait_until(async || reader.head().await.is_ok_and(|head| head == expected)).await;
    };

    // The replicas have everything, although they replay nothing.
    answers(&fresh, before).await;
    let last = append(&writer, "b-2").await;
    let refused = fresh.head().await;
    answers(&reader.max_staleness(LONG).unwrap(), before).await;
    replicated.resume_replay().await;

    let Err(Error::ReplicaBehind { position, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(position, last);
    answers(&fresh, last).await;
}

#[tokio::test]
async fn a_bound_needs_a_primary_that_answers() {
    let replicated = Replicated::new().await;
    let config = replicated.replica_config().replica_timeout(Duration::from_millis(200));
    let without = Store::<ReadOnly>::connect(config.clone()).await.unwrap();
    let config = config.primary(&unreachable_url(), Fallback::Never).unwrap();
    let unreachable = Store::<ReadOnly>::connect(config).await.unwrap();

    let missing = without.max_staleness(LONG).unwrap_err();
    let read = unreachable.max_staleness(LONG).unwrap().head().await.unwrap_err();

    assert!(matches!(missing, Error::InvalidConfig { setting: "max_staleness", .. }), "{missing}");
    assert!(
        matches!(&read, Error::StalenessUnknown { server, .. } if server.starts_with("primary"))
    );
    assert!(read.is_timeout());
    unreachable.head().await.unwrap();
}
