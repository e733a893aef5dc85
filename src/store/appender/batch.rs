use std::collections::HashSet;

use super::judge::Judge;
use super::queue::Member;
use super::recent::Events;
use crate::SequenceNumber;

/// Attempts that go together, by how they are judged.
///
/// None of them depends on one that came before it. They are carried out as they are sorted, those
/// that were judged first, and that is the order in which they count.
#[derive(Default)]
pub(super) struct Batch {
    /// As far as is known their conditions hold.
    pub(super) judged: Vec<Member>,
    /// Each takes a statement of its own.
    pub(super) asked: Vec<Member>,
    /// They depend on what becomes of one of the others.
    pub(super) later: Vec<Member>,
}

impl Batch {
    /// Sorts attempts. The first one never has to wait.
    pub(super) fn sort(members: Vec<Member>, judge: Judge<'_>) -> Self {
        let mut batch = Self::default();
        let mut earlier = Earlier::of(members.len());
        for member in members {
            if earlier.may_change(&member) {
                batch.later.push(member);
                continue;
            }
            let is_judged = judge.takes(&member);
            if !is_judged && batch.asked.len() >= MAX_ASKED {
                batch.later.push(member);
                continue;
            }
            earlier.add(&member);
            if is_judged { batch.judged.push(member) } else { batch.asked.push(member) }
        }
        batch
    }
}

/// What the attempts of a batch that come before are about to store.
#[derive(Default)]
struct Earlier {
    ids: HashSet<uuid::Uuid>,
    events: Events,
    count: u64,
    /// Whether one of them is so large that any condition might match it.
    is_opaque: bool,
}

impl Earlier {
    /// Makes room for the events of so many members.
    fn of(members: usize) -> Self {
        let ids = HashSet::with_capacity(members);
        Self { ids, events: Events::with_capacity(members), ..Self::default() }
    }

    /// Returns whether what becomes of an attempt may depend on them.
    fn may_change(&self, member: &Member) -> bool {
        let request = &member.request;
        let is_matched = request.guard().is_some_and(|(guard, lookup)| {
            self.is_opaque || self.events.has_match(&guard.filter, lookup, SequenceNumber::ZERO)
        });
        is_matched || request.events.iter().any(|event| self.ids.contains(&event.id()))
    }

    fn add(&mut self, member: &Member) {
        let events = &member.request.events;
        for index in 0..events.len() {
            self.count += 1;
            self.ids.insert(events[index].id());
            let number = SequenceNumber::new(self.count);
            self.is_opaque |= !self.events.add(number, events, index, member.request.terms(index));
        }
    }
}

/// The most attempts of a batch that the server judges: each takes it a while under the lock.
const MAX_ASKED: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::recent::{Recent, terms_of};
    use super::*;
    use crate::store::log::Log;
    use crate::{AppendCondition, Event, Filter};

    fn lent(book: &str) -> Event {
        Event::new("BookCopyLentToReader", &serde_json::json!({ "BookID": book })).unwrap()
    }

    fn since(book: &str, after: u64) -> AppendCondition {
        let loans = Filter::any_of([("BookID", book)]).build().unwrap();
        AppendCondition::since(loans, SequenceNumber::new(after))
    }

    /// Knows the loan of book 7 in place 8, and all from 6 on.
    fn recent() -> Recent {
        let mut recent = Recent::default();
        recent.restart(SequenceNumber::new(6));
        for (number, book) in [(7, "6"), (8, "7"), (9, "8")] {
            let events: Arc<[Event]> = [lent(book)].into();
            let terms = terms_of(&events[0]);
            recent.add(SequenceNumber::new(number), &events, 0, terms.as_deref());
        }
        recent
    }

    fn log() -> Log {
        let log = Log::new(crate::log::LogName::new("public", "events").unwrap());
        log.note_newest(SequenceNumber::new(2_000));
        log
    }

    /// Sorts, and says of each into which part it came, by the book that it appends.
    fn sorted(members: Vec<Member>, judge: Judge<'_>) -> [Vec<String>; 3] {
        let Batch { judged, asked, later } = Batch::sort(members, judge);
        [judged, asked, later].map(|part| {
            let books = part.iter().map(|member| {
                let payload = member.request.events[0].payload_json();
                payload.split('"').nth(3).unwrap().to_owned()
            });
            books.collect()
        })
    }

    #[test]
    fn judges_what_is_about_no_event_that_is_known() {
        let members = vec![
            Member::of([lent("1")], AppendCondition::none()),
            Member::of([lent("2")], since("2", 6)),
            Member::of([lent("3")], since("7", 8)),
            // Broken, from before what is known, and beyond it.
            Member::of([lent("4")], since("7", 7)),
            Member::of([lent("5")], since("5", 5)),
            Member::of([lent("6")], since("6", 10)),
        ];

        let parts = sorted(members, Judge::Process(&recent()));

        assert_eq!(parts, [vec!["1", "2", "3"], vec!["4", "5", "6"], vec![]]);
    }

    #[test]
    fn leaves_to_the_function_what_it_can_tell_of_what_came_lately() {
        let nested = Filter::any_of([("Shelf", serde_json::json!({ "Row": 1 }))]);
        let nested = AppendCondition::since(nested.build().unwrap(), SequenceNumber::new(1_500));
        let everything = AppendCondition::since(Filter::everything(), SequenceNumber::new(1_500));
        let mut doubtful = Member::of([lent("7")], since("a", 1_500));
        doubtful.is_doubtful = true;
        let members = vec![
            Member::of([lent("1")], AppendCondition::none()),
            Member::of([lent("2")], since("2", 1_500)),
            Member::of([lent("3")], since("b", 2_000)),
            Member::of([lent("4")], nested),
            Member::of([lent("5")], since("c", 900)),
            Member::of([lent("6")], since("d", 2_001)),
            doubtful,
        ];

        let parts = sorted(members, Judge::Function(&recent(), &log()));

        assert_eq!(parts, [vec!["1", "2", "3"], vec!["4", "5", "6", "7"], vec![]]);
        let members = vec![Member::of([lent("8")], everything)];
        assert_eq!(sorted(members, Judge::Function(&recent(), &log()))[1], ["8"]);
    }

    #[test]
    fn lets_wait_what_depends_on_one_before_it_and_on_no_other() {
        let twice = lent("5");
        let members = vec![
            Member::of([lent("1")], since("1", 8)),
            Member::of([lent("2")], since("1", 8)),
            // On one that waits itself, and on one that comes later.
            Member::of([lent("3")], since("2", 8)),
            Member::of([lent("4")], since("6", 9)),
            Member::of([lent("6")], AppendCondition::none()),
            Member::of([twice.clone()], AppendCondition::none()),
            Member::of([twice], AppendCondition::none()),
        ];

        let parts = sorted(members, Judge::Process(&recent()));

        assert_eq!(parts, [vec!["1", "3", "4", "6", "5"], vec![], vec!["2", "5"]]);
    }

    #[test]
    fn asks_for_no_more_than_may_be_asked() {
        let unknown = |number: usize| Member::of([lent(&number.to_string())], since("0", 1));
        let members = (1..=MAX_ASKED + 2).map(unknown).collect();

        let [judged, asked, later] = sorted(members, Judge::Process(&recent()));

        assert_eq!((judged.len(), asked.len(), later.len()), (0, MAX_ASKED, 2));
    }
}
