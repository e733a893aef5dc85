//! The canonical form of filters.

use eddyline::Filter;
use proptest::prelude::*;

use crate::distinguishing_events::witnesses;
use crate::generate::{self, Item, join};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Two filters have the same canonical form if and only if they match the same events.
    #[test]
    fn equal_canonical_forms_mean_equal_matches(
        one in generate::items(),
        other in generate::items(),
    ) {
        let (one, other) = (join(&one), join(&other));
        let events: Vec<_> = witnesses(&one).into_iter().chain(witnesses(&other)).collect();

        let same_meaning = events.iter().all(|event| one.matches(event) == other.matches(event));

        prop_assert_eq!(one.canonical() == other.canonical(), same_meaning);
        prop_assert_eq!(one.key() == other.key(), same_meaning);
        prop_assert_eq!(one == other, same_meaning);
    }

    /// Order, repetition and implied alternatives do not change the canonical form.
    #[test]
    fn order_and_repetition_do_not_change_the_canonical_form(
        items in generate::items().prop_shuffle(),
        again in any::<prop::sample::Index>(),
    ) {
        let mut rearranged: Vec<Item> = items.iter().rev().cloned().collect();
        rearranged.push(items[again.index(items.len())].clone());
        for item in &mut rearranged {
            item.types.reverse();
            item.any_of.reverse();
            item.all_of.reverse();
            item.types.extend_from_within(..);
            item.any_of.extend_from_within(..);
        }

        prop_assert_eq!(join(&items), join(&rearranged));
    }

    /// A filter matches the events that are built from its canonical form.
    #[test]
    fn a_filter_matches_its_witnesses(items in generate::items()) {
        let filter = join(&items);

        for event in witnesses(&filter) {
            prop_assert!(filter.matches(&event));
        }
    }
}

#[test]
fn filters_that_naive_concatenation_confuses_differ() {
    let pairs = [
        (Filter::any_of([("a", "b,c=d")]), Filter::any_of([("a", "b"), ("c", "d")])),
        (Filter::any_of([("a=b", "c")]), Filter::any_of([("a", "b=c")])),
        (Filter::types(["A,B"]), Filter::types(["A", "B"])),
        (Filter::any_of([("a", "1")]), Filter::any_of([("a", 1)])),
        (Filter::all_of([("a", 1), ("b", 1)]), Filter::any_of([("a", 1), ("b", 1)])),
    ];
    for (one, other) in pairs {
        let (one, other) = (one.build().unwrap(), other.build().unwrap());
        assert_ne!(one.canonical(), other.canonical());
        assert_ne!(one.key(), other.key());
    }
}

#[test]
fn the_canonical_form_omits_implied_alternatives() {
    let wide = Filter::any_of([("BookID", "b-1")]);
    let narrow =
        Filter::types(["BookCopyLentToReader"]).all_of([("BookID", "b-1"), ("ReaderID", "r-1")]);

    let filter = narrow.or(wide.clone()).build().unwrap();

    assert_eq!(filter, wide.build().unwrap());
}

#[test]
fn all_of_predicates_on_one_key_are_merged() {
    let nested = |key: &str| serde_json::json!({ key: 1 });
    let two = Filter::all_of([("Address", nested("City")), ("Address", nested("Street"))]);
    let one = Filter::all_of([("Address", serde_json::json!({ "Street": 1.0, "City": 1 }))]);

    assert_eq!(two.build().unwrap(), one.build().unwrap());
}
