use eddyline::{AppendCondition, Error, Filter, SequenceNumber};

use crate::support::{Log, lent, returned};

fn loans_of(book: &str) -> Filter {
    Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
        .any_of([("BookID", book)])
        .build()
        .unwrap()
}

#[tokio::test]
async fn stores_events_in_the_order_given_and_says_where() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events = [lent("b-1", "r-1"), returned("b-1", "r-1"), lent("b-1", "r-2")];

    let appended = store.append(events.clone(), AppendCondition::none()).await.unwrap();

    let history = store.query(Filter::everything()).await.unwrap();
    let stored: Vec<_> = history.events().iter().map(|event| event.id()).collect();
    assert_eq!(stored, events.iter().map(|event| event.id()).collect::<Vec<_>>());
    assert_eq!(history.events()[0].sequence_number(), appended.first());
    assert_eq!(history.events()[2].sequence_number(), appended.last());
    assert_eq!(history.position(), appended.last());
}

#[tokio::test]
async fn conflicts_when_a_matching_event_arrives_first() {
    let log = Log::new().await;
    let store = log.writer().await;
    let history = store.query(loans_of("b-1")).await.unwrap();
    let first = store.append([lent("b-1", "r-1")], history.condition()).await.unwrap();

    let refused = store.append([lent("b-1", "r-2")], history.condition()).await;

    let Err(Error::Conflict { after, event, event_type }) = refused else { panic!("{refused:?}") };
    assert_eq!(after, SequenceNumber::ZERO);
    assert_eq!(event, first.first());
    assert_eq!(event_type, "BookCopyLentToReader");
    assert_eq!(store.head().await.unwrap(), first.last());
}

#[tokio::test]
async fn accepts_when_what_arrived_first_does_not_match() {
    let log = Log::new().await;
    let store = log.writer().await;
    let history = store.query(loans_of("b-1")).await.unwrap();
    store.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();

    let appended = store.append([lent("b-1", "r-1")], history.condition()).await;

    assert!(appended.is_ok(), "{appended:?}");
}
