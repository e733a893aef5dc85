use super::Seen;
use super::judge::Judge;
use super::queue::Member;
use super::recent::Recent;
use crate::SequenceNumber;
use crate::pool::Lease;
use crate::sql::Staleness;
use crate::store::log::Log;

/// A connection that appends, with what it has seen of the log.
pub(super) struct Seat {
    pub(super) lease: Lease,
    pub(super) recent: Recent,
    /// For how many batches to expect that others append as well.
    pub(super) foreign: u32,
    /// Whether the server has given this connection a number.
    pub(super) is_numbered: bool,
}

impl Seat {
    /// Takes a connection, and what was seen before if it was by way of the same one.
    pub(super) fn new(lease: Lease, seen: Option<Seen>) -> Self {
        match seen.filter(|seen| seen.by.is_some() && seen.by == lease.backend()) {
            Some(Seen { by: _, recent, foreign }) => {
                Self { lease, recent, foreign, is_numbered: false }
            }
            None => Self { lease, recent: Recent::default(), foreign: 0, is_numbered: false },
        }
    }

    /// Gives the connection back; returns what was seen.
    pub(super) fn leave(self) -> Seen {
        Seen { by: self.lease.backend(), recent: self.recent, foreign: self.foreign }
    }

    /// Returns by whom attempts are judged. What this process knows of the log is of no use where
    /// others append too, nor where a condition is about what was before.
    pub(super) fn judge<'a>(&'a self, log: &'a Log, members: &[Member]) -> Judge<'a> {
        let is_known = |member: &Member| match member.request.condition.guard() {
            Some(guard) => {
                self.recent.covers(guard.after)
                    || log.staleness(&member.request.condition) == Staleness::Stale
            }
            None => true,
        };
        match self.foreign == 0 && members.iter().all(is_known) {
            true => Judge::Process(&self.recent),
            false => Judge::Function(&self.recent, log),
        }
    }

    /// Returns whether more may be sent before it is answered what was sent last. Where others append
    /// too it would only make for smaller batches, and more of them that wait for the lock.
    pub(super) fn may_go_ahead(&self) -> bool {
        self.foreign == 0 && self.is_numbered
    }

    /// Returns whether settings are those of a transaction only, so that it has to be begun with
    /// them, and the next one may go to another server.
    pub(super) fn is_shared(&self) -> bool {
        self.lease.backend().is_none()
    }

    pub(super) fn is_spent(&self) -> bool {
        self.lease.is_spent()
    }

    /// Notes where the log ended, under its lock.
    pub(super) fn see_end(&mut self, end: SequenceNumber) {
        match self.recent.end() {
            Some(known) if known == end => self.foreign = self.foreign.saturating_sub(1),
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
}

/// For how many batches others are expected to append as well, after they did.
pub(super) const FOREIGN: u32 = 16;
