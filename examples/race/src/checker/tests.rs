use serde_json::json;

use super::*;
use crate::event::{Decision, Stamp};
use crate::fact::{CalmFault, Immunity, Server, Way};
use crate::filter::{FilterSpec, ItemSpec};
use crate::seen::SeenNumbers;

/// A log made by hand, with what everybody was told.
#[derive(Default)]
struct Story {
    log: Vec<Entry>,
    testimony: Testimony,
}

impl Story {
    /// Three decisions about one book, one after the other, and an event about another book; a
    /// reader saw it all, and one decision met a conflict on its way.
    fn clean() -> Self {
        let mut story = Self::default();
        story.accept(1, "b", Some((0, 0)));
        story.accept(2, "other", None);
        story.accept(4, "b", Some((1, 2)));
        story.accept(5, "b", Some((2, 4)));
        story.tell(Fact::Conflict(conflict()));
        story.tell(Fact::Tailed(tail([1, 2, 4, 5], 5)));
        story
    }

    fn write(&mut self, number: u64, book: &str, decision: Option<(u64, u64)>) -> Uuid {
        let id = Uuid::now_v7();
        let decision = decision.map(|(count, read_at)| Decision {
            filter: book_filter(book),
            since: 0,
            count,
            read_at,
        });
        self.log.push(Entry {
            number,
            id,
            event_type: "BookCopyLentToReader".into(),
            payload: json!({ "BookID": book }).to_string(),
            stamp: Stamp { append: id, index: 0, of: 1, decision },
        });
        id
    }

    fn accept(&mut self, number: u64, book: &str, decision: Option<(u64, u64)>) {
        let id = self.write(number, book, decision);
        self.tell(Fact::Accepted { ids: vec![id], first: number, last: number });
    }

    fn tell(&mut self, fact: Fact) {
        self.testimony.add(fact);
    }

    /// Returns the counts of all faults, in the order in which they are printed.
    fn verdict(&self) -> [u64; 6] {
        judge(&self.log, &self.testimony).all().map(|(_, faults)| faults.count)
    }
}

fn book_filter(book: &str) -> FilterSpec {
    let any_of = vec![("BookID".into(), json!(book))];
    ItemSpec { any_of, ..ItemSpec::default() }.into()
}

fn conflict() -> Conflict {
    Conflict {
        filter: book_filter("b"),
        read_at: 2,
        after: 2,
        event: Some((4, "BookCopyLentToReader".into())),
        head: None,
        immunity: None,
    }
}

fn tail(seen: impl IntoIterator<Item = u64>, position: u64) -> Tail {
    let seen = SeenNumbers::from_iter(seen);
    Tail { way: Way::Sql, server: Server::Replica, seen, position }
}

#[test]
fn finds_no_fault_where_there_is_none() {
    assert_eq!(Story::clean().verdict(), [0; 6]);
}

#[test]
fn wrong_counts_a_decision_taken_twice() {
    let mut story = Story::clean();
    story.accept(6, "b", Some((3, 5)));
    story.accept(7, "b", Some((3, 5)));

    assert_eq!(story.verdict(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn wrong_counts_a_decision_from_a_read_that_saw_too_much() {
    let mut story = Story::clean();
    story.accept(6, "b", Some((4, 5)));

    assert_eq!(story.verdict(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn wrong_counts_a_decision_for_nothing_from_a_read_that_was_not_so() {
    for (count, read_at, faults) in [(1, 2, 0), (1, 3, 0), (2, 4, 0), (1, 4, 1), (2, 3, 1)] {
        let mut story = Story::clean();
        let filter = book_filter("b");
        story.tell(Fact::DecidedNothing(Decision { filter, since: 0, count, read_at }));

        assert_eq!(story.verdict(), [faults, 0, 0, 0, 0, 0], "{count} at {read_at}");
    }
}

#[test]
fn wrong_counts_a_decision_overtaken_by_an_unconditional_append() {
    let mut story = Story::clean();
    story.accept(6, "b", None);
    story.accept(7, "b", Some((3, 5)));

    assert_eq!(story.verdict(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn missed_counts_what_a_reader_passed_without_seeing() {
    let mut story = Story::clean();
    story.tell(Fact::Tailed(tail([1, 4, 5], 5)));
    story.tell(Fact::Tailed(tail([5], 5)));

    assert_eq!(story.verdict(), [0, 4, 0, 0, 0, 0]);
}

#[test]
fn missed_leaves_out_what_a_reader_had_not_reached() {
    let mut story = Story::clean();
    story.tell(Fact::Tailed(tail([1, 2], 3)));

    assert_eq!(story.verdict(), [0; 6]);
}

#[test]
fn false_counts_a_conflict_that_names_an_event_without_cause() {
    let lent = "BookCopyLentToReader";
    for planted in [
        Conflict { event: Some((2, lent.into())), read_at: 1, after: 1, ..conflict() },
        Conflict { event: Some((3, lent.into())), ..conflict() },
        Conflict { event: Some((1, lent.into())), ..conflict() },
        Conflict { event: Some((5, lent.into())), ..conflict() },
        Conflict { event: Some((4, "ReaderRegistered".into())), ..conflict() },
        Conflict { after: 1, ..conflict() },
    ] {
        let mut story = Story::clean();
        story.tell(Fact::Conflict(planted.clone()));

        assert_eq!(story.verdict(), [0, 0, 1, 0, 0, 0], "{planted:?}");
    }
}

#[test]
fn false_counts_a_conflict_that_cannot_be_whatever_came() {
    for immunity in [Immunity::Locked, Immunity::Private] {
        for event in [conflict().event, None] {
            let mut story = Story::clean();
            let immunity = Some(immunity);
            story.tell(Fact::Conflict(Conflict { event, immunity, ..conflict() }));

            assert_eq!(story.verdict(), [0, 0, 1, 0, 0, 0], "{immunity:?}");
        }
    }
}

#[test]
fn false_counts_a_conflict_without_a_name_for_which_nothing_came() {
    let nameless = Conflict { event: None, head: Some(4), ..conflict() };
    for (planted, faults) in [
        (nameless.clone(), 0),
        (Conflict { read_at: 4, ..nameless.clone() }, 1),
        (Conflict { read_at: 5, head: Some(9), ..nameless.clone() }, 1),
        (Conflict { filter: book_filter("other"), ..nameless }, 1),
    ] {
        let mut story = Story::clean();
        story.tell(Fact::Conflict(planted.clone()));

        assert_eq!(story.verdict(), [0, 0, faults, 0, 0, 0], "{planted:?}");
    }
}

#[test]
fn lost_counts_an_accepted_event_that_is_not_there() {
    let mut story = Story::clean();
    story.tell(Fact::Accepted { ids: vec![Uuid::now_v7(), Uuid::now_v7()], first: 6, last: 7 });

    assert_eq!(story.verdict(), [0, 0, 0, 2, 0, 0]);
}

#[test]
fn lost_counts_an_append_that_is_elsewhere_or_out_of_order() {
    for places in [[6, 8], [7, 6]] {
        let mut story = Story::clean();
        let mut ids: Vec<_> = [6, 7].map(|number| story.write(number, "other", None)).into();
        if places == [7, 6] {
            ids.reverse();
        }
        story.tell(Fact::Accepted { ids, first: places[0], last: places[1] });

        assert_eq!(story.verdict(), [0, 0, 0, 1, 0, 0]);
    }
}

#[test]
fn lost_counts_what_was_seen_and_is_gone() {
    let mut story = Story::clean();
    story.tell(Fact::Tailed(tail([1, 2, 3, 4, 5], 5)));

    assert_eq!(story.verdict(), [0, 0, 0, 1, 0, 0]);
}

#[test]
fn lost_counts_the_rest_of_an_append_that_is_there_in_part() {
    let mut story = Story::clean();
    let id = story.write(6, "other", None);
    story.log[4].stamp.of = 3;
    story.tell(Fact::Doubtful { ids: vec![id] });

    assert_eq!(story.verdict(), [0, 0, 0, 2, 0, 0]);
}

#[test]
fn ghost_counts_what_was_refused_and_is_there() {
    let mut story = Story::clean();
    let id = story.write(6, "other", None);
    story.tell(Fact::Refused { ids: vec![id], fault: None });

    assert_eq!(story.verdict(), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn ghost_leaves_out_what_nobody_could_know() {
    let mut story = Story::clean();
    let id = story.write(6, "other", None);
    story.tell(Fact::Doubtful { ids: vec![id, Uuid::now_v7()] });

    assert_eq!(story.verdict(), [0; 6]);
}

#[test]
fn twice_counts_an_event_that_is_there_again() {
    let mut story = Story::clean();
    let id = story.write(6, "other", None);
    let again = Entry { number: 7, ..story.log[4].clone() };
    story.log.push(again);
    story.tell(Fact::Doubtful { ids: vec![id] });

    assert_eq!(story.verdict(), [0, 0, 0, 0, 0, 1]);
}

#[test]
fn keeps_a_few_examples_in_words() {
    let mut story = Story::clean();
    for number in 6..16 {
        story.write(number, "other", None);
    }

    let verdict = judge(&story.log, &story.testimony);

    assert_eq!(verdict.ghosts.examples.len(), EXAMPLES);
    assert!(!verdict.is_clean());
}

#[test]
fn counts_what_is_told_of_a_calm_log() {
    let mut story = Story::clean();
    story.tell(Fact::CalmFault(CalmFault::Wrong("wrong".to_owned())));
    story.tell(Fact::CalmFault(CalmFault::False("false".to_owned())));
    story.tell(Fact::CalmFault(CalmFault::Lost("lost".to_owned())));

    assert_eq!(story.verdict(), [1, 0, 1, 1, 0, 0]);
}

#[test]
fn counts_a_stored_event_that_is_missing_as_lost_and_expects_one_that_is_there() {
    let mut story = Story::clean();
    let there = story.write(6, "other", None);
    story.tell(Fact::Stored { ids: vec![there, Uuid::now_v7()] });

    assert_eq!(story.verdict(), [0, 0, 0, 1, 0, 0]);
}
