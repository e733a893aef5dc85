use std::collections::{BTreeMap, HashSet};

use eddyline::{SequenceNumber, SequencedEvent};
use uuid::Uuid;

use super::findings::Findings;
use super::record::{Details, Record};
use super::sorted_replies::SortedReplies;
use crate::replies::{Acknowledged, CommandName, Recorded, Reply};

/// A check that the log has exactly the events that the store acknowledged, each once, at its
/// position, and with the contents that the client was told.
#[derive(Debug)]
pub struct StoredCheck {
    start: SequenceNumber,
    acknowledged: SortedReplies<Acknowledged>,
    unknown: HashSet<Uuid>,
    imported: Imported,
    /// The number of replies and of events, by command and by whether it was rejected.
    counts: BTreeMap<(CommandName, bool), (u64, u64)>,
    unexplained: u64,
}

/// The imported events, in the order of their ids, each with whether the log had it so far.
#[derive(Debug)]
struct Imported {
    ids: Vec<Uuid>,
    is_seen: Vec<bool>,
    first: SequenceNumber,
    last: SequenceNumber,
}

impl StoredCheck {
    /// Takes the replies that are about stored events.
    pub fn new(recorded: &mut Recorded, findings: &mut Findings) -> Self {
        let acknowledged = std::mem::take(&mut recorded.acknowledged);
        let mut counts = BTreeMap::<_, (u64, u64)>::new();
        for reply in &acknowledged {
            counts.entry((reply.command, reply.reply != Reply::Success)).or_default().0 += 1;
        }
        let mut ids = std::mem::take(&mut recorded.imported);
        ids.sort_unstable();
        for pair in ids.windows(2).filter(|pair| pair[0] == pair[1]) {
            findings.add(format!("event {} was imported twice", pair[0]));
        }
        let (first, last) =
            recorded.imported_at.take().map_or_else(Default::default, |range| range.into_inner());
        let imported = Imported { is_seen: vec![false; ids.len()], ids, first, last };
        Self {
            start: recorded.start,
            acknowledged: SortedReplies::new(acknowledged, |reply| reply.position),
            unknown: recorded.unknown.drain(..).collect(),
            imported,
            counts,
            unexplained: 0,
        }
    }

    /// Checks the next event of the log. `record` is its contents, if it is one of the library.
    pub fn check(
        &mut self,
        event: &SequencedEvent,
        record: Option<&Record>,
        findings: &mut Findings,
    ) {
        let position = event.sequence_number();
        let mut acknowledged = None;
        while let Some(reply) = self.acknowledged.next_up_to(position) {
            let is_match = reply.position == position && reply.event == event.id();
            match is_match && acknowledged.is_none() {
                true => acknowledged = Some(reply),
                false => findings.add(lost(&reply, Some(event))),
            }
        }
        match acknowledged {
            Some(reply) => self.check_contents(event, record, &reply, findings),
            None if position <= self.start => {}
            None if self.imported.is_next_seen(event) => {}
            None if self.unknown.remove(&event.id()) => {}
            None => {
                self.unexplained += 1;
                findings.add_at(event, "no client was told that it is stored at this position");
            }
        }
    }

    /// Returns the number of events since the start that no reply of the load explains.
    pub fn unexplained(&self) -> u64 {
        self.unexplained
    }

    fn check_contents(
        &mut self,
        event: &SequencedEvent,
        record: Option<&Record>,
        reply: &Acknowledged,
        findings: &mut Findings,
    ) {
        let Some(record) = record else { return };
        let is_failure = matches!(record.details, Details::Failure(_));
        self.counts.entry((record.command, is_failure)).or_default().1 += 1;
        let command = reply.command;
        if record.command != command {
            return findings.add_at(event, &format!("is the event of a reply to {command}"));
        }
        if record.subject_hash() != reply.subject {
            findings.add_at(event, &format!("{command} was about another book or reader"));
        }
        let differs = match (&record.details, reply.reply) {
            (Details::Failure(stored), Reply::Rejected(reason)) => *stored != reason.to_string(),
            (Details::Failure(_), Reply::Success) => true,
            (_, reply) => reply != Reply::Success,
        };
        if differs {
            let told = match reply.reply {
                Reply::Success => "accepted".to_owned(),
                Reply::Rejected(reason) => format!("rejected for {:?}", reason.to_string()),
            };
            findings.add_at(event, &format!("the client was told that {command} was {told}"));
        }
    }

    /// Adds a finding for each acknowledged event that the log does not have, and for each command
    /// whose replies and events differ in number.
    pub fn finish(mut self, findings: &mut Findings) {
        while let Some(reply) = self.acknowledged.next_up_to(SequenceNumber::new(u64::MAX)) {
            findings.add(lost(&reply, None));
        }
        let Imported { ids, is_seen, first, last } = self.imported;
        for (id, _) in ids.iter().zip(is_seen).filter(|(_, is_seen)| !is_seen) {
            findings.add(format!(
                "event {id} was imported between positions {first} and {last}, and is not there"
            ));
        }
        let differing = self.counts.into_iter().filter(|(_, (replies, events))| replies != events);
        for ((command, is_failure), (replies, events)) in differing {
            let outcome = if is_failure { "rejected" } else { "accepted" };
            findings.add(format!(
                "{command}: clients were told {replies} times that it was {outcome}, the log has \
                 {events} of these events"
            ));
        }
    }
}

/// Returns the finding that an acknowledged event is not where it should be.
fn lost(reply: &Acknowledged, found: Option<&SequencedEvent>) -> String {
    let Acknowledged { position, event, command, reply, .. } = reply;
    let event_type = match reply {
        Reply::Rejected(_) => command.failure_type().unwrap_or(command.success_type()),
        Reply::Success => command.success_type(),
    };
    let found = found.filter(|found| found.sequence_number() == *position);
    let instead = found.map_or_else(String::new, |found| {
        format!(", where the log has {} {}", found.event_type(), found.id())
    });
    format!("event {position}, {event_type} {event}: was acknowledged, and is not there{instead}")
}

impl Imported {
    /// Returns whether an event is an imported one that the log has not had yet.
    fn is_next_seen(&mut self, event: &SequencedEvent) -> bool {
        if !(self.first..=self.last).contains(&event.sequence_number()) {
            return false;
        }
        match self.ids.binary_search(&event.id()) {
            Ok(index) => !std::mem::replace(&mut self.is_seen[index], true),
            Err(_) => false,
        }
    }
}
