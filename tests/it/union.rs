//! Unions of filters: `Filter::union` and `|`.

use eddyline::{AppendCondition, Error, Filter};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::generate::{event, filter, items, join};
use crate::support::{Log, lent};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// A union matches the events that one of its filters matches, and no other.
    #[test]
    fn a_union_matches_what_one_of_its_filters_matches(
        filters in vec(filter(), 1..4),
        events in vec(event(), 1..12),
    ) {
        let union = Filter::union(filters.clone()).unwrap();

        for event in &events {
            let any = filters.iter().any(|filter| filter.matches(event));
            prop_assert_eq!(union.matches(event), any);
        }
    }

    /// A union equals the filter that one builder makes of all items.
    #[test]
    fn a_union_equals_the_filter_of_one_builder(one in items(), other in items()) {
        let both = [one.as_slice(), other.as_slice()].concat();

        let union = (&join(&one) | &join(&other)).unwrap();

        prop_assert_eq!(&union, &join(&both));
        prop_assert_eq!(&(join(&other) | join(&one)).unwrap(), &union);
        prop_assert_eq!((union.clone() | join(&one)).unwrap(), union);
    }
}

fn course(course: u32) -> Filter {
    Filter::all_of([("CourseID", course)]).build().unwrap()
}

#[test]
fn a_chain_of_unions_needs_one_question_mark() -> Result<(), Error> {
    let three = (course(1) | course(2) | course(3))?;
    let (one, two, other) = (course(1), course(2), course(3));

    assert_eq!(three, Filter::any_of([("CourseID", 1), ("CourseID", 2), ("CourseID", 3)]).build()?);
    assert_eq!((&one | &two | &other)?, three);
    assert_eq!((three | Filter::everything())?, Filter::everything());
    Ok(())
}

#[test]
fn a_union_of_different_periods_is_refused() {
    let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let until: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
    let in_period = |filter: Filter| filter.occurred(from..=until).unwrap();

    let joined = (in_period(course(1)) | in_period(course(2))).unwrap();
    let refused = [
        in_period(course(1)) | course(2),
        course(1) | course(2).occurred(from..).unwrap(),
        in_period(course(1)) | course(2).occurred(from..).unwrap(),
    ];

    assert_eq!(joined, in_period((course(1) | course(2)).unwrap()));
    for refused in refused {
        let Err(Error::InvalidFilter { reason }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("Filter::occurred"), "{reason}");
    }
}

#[test]
fn a_union_has_the_limits_of_one_filter() {
    let courses_from = |first: u32| {
        let courses = first..first + 6_000;
        Filter::any_of(courses.map(|course| ("CourseID", course))).build().unwrap()
    };

    assert!(matches!(courses_from(0) | courses_from(6_000), Err(Error::InvalidFilter { .. })));
    assert!(matches!(Filter::union([]), Err(Error::InvalidFilter { .. })));
    assert!((courses_from(0) | course(9_000)).is_ok());
}

#[tokio::test]
async fn a_condition_on_a_union_covers_each_filter() {
    let log = Log::new().await;
    let store = log.writer().await;
    let of = |key: &str, id: &str| Filter::all_of([(key, id)]).build().unwrap();
    let either = (of("BookID", "b-1") | of("ReaderID", "r-1")).unwrap();

    for event in [lent("b-1", "r-2"), lent("b-2", "r-1")] {
        let history = store.query(&either).await.unwrap();
        store.append([event], AppendCondition::none()).await.unwrap();
        let refused = store.append([lent("b-3", "r-3")], history.condition()).await;

        assert!(refused.is_err_and(|error| error.is_conflict()));
    }
    let history = store.query(&either).await.unwrap();
    store.append([lent("b-2", "r-2")], AppendCondition::none()).await.unwrap();
    store.append([lent("b-3", "r-3")], history.condition()).await.unwrap();
    assert_eq!(history.events().len(), 2);
}
