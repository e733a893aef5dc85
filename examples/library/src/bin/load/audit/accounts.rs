use std::collections::{BTreeMap, BTreeSet};

use eddyline::{SequenceNumber, SequencedEvent};

use super::findings::Findings;
use crate::ledger::Ledger;

/// Compares a log with what the clients were told is in it.
pub(crate) struct Accounts {
    told: Ledger,
    last: SequenceNumber,
    /// Failure events that the clients were told are stored, by their type.
    failures: BTreeMap<String, u64>,
}

impl Accounts {
    /// Takes the clients' account over, with what they found themselves.
    pub(crate) fn open(mut told: Ledger, findings: &mut Findings) -> Self {
        told.findings.drain(..).for_each(|finding| findings.add(finding));
        Self { told, last: SequenceNumber::ZERO, failures: BTreeMap::new() }
    }

    /// Strikes an event off the account.
    pub(crate) fn apply(&mut self, event: &SequencedEvent, findings: &mut Findings) {
        let at = event.sequence_number();
        if at <= self.last {
            findings.add(format!("event {at} came after event {}", self.last));
        }
        self.last = at;
        if at <= self.told.start {
            return;
        }
        match self.told.stored.remove(&event.id()) {
            Some(places) => {
                if !places.contains(&at) {
                    let (first, last) = (places.start(), places.end());
                    findings.add(format!("event {at} was told to lie from {first} to {last}"));
                }
                if event.event_type().ends_with("Failed") {
                    *self.failures.entry(event.event_type().to_owned()).or_default() += 1;
                }
            }
            None if self.told.unknown.remove(&event.id()) => {}
            None => {
                let (event_type, id) = (event.event_type(), event.id());
                findings.add(format!("event {at}, {event_type} {id}: nobody was told of it"));
            }
        }
    }

    /// Finds what is left on the account at the end of the log.
    pub(crate) fn close(self, findings: &mut Findings) {
        let Self { told, failures, last: _ } = self;
        for (event, places) in told.stored {
            let (first, last) = (places.start(), places.end());
            findings.add(format!("event {event} was told to lie from {first} to {last}: lost"));
        }
        let told_types = told.rejections.keys().copied();
        let types: BTreeSet<&str> = told_types.chain(failures.keys().map(String::as_str)).collect();
        for event_type in types {
            let rejections = told.rejections.get(event_type).copied().unwrap_or_default();
            let stored = failures.get(event_type).copied().unwrap_or_default();
            if rejections != stored {
                findings.add(format!(
                    "{rejections} rejections were told of and {stored} {event_type} stored"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use eddyline::Event;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    const LENT: &str = "BookCopyLentToReader";
    const FAILED: &str = "LendingBookToReaderFailed";

    /// Returns what is found in a log of these events, types and places.
    fn findings(told: Ledger, log: &[(u128, &str, u64)]) -> Vec<String> {
        let mut findings = Findings::default();
        let mut accounts = Accounts::open(told, &mut findings);
        for (id, event_type, place) in log {
            let event = Event::from_json(*event_type, "{}").unwrap();
            let event = event.with_id(Uuid::from_u128(*id)).unwrap();
            let place = SequenceNumber::new(*place);
            let event = SequencedEvent::new(event, place, Timestamp::UNIX_EPOCH);
            accounts.apply(&event, &mut findings);
        }
        accounts.close(&mut findings);
        findings.to_string().lines().map(str::to_owned).collect()
    }

    /// Tells of these events at these places.
    fn told(events: &[(u128, u64)]) -> Ledger {
        let mut ledger = Ledger::after(SequenceNumber::ZERO);
        for (id, place) in events {
            let place = SequenceNumber::new(*place);
            ledger.store(Uuid::from_u128(*id), place..=place);
        }
        ledger
    }

    #[track_caller]
    fn assert_finds(told: Ledger, log: &[(u128, &str, u64)], text: &str) {
        let found = findings(told, log);

        assert!(found.len() == 1 && found[0].contains(text), "{found:?}");
    }

    #[test]
    fn find_nothing_where_log_and_clients_agree() {
        let mut ledger = told(&[(1, 5), (2, 7)]);
        ledger.reject(FAILED);

        assert_eq!(findings(ledger, &[(1, LENT, 5), (2, FAILED, 7)]), [""; 0]);
    }

    #[test]
    fn find_an_event_that_was_lost() {
        assert_finds(told(&[(1, 5), (2, 7)]), &[(1, LENT, 5)], "lost");
    }

    #[test]
    fn find_an_event_that_nobody_was_told_of() {
        assert_finds(told(&[(1, 5)]), &[(1, LENT, 5), (2, LENT, 6)], "nobody was told");
    }

    #[test]
    fn find_an_event_that_is_there_twice() {
        assert_finds(told(&[(1, 5)]), &[(1, LENT, 5), (1, LENT, 6)], "nobody was told");
    }

    #[test]
    fn find_an_event_in_another_place() {
        assert_finds(told(&[(1, 5)]), &[(1, LENT, 6)], "was told to lie from 5 to 5");
    }

    #[test]
    fn find_events_out_of_order() {
        let ledger = told(&[(1, 5), (2, 4)]);

        assert_finds(ledger, &[(1, LENT, 5), (2, LENT, 4)], "event 4 came after event 5");
    }

    #[test]
    fn find_a_rejection_that_left_no_event() {
        let mut ledger = told(&[(1, 5)]);
        ledger.reject(FAILED);

        assert_finds(ledger, &[(1, LENT, 5)], "1 rejections were told of and 0");
    }

    #[test]
    fn find_a_failure_event_that_no_rejection_was_told_for() {
        assert_finds(told(&[(1, 5)]), &[(1, FAILED, 5)], "0 rejections were told of and 1");
    }

    #[test]
    fn find_what_the_clients_found() {
        let mut ledger = told(&[]);
        ledger.findings.push("a replica forgot a loan".to_owned());

        assert_finds(ledger, &[], "a replica forgot a loan");
    }

    #[test]
    fn leave_out_what_came_before() {
        let ledger = Ledger::after(SequenceNumber::new(5));

        assert_eq!(findings(ledger, &[(1, LENT, 5)]), [""; 0]);
    }

    #[test]
    fn take_an_unknown_outcome_either_way() {
        let mut ledger = told(&[]);
        ledger.unknown.extend([Uuid::from_u128(1), Uuid::from_u128(2)]);

        assert_eq!(findings(ledger, &[(1, FAILED, 5)]), [""; 0]);
    }
}
