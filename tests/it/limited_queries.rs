//! The append condition of a history whose query omitted events.

use std::sync::OnceLock;

use eddyline::{AppendCondition, Error, Filter, Query, SequenceNumber};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

use crate::support::{Log, lent, loans_of};

#[tokio::test]
async fn events_beyond_the_limit_break_the_condition() {
    let log = Log::new().await;
    let store = log.writer().await;
    let loans = (0..3).map(|_| lent("b-1", "r-1"));
    let first = store.append(loans, AppendCondition::none()).await.unwrap().first();

    for (limit, first_omitted) in [(0, Some(1)), (1, Some(2)), (2, Some(3)), (3, None), (4, None)] {
        let history = store.query(Query::new(&loans_of("b-1")).limit(limit)).await.unwrap();
        let answer = store.append([lent("b-2", "r-1")], history.condition()).await;

        match (answer, first_omitted) {
            (Ok(_), None) => {}
            (Err(Error::Conflict { position, .. }), Some(nth)) => {
                assert_eq!(position, SequenceNumber::new(first.value() + nth - 1), "{limit}");
            }
            (answer, _) => panic!("{limit}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn events_after_up_to_break_the_condition() {
    let log = Log::new().await;
    let store = log.writer().await;
    let first = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap().last();
    let second = store.append([lent("b-1", "r-2")], AppendCondition::none()).await.unwrap().last();
    let up_to = async |position| {
        let query = Query::new(&loans_of("b-1")).up_to(position);
        store.query(query).await.unwrap().condition()
    };

    let refused = store.append([lent("b-2", "r-1")], up_to(first).await).await;
    let accepted = store.append([lent("b-2", "r-1")], up_to(second).await).await;

    assert!(matches!(refused, Err(Error::Conflict { position, .. }) if position == second));
    assert!(accepted.is_ok());
}

#[tokio::test]
async fn omitted_older_events_do_not_break_the_condition() {
    let log = Log::new().await;
    let store = log.writer().await;
    let loans = (0..3).map(|_| lent("b-1", "r-1"));
    let last = store.append(loans, AppendCondition::none()).await.unwrap().last();
    let query = || Query::new(&loans_of("b-1"));
    let queries =
        [query().newest_first().limit(1), query().newest_first().limit(0), query().after(last)];

    for query in queries {
        let history = store.query(query.clone()).await.unwrap();
        let accepted = store.append([lent("b-2", "r-1")], history.condition()).await;

        assert!(accepted.is_ok(), "{query:?}: {accepted:?}");
    }
    let history = store.query(query().newest_first().limit(1)).await.unwrap();
    store.append([lent("b-1", "r-2")], AppendCondition::none()).await.unwrap();
    let refused = store.append([lent("b-2", "r-1")], history.condition()).await;
    assert!(refused.is_err_and(|error| error.is_conflict()));
}

/// For any query, an append on the history's condition is refused exactly if the filter matches an
/// event after the history's position. Of the events up to that position, the history lacks only
/// those that the query omitted as older.
#[test]
fn a_condition_is_broken_exactly_by_matching_events_after_its_position() {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
    let store = runtime.block_on(async { Log::new().await.writer().await });
    let options = (
        proptest::option::of(0_u32..6),
        proptest::option::of(0_u64..8),
        proptest::option::of(0_u64..8),
        any::<bool>(),
    );
    let strategy = (vec(0_u8..2, 1..7), options);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) };
    TestRunner::new(config)
        .run(&strategy, |(books, (limit, after, up_to, newest_first))| {
            runtime.block_on(async {
                let book = format!("b-{}", uuid::Uuid::now_v7());
                let loans = books.iter().map(|&which| match which {
                    0 => lent(&book, "r-1"),
                    _ => lent("b-other", "r-1"),
                });
                let begin = store.head().await.unwrap().value();
                store.append(loans, AppendCondition::none()).await.unwrap();
                let at = |offset: u64| SequenceNumber::new(begin + offset);
                let filter = Filter::any_of([("BookID", &book)]).build().unwrap();
                let mut query = Query::new(&filter);
                query = limit.map_or(query.clone(), |limit| query.limit(limit));
                query = after.map_or(query.clone(), |after| query.after(at(after)));
                query = up_to.map_or(query.clone(), |up_to| query.up_to(at(up_to)));
                query = if newest_first { query.newest_first() } else { query };

                let all = store.query(&filter).await.unwrap();
                let history = store.query(query.clone()).await.unwrap();
                let answer = store.append([lent("b-2", "r-1")], history.condition()).await;

                let position = history.position();
                let newer = all.events().iter().find(|one| one.sequence_number() > position);
                match (answer, newer) {
                    (Ok(_), None) => {}
                    (Err(Error::Conflict { position, .. }), Some(newer)) => {
                        prop_assert_eq!(position, newer.sequence_number());
                    }
                    (answer, _) => prop_assert!(false, "{:?}: {:?}", query, answer),
                }
                let read = history.events().iter().map(|one| one.sequence_number());
                prop_assert!(read.clone().all(|one| one <= position));
                if !newest_first {
                    let expected = all.events().iter().map(|one| one.sequence_number());
                    let expected: Vec<_> = expected
                        .filter(|&one| one <= position && after.is_none_or(|after| one > at(after)))
                        .collect();
                    prop_assert_eq!(read.collect::<Vec<_>>(), expected);
                }
                Ok(())
            })
        })
        .unwrap();
}
