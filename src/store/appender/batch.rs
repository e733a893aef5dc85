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
    /// What the others are about to store.
    pub(super) earlier: Earlier,
}

impl Batch {
    /// Sorts attempts. The first one never has to wait.
    pub(super) fn sort(members: Vec<Member>, judge: Judge<'_>) -> Self {
        Self::sorted(members, judge, MAX_ASKED, |_| false)
    }

    /// Sorts attempts that come after others whose fate is not known yet. Whatever cannot be judged
    /// before it is has to wait.
    pub(super) fn sort_ahead(members: Vec<Member>, judge: Judge<'_>, front: &Front<'_>) -> Self {
        Self::sorted(members, judge, 0, |member| front.may_change(member))
    }

    fn sorted(
        members: Vec<Member>,
        judge: Judge<'_>,
        max_asked: usize,
        has_to_wait: impl Fn(&Member) -> bool,
    ) -> Self {
        let mut batch = Self { earlier: Earlier::with_capacity(members.len()), ..Self::default() };
        for member in members {
            if has_to_wait(&member) || batch.earlier.may_change(&member) {
                batch.later.push(member);
                continue;
            }
            let is_judged = judge.takes(&member);
            if !is_judged && batch.asked.len() >= max_asked {
                batch.later.push(member);
                continue;
            }
            batch.earlier.add(&member);
            if is_judged { batch.judged.push(member) } else { batch.asked.push(member) }
        }
        batch
    }
}

/// What is under way when others are sorted.
pub(super) struct Front<'a> {
    pub(super) earlier: &'a Earlier,
    /// Whether it is stored only if nothing else comes before it.
    pub(super) is_tied: bool,
}

impl Front<'_> {
    fn may_change(&self, member: &Member) -> bool {
        let is_guarded = member.request.guard().is_some();
        is_guarded && !self.is_tied || self.earlier.may_change(member)
    }
}

/// What attempts are about to store.
#[derive(Default)]
pub(super) struct Earlier {
    ids: HashSet<uuid::Uuid>,
    events: Events,
    count: u64,
    /// Whether one of them is so large that any condition might match it.
    is_opaque: bool,
}

impl Earlier {
    pub(super) fn of(members: &[Member]) -> Self {
        let mut earlier = Self::with_capacity(members.len());
        for member in members {
            earlier.add(member);
        }
        earlier
    }

    /// Makes room for the events of so many members.
    fn with_capacity(members: usize) -> Self {
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
        let Batch { judged, asked, later, earlier: _ } = Batch::sort(members, judge);
        [judged, asked, later].map(|part| part.iter().map(book).collect())
    }

    fn book(member: &Member) -> String {
        member.request.events[0].payload_json().split('"').nth(3).unwrap().to_owned()
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
    fn sends_ahead_what_depends_neither_on_those_in_front_nor_on_the_server() {
        let in_front = [Member::of([lent("9")], since("9", 8))];
        let earlier = Earlier::of(&in_front);
        let twice = in_front[0].request.events[0].clone();
        let members = || {
            vec![
                Member::of([lent("1")], AppendCondition::none()),
                Member::of([lent("2")], since("2", 8)),
                Member::of([lent("3")], since("9", 8)),
                Member::of([twice.clone()], AppendCondition::none()),
                Member::of([lent("4")], since("5", 5)),
                Member::of([lent("5")], since("2", 8)),
            ]
        };
        let recent = recent();
        let sorted = |is_tied| {
            let front = Front { earlier: &earlier, is_tied };
            let judge = Judge::Process(&recent);
            let Batch { judged, asked, later, .. } = Batch::sort_ahead(members(), judge, &front);
            assert!(asked.is_empty());
            [judged, later].map(|part| part.iter().map(book).collect::<Vec<_>>())
        };

        assert_eq!(sorted(true), [vec!["1", "2"], vec!["3", "9", "4", "5"]]);
        assert_eq!(sorted(false), [vec!["1"], vec!["2", "3", "9", "4", "5"]]);
    }

    #[test]
    fn asks_for_no_more_than_may_be_asked() {
        let unknown = |number: usize| Member::of([lent(&number.to_string())], since("0", 1));
        let members = (1..=MAX_ASKED + 2).map(unknown).collect();

        let [judged, asked, later] = sorted(members, Judge::Process(&recent()));

        assert_eq!((judged.len(), asked.len(), later.len()), (0, MAX_ASKED, 2));
    }
}
