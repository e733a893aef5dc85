use super::Seen;
use super::queue::Member;
use super::recent::{Recent, terms_of};
use crate::pool::Lease;
use crate::{Event, SequenceNumber};

/// A connection that appends, with what it has seen of the log.
pub(super) struct Seat {
    pub(super) lease: Lease,
    pub(super) recent: Recent,
    /// For how many batches to expect that others append as well.
    pub(super) foreign: u32,
}

impl Seat {
    /// Takes a connection, and what was seen before if it was by way of the same one.
    pub(super) fn new(lease: Lease, seen: Option<Seen>) -> Self {
        match seen.filter(|seen| seen.by.is_some() && seen.by == lease.backend()) {
            Some(Seen { by: _, recent, foreign }) => Self { lease, recent, foreign },
            None => Self { lease, recent: Recent::default(), foreign: 0 },
        }
    }

    /// Gives the connection back; returns what was seen.
    pub(super) fn leave(self) -> Seen {
        Seen { by: self.lease.backend(), recent: self.recent, foreign: self.foreign }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.lease.is_spent()
    }

    /// Notes where the log ended, under its lock.
    pub(super) fn see_end(&mut self, end: SequenceNumber) {
        match self.recent.end() {
            Some(known) if known == end => {}
            known => {
                if known.is_some() {
                    self.foreign = FOREIGN;
                }
                self.recent.restart(end);
            }
        }
    }

    /// Notes an attempt that was stored next, at these places.
    pub(super) fn see(
        &mut self,
        member: &Member,
        numbers: impl IntoIterator<Item = SequenceNumber>,
    ) {
        for (index, number) in numbers.into_iter().enumerate() {
            let terms = member.request.terms(index);
            self.recent.add(number, &member.request.events, index, terms);
        }
    }

    /// Notes what the server judged and stored next.
    pub(super) fn see_accepted(
        &mut self,
        member: &Member,
        first: SequenceNumber,
        last: SequenceNumber,
    ) {
        let events = member.request.events.len() as u64;
        match last.value() - first.value() + 1 == events && !member.request.is_large() {
            true => self.see(member, (first.value()..=last.value()).map(SequenceNumber::new)),
            false => self.recent.restart(last),
        }
    }

    /// Takes note of what came after the end that was known, the newest first.
    pub(super) fn learn(
        &mut self,
        known: Option<SequenceNumber>,
        mut news: Vec<(SequenceNumber, Option<Event>)>,
    ) {
        self.foreign = if news.is_empty() { self.foreign.saturating_sub(1) } else { FOREIGN };
        news.reverse();
        let is_whole = news.len() < MAX_NEWS;
        match (known, news.first()) {
            (None, _) if is_whole => self.recent.restart(SequenceNumber::ZERO),
            (_, Some((first, _))) if !is_whole => self.recent.restart(*first),
            _ => {}
        }
        for (number, event) in news {
            match event {
                Some(event) => {
                    let terms = terms_of(&event);
                    self.recent.add(number, &[event].into(), 0, terms.as_deref());
                }
                None => self.recent.restart(number),
            }
        }
    }
}

/// For how many batches others are expected to append as well, after they did.
pub(super) const FOREIGN: u32 = 16;
/// How many events of others are looked at; what comes before them is as if it were not known.
pub(super) const MAX_NEWS: usize = 512;
