//! Weights, and replicas that are added and removed.

use eddyline::{AppendCondition, Config, Error, Event, Filter, ReadOnly, Replica, Store};
use futures_util::TryStreamExt;

use crate::replica::{of, read};
use crate::support::{Replicated, unreachable_url, wait_until};

#[tokio::test]
async fn reads_are_spread_by_weight() {
    let replicated = Replicated::new().await;
    let [first, second] = replicated.cluster.standbys() else { panic!("two replicas") };
    let heavy = Replica::new(&first.url("postgres")).unwrap().weight(3.0);
    let config = Config::from(heavy).replica(&second.url("postgres")).unwrap();
    let reader = Store::<ReadOnly>::connect(config.log(&replicated.log)).await.unwrap();

    // A replica that answers too slowly, on a busy machine, is left out for a moment.
    let expected = of([("replica-0", 15), ("replica-1", 5)]);
    wait_until(async || read(&reader, 20).await == expected).await;
}

#[tokio::test]
async fn a_replica_of_weight_zero_is_used_while_no_other_can_be() {
    let replicated = Replicated::new().await;
    let [first, second] = replicated.cluster.standbys() else { panic!("two replicas") };
    let spare = Replica::new(&first.url("postgres")).unwrap().weight(0.0);
    let config = Config::from(spare).replica(&second.url("postgres")).unwrap();
    let reader = Store::<ReadOnly>::connect(config.log(&replicated.log)).await.unwrap();

    wait_until(async || read(&reader, 10).await == of([("replica-1", 10)])).await;
    second.stop().await.unwrap();
    wait_until(async || read(&reader, 10).await == of([("replica-0", 10)])).await;
    second.start().await.unwrap();
    wait_until(async || read(&reader, 10).await == of([("replica-1", 10)])).await;
}

#[tokio::test]
async fn replicas_are_added_and_removed() {
    let replicated = Replicated::new().await;
    let [first, second] = replicated.cluster.standbys() else { panic!("two replicas") };
    let (first, second) = (first.url("postgres"), second.url("postgres"));
    let config = Config::new(&first).unwrap().log(&replicated.log);
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();

    let last = reader.remove_replica("replica-0").unwrap_err();
    let unknown = reader.remove_replica("replica-7").unwrap_err();
    let twice = reader.add_replica(&first).await.unwrap_err();
    let unreachable = reader.add_replica(&unreachable_url()).await.unwrap_err();
    let added = reader.add_replica(&second).await.unwrap();
    reader.clone().remove_replica("replica-0").unwrap();

    for error in [last, unknown, twice] {
        assert!(matches!(error, Error::InvalidConfig { setting: "replica", .. }), "{error}");
    }
    assert!(matches!(unreachable, Error::Unreachable { .. }), "{unreachable}");
    assert_eq!(read(&reader, 10).await, of([(added.as_str(), 10)]));
    let again = reader.add_replica(&first).await.unwrap();
    assert!(again != added && again != "replica-0", "{again}");
    wait_until(async || read(&reader, 2).await == of([(&added, 1), (&again, 1)])).await;
}

/// More than the socket buffers hold, so that the server is still sending.
#[tokio::test]
async fn a_stream_outlives_the_removal_of_its_replica() {
    let replicated = Replicated::new().await;
    let writer = replicated.writer().await;
    let note = format!(r#"{{"Note":"{}"}}"#, "x".repeat(100_000));
    let large = || Event::from_json("BookCopyLentToReader", note.clone()).unwrap();
    writer.append((0..200).map(|_| large()), AppendCondition::none()).await.unwrap();
    replicated.cluster.wait_for_replay().await.unwrap();
    let reader = replicated.reader().await;

    let mut events = reader.stream(Filter::everything()).await.unwrap();
    events.try_next().await.unwrap();
    let name = events.served_by().name().to_owned();
    reader.remove_replica(&name).unwrap();
    let other = read(&reader, 5).await;
    let mut rest = 0;
    while events.try_next().await.unwrap().is_some() {
        rest += 1;
    }

    assert!(!other.contains_key(&name), "{other:?}");
    assert_eq!(rest, 199);
    assert_eq!(events.served_by(), name.as_str());
}
