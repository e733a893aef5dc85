//! What the handlers returned, for the audit.

mod answers;
mod canonical;
mod command;
mod content;

use std::mem;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eddyline::{Error, SequenceNumber};
use library::commands::{CommandError, Outcome};
use library::queries::Answer;
use uuid::Uuid;

pub use self::answers::{Answers, KeptAnswer, Question};
pub use self::canonical::{Canonical, content};
pub use self::command::{Acknowledged, CommandName, Idempotent, Reply, Subject, subject_hash};
pub use self::content::{Content, ContentBuilder, row_hash};

/// What the handlers returned. Clones share it: each client has one.
#[derive(Clone, Debug)]
pub struct Replies {
    recorded: Arc<Mutex<Recorded>>,
}

/// The contents of [`Replies`], for the audit.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The head of the log before the first reply.
    pub start: SequenceNumber,
    /// The events that commands stored.
    pub acknowledged: Vec<Acknowledged>,
    /// The commands that had nothing to change.
    pub idempotent: Vec<Idempotent>,
    /// The events of appends whose outcome is unknown.
    pub unknown: Vec<Uuid>,
    /// The imported events.
    pub imported: Vec<Uuid>,
    /// The positions between which the imported events are. `None` if there are none.
    pub imported_at: Option<RangeInclusive<SequenceNumber>>,
    /// The answers to queries.
    pub answers: Answers,
    /// The errors that were noticed in replies during the load.
    pub findings: Vec<String>,
}

impl Replies {
    /// Creates an empty collection for the events after a position.
    pub fn after(start: SequenceNumber) -> Self {
        let recorded = Recorded { start, ..Recorded::default() };
        Self { recorded: Arc::new(Mutex::new(recorded)) }
    }

    /// Adds what the handler returned for a command. Errors store nothing and are not kept, except
    /// for those after which it is unknown whether the event was stored.
    pub fn command(&self, subject: Subject, result: &Result<Outcome, CommandError>) {
        let Some(command) = CommandName::from_name(subject.command) else {
            return self.finding(format!("{} is not a command of the library", subject.command));
        };
        let (receipt, reply) = match result {
            Ok(Outcome::Success(receipt)) => (receipt, Reply::Success),
            Err(CommandError::Rejected { event_type, reason, receipt }) => {
                if command.failure_type() != Some(*event_type) {
                    let name = subject.command;
                    self.finding(format!("{name} was rejected with a {event_type} event"));
                }
                (receipt, Reply::Rejected(*reason))
            }
            Ok(Outcome::Idempotent { position, .. }) => {
                let position = *position;
                return self.lock().idempotent.push(subject.idempotent(command, position));
            }
            Err(CommandError::Store(Error::OutcomeUnknown { event_ids, .. })) => {
                return self.lock().unknown.extend(event_ids);
            }
            Err(_) => return,
        };
        let (position, event) = (receipt.position, receipt.event_id);
        let subject = subject.hash();
        self.lock().acknowledged.push(Acknowledged { position, event, command, reply, subject });
    }

    /// Adds the answer to a query that was required at a position or later.
    pub fn answer<Q: Canonical>(
        &self,
        query: &Q,
        required: SequenceNumber,
        answer: &Answer<Q::Answer>,
    ) {
        let (content, lines) = content::<Q>(&answer.value);
        let Answer { position, served_by, .. } = answer;
        let question = query.question();
        let mut recorded = self.lock();
        if *position < required {
            recorded.findings.push(format!(
                "{question} was required at position {required}, and {served_by} answered at \
                 position {position}"
            ));
        }
        recorded.answers.add(question, *position, served_by, content, lines);
    }

    /// Adds events that were imported, and the positions between which they are.
    pub fn imported(
        &self,
        events: impl IntoIterator<Item = Uuid>,
        positions: RangeInclusive<SequenceNumber>,
    ) {
        let mut recorded = self.lock();
        recorded.imported.extend(events);
        recorded.imported_at = Some(match recorded.imported_at.take() {
            None => positions,
            Some(former) => {
                *former.start().min(positions.start())..=*former.end().max(positions.end())
            }
        });
    }

    /// Adds an error that was noticed during the load.
    pub fn finding(&self, finding: String) {
        self.lock().findings.push(finding);
    }

    /// Returns the contents and leaves the collection empty.
    pub fn take(&self) -> Recorded {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use library::commands::{Effort, Receipt};

    use super::*;

    #[test]
    fn a_reply_takes_less_than_100_bytes() {
        assert!(size_of::<Acknowledged>() < 100);
        assert!(size_of::<Idempotent>() < 100);
        assert!(size_of::<KeptAnswer>() < 100);
    }

    #[test]
    fn clones_share_their_contents() {
        let replies = Replies::after(SequenceNumber::new(7));
        let (event_id, position) = (Uuid::from_u128(1), SequenceNumber::new(8));
        let receipt = Receipt { event_id, position, effort: Effort::default() };
        let subject = Subject { command: "AddBookCopy", book: None, reader: None };

        replies.clone().command(subject, &Ok(Outcome::Success(receipt)));

        let recorded = replies.take();
        let events: Vec<_> = recorded.acknowledged.iter().map(|reply| reply.event).collect();
        assert_eq!((recorded.start, events), (SequenceNumber::new(7), vec![event_id]));
    }

    #[test]
    fn an_unknown_command_is_a_finding() {
        let replies = Replies::after(SequenceNumber::ZERO);
        let position = SequenceNumber::ZERO;
        let reply = Ok(Outcome::Idempotent { position, effort: Effort::default() });

        let subject = Subject { command: "BurnBookCopy", book: None, reader: None };
        replies.command(subject, &reply);

        assert_eq!(replies.take().findings, ["BurnBookCopy is not a command of the library"]);
    }

    #[test]
    fn an_error_that_stored_nothing_is_not_kept() {
        let replies = Replies::after(SequenceNumber::ZERO);
        let subject = Subject { command: "AddBookCopy", book: None, reader: None };

        let (after, position) = (SequenceNumber::new(7), SequenceNumber::new(8));
        let event_type = "BookCopyRemovedFromCirculation".to_owned();
        let conflict = Error::Conflict { after, position, event_type };
        replies.command(subject, &Err(CommandError::Store(conflict)));

        let Recorded { acknowledged, idempotent, unknown, findings, .. } = replies.take();
        assert!(acknowledged.is_empty() && idempotent.is_empty());
        assert!(unknown.is_empty() && findings.is_empty());
    }
}
