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
