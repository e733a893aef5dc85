use std::fmt;
use std::mem;

use eddyline::{SequenceNumber, SequencedEvent};
use uuid::Uuid;

use super::Checked;
use super::answer_check;
use super::findings::Findings;
use super::lists::Lists;
use super::record::Record;
use super::rules::{Rules, Subject, Verdict};
use super::sorted_replies::SortedReplies;
use super::stored_check::StoredCheck;
use crate::replies::{Answers, Idempotent, KeptAnswer, Recorded};

/// A replay of a log that checks each event and each reply.
#[derive(Debug)]
pub struct Inspection {
    start: SequenceNumber,
    last: LastEvent,
    rules: Rules,
    lists: Lists,
    stored: StoredCheck,
    idempotent: SortedReplies<Idempotent>,
    answers: SortedReplies<KeptAnswer>,
    /// The names of the servers that answered.
    servers: Answers,
    checked: Checked,
    findings: Findings,
    found_before: Findings,
}

/// The last event so far. Replies that stored nothing are checked against the state after it.
#[derive(Debug, Default)]
struct LastEvent {
    position: SequenceNumber,
    id: Uuid,
    event_type: String,
}

/// The result of a replay.
#[derive(Debug)]
pub struct Inspected {
    /// The number of replies that were checked.
    pub checked: Checked,
    /// The errors of the load.
    pub findings: Findings,
    /// The errors of the events before the load.
    pub found_before: Findings,
    /// The number of events since the start that no reply of the load explains.
    pub unexplained: u64,
}

impl Inspection {
    /// Begins with an empty log.
    pub fn new(mut recorded: Recorded) -> Self {
        let mut findings = Findings::default();
        recorded.findings.drain(..).for_each(|finding| findings.add(finding));
        let idempotent = mem::take(&mut recorded.idempotent);
        let answers = recorded.answers.take();
        let checked = Checked {
            stored: recorded.acknowledged.len() as u64,
            idempotent: idempotent.len() as u64,
            imported: recorded.imported.len() as u64,
            answers: answers.len() as u64,
        };
        Self {
            start: recorded.start,
            last: LastEvent::default(),
            rules: Rules::default(),
            lists: Lists::default(),
            stored: StoredCheck::new(&mut recorded, &mut findings),
            idempotent: SortedReplies::new(idempotent, |reply| reply.position),
            answers: SortedReplies::new(answers, |answer| answer.position),
            servers: recorded.answers,
            checked,
            findings,
            found_before: Findings::default(),
        }
    }

    /// Checks the next event of the log.
    pub fn check(&mut self, event: &SequencedEvent) {
        let position = event.sequence_number();
        if position <= self.last.position {
            self.findings.add_at(event, &format!("comes after {}", self.last));
        }
        self.check_replies_up_to(position.previous());
        let record = Record::read(event);
        let broken = match &record {
            Ok(record) => self.rules.violation(record),
            Err(foreign) => Some(foreign.to_string()),
        };
        let metadata = Record::check_metadata(event).err().map(|foreign| foreign.to_string());
        for broken in broken.into_iter().chain(metadata) {
            let is_before = position <= self.start;
            let findings = if is_before { &mut self.found_before } else { &mut self.findings };
            findings.add_at(event, &broken);
        }
        self.stored.check(event, record.as_ref().ok(), &mut self.findings);
        if let Ok(record) = &record {
            self.rules.apply(record);
            self.lists.apply(record, position);
        }
        self.last.set(event);
    }

    /// Checks the remaining replies at the end of the log.
    pub fn finish(mut self, head: SequenceNumber) -> Inspected {
        self.check_replies_up_to(head);
        let end = SequenceNumber::new(u64::MAX);
        while let Some(Idempotent { position, command, .. }) = self.idempotent.next_up_to(end) {
            self.findings.add(format!(
                "{command} had nothing to change at position {position}, and the log ends at {head}"
            ));
        }
        while let Some(answer) = self.answers.next_up_to(end) {
            let (question, position) = (answer.question, answer.position);
            let server = self.servers.server(&answer);
            self.findings.add(format!(
                "{question} was answered by {server} at position {position}, and the log ends at \
                 {head}"
            ));
        }
        let Self { checked, mut findings, found_before, stored, .. } = self;
        let unexplained = stored.unexplained();
        stored.finish(&mut findings);
        Inspected { checked, findings, found_before, unexplained }
    }

    /// Checks the replies that stored nothing, up to a position after which the state is unchanged.
    fn check_replies_up_to(&mut self, position: SequenceNumber) {
        while let Some(reply) = self.idempotent.next_up_to(position) {
            let Idempotent { position, book, reader, command } = reply;
            let verdict = self.rules.verdict(command, book, reader);
            if verdict != Verdict::Nothing {
                let (last, subject) = (&self.last, Subject(book, reader));
                self.findings.add(format!(
                    "{command} had nothing to change at position {position}, but after {last} \
                     {verdict}{subject}"
                ));
            }
        }
        while let Some(answer) = self.answers.next_up_to(position) {
            if !self.lists.agrees(&answer) {
                let server = self.servers.server(&answer);
                let difference = answer_check::difference(&answer, server, &self.lists);
                self.findings.add(format!("{difference}, after {}", self.last));
            }
        }
    }
}

impl LastEvent {
    fn set(&mut self, event: &SequencedEvent) {
        self.position = event.sequence_number();
        self.id = event.id();
        self.event_type.clear();
        self.event_type.push_str(event.event_type());
    }
}

impl fmt::Display for LastEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, id, event_type } = self;
        match *position == SequenceNumber::ZERO {
            true => f.write_str("no event"),
            false => write!(f, "event {position}, {event_type} {id}"),
        }
    }
}
