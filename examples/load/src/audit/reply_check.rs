use std::collections::{BTreeMap, BTreeSet};

use eddyline::{SequenceNumber, SequencedEvent};

use super::findings::Findings;
use crate::replies::Replies;

/// A check that a log agrees with the replies to the clients.
pub struct ReplyCheck {
    /// The replies, without the events that the log has had so far.
    replies: Replies,
    last: SequenceNumber,
    /// The number of acknowledged failure events that the log has had so far, by type.
    failures: BTreeMap<String, u64>,
}

impl ReplyCheck {
    /// Creates a check, and adds the findings of the clients themselves.
    pub fn new(mut replies: Replies, findings: &mut Findings) -> Self {
        replies.findings.drain(..).for_each(|finding| findings.add(finding));
        Self { replies, last: SequenceNumber::ZERO, failures: BTreeMap::new() }
    }

    /// Checks the next event of the log, and removes it from the expected ones.
    pub fn check(&mut self, event: &SequencedEvent, findings: &mut Findings) {
        let at = event.sequence_number();
        if at <= self.last {
            findings.add(format!("event {at} came after event {}", self.last));
        }
        self.last = at;
        if at <= self.replies.start {
            return;
        }
        match self.replies.stored.remove(&event.id()) {
            Some(positions) => {
                if !positions.contains(&at) {
                    let (first, last) = (positions.start(), positions.end());
                    findings
                        .add(format!("event {at} was acknowledged at positions {first} to {last}"));
                }
                if event.event_type().ends_with("Failed") {
                    *self.failures.entry(event.event_type().to_owned()).or_default() += 1;
                }
            }
            None if self.replies.unknown.remove(&event.id()) => {}
            None => {
                let (event_type, id) = (event.event_type(), event.id());
                findings.add(format!(
                    "event {at}, {event_type} {id}: was not acknowledged to a client"
                ));
            }
        }
    }

    /// Adds a finding for each acknowledged event that the log does not have, and for each failure
    /// event type whose number differs from that of the rejections. Must be called after the last
    /// event.
    pub fn finish(self, findings: &mut Findings) {
        let Self { replies, failures, last: _ } = self;
        for (event, positions) in replies.stored {
            let (first, last) = (positions.start(), positions.end());
            findings.add(format!(
                "event {event} was acknowledged at positions {first} to {last} and is lost"
            ));
        }
        let rejection_types = replies.rejections.keys().copied();
        let types: BTreeSet<&str> =
            rejection_types.chain(failures.keys().map(String::as_str)).collect();
        for event_type in types {
            let rejections = replies.rejections.get(event_type).copied().unwrap_or_default();
            let stored = failures.get(event_type).copied().unwrap_or_default();
            if rejections != stored {
                findings.add(format!(
                    "{event_type}: clients received {rejections} rejections, the log has {stored}"
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

    /// Returns the findings in a log of events, each given by its id, type and position.
    fn findings(replies: Replies, log: &[(u128, &str, u64)]) -> Vec<String> {
        let mut findings = Findings::default();
        let mut reply_check = ReplyCheck::new(replies, &mut findings);
        for (id, event_type, position) in log {
            let event = Event::from_json(*event_type, "{}").unwrap();
            let event = event.with_id(Uuid::from_u128(*id)).unwrap();
            let position = SequenceNumber::new(*position);
            let event = SequencedEvent::new(event, position, Timestamp::UNIX_EPOCH);
            reply_check.check(&event, &mut findings);
        }
        reply_check.finish(&mut findings);
        findings.to_string().lines().map(str::to_owned).collect()
    }

    /// Returns replies that acknowledge these events, each given by its id and position.
    fn acknowledged(events: &[(u128, u64)]) -> Replies {
        let mut replies = Replies::after(SequenceNumber::ZERO);
        for (id, position) in events {
            let position = SequenceNumber::new(*position);
            replies.add_stored(Uuid::from_u128(*id), position..=position);
        }
        replies
    }

    #[track_caller]
    fn assert_finds(replies: Replies, log: &[(u128, &str, u64)], text: &str) {
        let found = findings(replies, log);

        assert!(found.len() == 1 && found[0].contains(text), "{found:?}");
    }

    #[test]
    fn has_no_findings_if_log_and_replies_agree() {
        let mut replies = acknowledged(&[(1, 5), (2, 7)]);
        replies.add_rejection(FAILED);

        assert_eq!(findings(replies, &[(1, LENT, 5), (2, FAILED, 7)]), [""; 0]);
    }

    #[test]
    fn finds_an_event_that_was_lost() {
        assert_finds(acknowledged(&[(1, 5), (2, 7)]), &[(1, LENT, 5)], "lost");
    }

    #[test]
    fn finds_an_event_that_was_not_acknowledged() {
        assert_finds(
            acknowledged(&[(1, 5)]),
            &[(1, LENT, 5), (2, LENT, 6)],
            "was not acknowledged",
        );
    }

    #[test]
    fn finds_an_event_that_is_stored_twice() {
        assert_finds(
            acknowledged(&[(1, 5)]),
            &[(1, LENT, 5), (1, LENT, 6)],
            "was not acknowledged",
        );
    }

    #[test]
    fn finds_an_event_at_another_position() {
        assert_finds(
            acknowledged(&[(1, 5)]),
            &[(1, LENT, 6)],
            "was acknowledged at positions 5 to 5",
        );
    }

    #[test]
    fn finds_events_out_of_order() {
        let replies = acknowledged(&[(1, 5), (2, 4)]);

        assert_finds(replies, &[(1, LENT, 5), (2, LENT, 4)], "event 4 came after event 5");
    }

    #[test]
    fn finds_a_rejection_without_a_failure_event() {
        let mut replies = acknowledged(&[(1, 5)]);
        replies.add_rejection(FAILED);

        assert_finds(replies, &[(1, LENT, 5)], "received 1 rejections, the log has 0");
    }

    #[test]
    fn finds_a_failure_event_without_a_rejection() {
        assert_finds(
            acknowledged(&[(1, 5)]),
            &[(1, FAILED, 5)],
            "received 0 rejections, the log has 1",
        );
    }

    #[test]
    fn includes_the_findings_of_the_clients() {
        let mut replies = acknowledged(&[]);
        replies.findings.push("a replica forgot a loan".to_owned());

        assert_finds(replies, &[], "a replica forgot a loan");
    }

    #[test]
    fn ignores_events_before_the_load() {
        let replies = Replies::after(SequenceNumber::new(5));

        assert_eq!(findings(replies, &[(1, LENT, 5)]), [""; 0]);
    }

    #[test]
    fn accepts_an_unknown_outcome_with_and_without_its_event() {
        let mut replies = acknowledged(&[]);
        replies.unknown.extend([Uuid::from_u128(1), Uuid::from_u128(2)]);

        assert_eq!(findings(replies, &[(1, FAILED, 5)]), [""; 0]);
    }
}
