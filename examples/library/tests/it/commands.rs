use library::commands::{MAX_LOANS, Outcome};
use library::domain::Metadata;

use crate::support::{Library, add, at, cancel, give_back, lend, register, remove};

#[tokio::test]
async fn adding_a_copy_twice_stores_one_event() {
    let library = Library::open().await;

    library.assert_stores(&add(1, 1), "BookCopyAddedToCirculation").await;
    library.assert_stores(&remove(1, 2), "BookCopyRemovedFromCirculation").await;
    library.assert_idempotent(&add(1, 3)).await;
}

#[tokio::test]
async fn removing_a_copy_twice_stores_one_event() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&add(2, 2)).await;

    library.assert_stores(&remove(1, 3), "BookCopyRemovedFromCirculation").await;
    library.assert_idempotent(&remove(2, 4)).await;
}

#[tokio::test]
async fn removing_a_copy_is_rejected_while_it_is_lent() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&register(1, 2)).await;
    library.run(&lend(1, 1, 3)).await;

    let lent = "RemovingBookFromCirculationFailed: book is currently lent";
    let unknown = "RemovingBookFromCirculationFailed: book was never added to circulation";
    library.assert_rejected(&remove(1, 4), lent).await;
    library.assert_rejected(&remove(2, 5), unknown).await;
}

#[tokio::test]
async fn registering_a_reader_twice_stores_one_event() {
    let library = Library::open().await;

    library.assert_stores(&register(1, 1), "ReaderRegistered").await;
    library.assert_stores(&cancel(1, 2), "ReaderContractCanceled").await;
    library.assert_idempotent(&register(1, 3)).await;
}

#[tokio::test]
async fn canceling_a_contract_twice_stores_one_event() {
    let library = Library::open().await;
    library.run(&register(1, 1)).await;
    library.run(&register(2, 2)).await;

    library.assert_stores(&cancel(1, 3), "ReaderContractCanceled").await;
    library.assert_idempotent(&cancel(2, 4)).await;
}

#[tokio::test]
async fn canceling_a_contract_is_rejected_while_a_book_is_lent() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&register(1, 2)).await;
    library.run(&lend(1, 1, 3)).await;

    let loans = "CancelingReaderContractFailed: reader has outstanding book loans";
    let unknown = "CancelingReaderContractFailed: reader was never registered";
    library.assert_rejected(&cancel(1, 4), loans).await;
    library.assert_rejected(&cancel(2, 5), unknown).await;
}

#[tokio::test]
async fn lending_a_copy_twice_stores_one_event() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&add(2, 2)).await;
    library.run(&register(1, 3)).await;

    library.assert_stores(&lend(1, 1, 4), "BookCopyLentToReader").await;
    library.assert_idempotent(&lend(2, 1, 5)).await;
}

#[tokio::test]
async fn lending_a_copy_is_rejected_by_each_rule() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&register(1, 2)).await;
    library.run(&register(2, 3)).await;
    library.run(&register(3, 4)).await;
    library.run(&cancel(3, 5)).await;
    library.run(&lend(1, 1, 6)).await;

    let lent = "LendingBookToReaderFailed: book is already lent";
    let absent = "LendingBookToReaderFailed: book is not in circulation";
    let unregistered = "LendingBookToReaderFailed: reader is not currently registered";
    library.assert_rejected(&lend(1, 2, 7), lent).await;
    library.assert_rejected(&lend(2, 2, 8), absent).await;
    library.assert_rejected(&lend(1, 3, 9), unregistered).await;
}

#[tokio::test]
async fn lending_an_eleventh_copy_is_rejected() {
    let copies = u32::try_from(MAX_LOANS).unwrap() + 1;
    let library = Library::open().await;
    library.run(&register(1, 0)).await;
    for number in 1..=copies {
        library.assert_stores(&add(number, number), "BookCopyAddedToCirculation").await;
    }

    for number in 1..copies {
        library.assert_stores(&lend(number, 1, 20), "BookCopyLentToReader").await;
    }
    let full = "LendingBookToReaderFailed: reader has too many books";
    library.assert_rejected(&lend(copies, 1, 30), full).await;
}

#[tokio::test]
async fn returning_a_copy_twice_stores_one_event() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&add(2, 2)).await;
    library.run(&register(1, 3)).await;
    library.run(&lend(1, 1, 4)).await;
    library.run(&lend(2, 1, 5)).await;

    library.assert_stores(&give_back(1, 1, 6), "BookCopyReturnedByReader").await;
    library.assert_idempotent(&give_back(2, 1, 7)).await;
}

#[tokio::test]
async fn returning_a_copy_is_rejected_by_each_rule() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&register(1, 2)).await;
    library.run(&register(2, 3)).await;
    library.assert_stores(&lend(1, 1, 4), "BookCopyLentToReader").await;

    let other = "ReturningBookFromReaderFailed: book is not lent to this reader";
    let absent = "ReturningBookFromReaderFailed: book was never added to circulation";
    let unknown = "ReturningBookFromReaderFailed: reader was never registered";
    library.assert_rejected(&give_back(1, 2, 5), other).await;
    library.assert_rejected(&give_back(2, 2, 6), absent).await;
    library.assert_rejected(&give_back(1, 3, 7), unknown).await;
}

#[tokio::test]
async fn only_one_of_two_concurrent_loans_of_a_copy_succeeds() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&register(1, 2)).await;
    library.run(&register(2, 3)).await;
    library.run(&lend(1, 1, 4)).await;
    library.run(&give_back(1, 1, 5)).await;

    let (one, other) = (lend(1, 1, 6), lend(1, 2, 6));
    let (one, other) = tokio::join!(library.commands.handle(&one), library.commands.handle(&other));

    let successes = [&one, &other].map(|result| matches!(result, Ok(Outcome::Success(_))));
    assert_eq!(successes.iter().filter(|success| **success).count(), 1, "{one:?} {other:?}");
    let lent = library.events().await.into_iter();
    assert_eq!(lent.filter(|event| event.event_type() == "BookCopyLentToReader").count(), 2);
}

#[tokio::test]
async fn an_outcome_says_what_its_decision_took() {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&register(1, 2)).await;
    library.run(&register(2, 2)).await;

    let lent = library.commands.handle(&lend(1, 1, 3)).await.unwrap();
    let repeated = library.commands.handle(&lend(1, 1, 4)).await.unwrap();

    let effort = lent.receipt().unwrap().effort;
    assert_eq!((effort.events, effort.attempts, effort.conflicts), (2, 1, 0));
    let Outcome::Idempotent { effort, .. } = repeated else { panic!("{repeated:?}") };
    assert_eq!((effort.events, effort.is_escalated), (3, false));
}

#[tokio::test]
async fn events_carry_their_time_and_the_id_of_their_command() {
    let library = Library::open().await;
    library.run(&add(1, 7)).await;

    let events = library.events().await;

    let [event] = events.as_slice() else { panic!("{events:?}") };
    let metadata: Metadata = event.metadata().unwrap();
    let payload: serde_json::Value = event.payload().unwrap();
    assert_eq!(event.occurred_at(), at(7).timestamp());
    assert_eq!(payload["OccurredAt"], "2026-03-01T08:07:00.000000Z");
    assert_eq!(metadata.message_id, event.id());
    assert_eq!(metadata.causation_id, metadata.correlation_id);
}
