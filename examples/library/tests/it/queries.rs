use library::queries::{
    BookInCirculation, BookLentByReader, BookLentOut, BooksInCirculation, BooksLentByReader,
    BooksLentOut, CanceledReader, CanceledReaders, FinishedLending, FinishedLendings, Order,
    RegisteredReader, RegisteredReaders, RemovedBook, RemovedBooks,
};

use crate::support::{
    Library, NAME, add, at, book, cancel, data, give_back, lend, reader, register, remove,
};

/// Returns a library with this state:
///
/// - Copy 1 is lent to reader 2, copy 2 was returned by reader 1.
/// - Copy 3 is removed, copy 4 was removed and added again.
/// - Reader 3 is canceled, reader 4 was canceled and registered again.
async fn library() -> Library {
    let library = Library::open().await;
    library.run(&add(1, 1)).await;
    library.run(&add(2, 2)).await;
    library.run(&add(3, 3)).await;
    library.run(&add(4, 4)).await;
    library.run(&register(1, 5)).await;
    library.run(&register(2, 6)).await;
    library.run(&register(3, 7)).await;
    library.run(&register(4, 8)).await;
    library.run(&lend(1, 1, 9)).await;
    library.run(&lend(2, 1, 10)).await;
    library.run(&give_back(2, 1, 11)).await;
    library.run(&give_back(1, 1, 12)).await;
    library.run(&remove(3, 13)).await;
    library.run(&remove(4, 14)).await;
    library.run(&cancel(3, 15)).await;
    library.run(&cancel(4, 16)).await;
    library.run(&lend(1, 2, 17)).await;
    library.run(&add(4, 18)).await;
    library.run(&register(4, 19)).await;
    library
}

#[tokio::test]
async fn books_in_circulation_marks_lent_copies() {
    let library = library().await;

    let circulation = library.query(&BooksInCirculation).await.value;

    let expected = [(1, 1, true), (2, 2, false), (4, 18, false)];
    let expected = expected.map(|(number, minute, is_currently_lent)| BookInCirculation {
        book: book(number),
        data: data(),
        added_at: at(minute),
        is_currently_lent,
    });
    assert_eq!((circulation.books.as_slice(), circulation.count), (&expected[..], 3));
}

#[tokio::test]
async fn books_lent_out_lists_copies_with_their_borrowers() {
    let library = library().await;

    let loans = library.query(&BooksLentOut).await.value;

    assert_eq!(loans, [BookLentOut { book: book(1), reader: reader(2), lent_at: at(17) }]);
}

#[tokio::test]
async fn books_lent_by_reader_lists_the_copies_of_one_reader() {
    let library = library().await;

    let first = library.query(&BooksLentByReader { reader: reader(1) }).await.value;
    let second = library.query(&BooksLentByReader { reader: reader(2) }).await.value;

    assert_eq!(first, []);
    assert_eq!(second, [BookLentByReader { book: book(1), lent_at: at(17) }]);
}

#[tokio::test]
async fn registered_readers_excludes_canceled_readers() {
    let library = library().await;

    let readers = library.query(&RegisteredReaders).await.value;

    let expected = [(1, 5), (2, 6), (4, 19)].map(|(number, minute)| RegisteredReader {
        reader: reader(number),
        name: NAME.to_owned(),
        registered_at: at(minute),
    });
    assert_eq!(readers, expected);
}

#[tokio::test]
async fn canceled_readers_excludes_readers_who_registered_again() {
    let library = library().await;

    let readers = library.query(&CanceledReaders).await.value;

    assert_eq!(readers, [CanceledReader { reader: reader(3), canceled_at: at(15) }]);
}

#[tokio::test]
async fn removed_books_excludes_copies_that_were_added_again() {
    let library = library().await;

    let books = library.query(&RemovedBooks).await.value;

    assert_eq!(books, [RemovedBook { book: book(3), removed_at: at(13) }]);
}

#[tokio::test]
async fn finished_lendings_returns_at_most_the_requested_number() {
    let library = library().await;

    let newest = library.query(&FinishedLendings { max: 1, order: Order::NewestFirst }).await.value;
    let oldest = library.query(&FinishedLendings { max: 9, order: Order::OldestFirst }).await.value;

    let [first, last] = [(2, 11), (1, 12)].map(|(number, minute)| FinishedLending {
        book: book(number),
        reader: reader(1),
        returned_at: at(minute),
    });
    assert_eq!((newest.lendings.as_slice(), newest.count, newest.total), (&[last][..], 1, 2));
    assert_eq!((oldest.lendings.as_slice(), oldest.total), (&[first, last][..], 2));
}

#[tokio::test]
async fn queries_of_an_empty_library_have_empty_answers() {
    let library = Library::open().await;

    let all = FinishedLendings { max: 9, order: Order::OldestFirst };
    assert_eq!(library.query(&BooksInCirculation).await.value.count, 0);
    assert_eq!(library.query(&BooksLentOut).await.value, []);
    assert_eq!(library.query(&BooksLentByReader { reader: reader(1) }).await.value, []);
    assert_eq!(library.query(&RegisteredReaders).await.value, []);
    assert_eq!(library.query(&CanceledReaders).await.value, []);
    assert_eq!(library.query(&RemovedBooks).await.value, []);
    assert_eq!(library.query(&all).await.value.total, 0);
}
