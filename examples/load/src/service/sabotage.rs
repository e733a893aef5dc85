use eddyline::{ReadOnly, ReadWrite, SequenceNumber, Store};
use library::commands::{
    Command, CommandError, Decision, Effort, Outcome, Reason, Receipt, decide,
};
use library::domain::DomainEvent;
use library::queries::{self, Answer, Query, QueryError, SequencedDomainEvent};
use uuid::Uuid;

use super::chance::Chance;

/// A way in which a store is broken, to prove that the audit notices.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sabotage {
    /// An event is acknowledged and not stored.
    Lost,
    /// A query is answered from an older position than the answer says.
    Old,
    /// A decision on an outdated history is stored.
    Stale,
}

/// A store that is broken on purpose: it replaces some replies by wrong ones.
#[derive(Debug)]
pub struct BrokenStore {
    sabotage: Sabotage,
    writer: Store<ReadWrite>,
    reader: Store<ReadOnly>,
    chance: Chance,
}

/// The wrong reply to a command.
#[derive(Debug)]
pub struct WrongReply {
    receipt: Receipt,
    /// The type of the failure event and the reason, if the command was rejected.
    rejection: Option<(&'static str, Reason)>,
}

impl BrokenStore {
    /// Creates a broken store over two that work.
    pub fn new(sabotage: Sabotage, writer: Store<ReadWrite>, reader: Store<ReadOnly>) -> Self {
        Self { sabotage, writer, reader, chance: Chance::default() }
    }

    /// Runs a command wrongly, if it is the next one to go wrong and a wrong reply
    /// is possible.
    pub async fn run<C: Command>(&self, command: &C) -> Result<Option<WrongReply>, CommandError> {
        let reply = match self.sabotage {
            Sabotage::Old => return Ok(None),
            _ if !self.chance.is_next() => return Ok(None),
            Sabotage::Lost => self.lose(command).await?,
            Sabotage::Stale => self.decide_stale(command).await?,
        };
        if reply.is_some() {
            self.chance.taken();
        }
        Ok(reply)
    }

    /// Acknowledges the event of a successful command and does not store it.
    async fn lose<C: Command>(&self, command: &C) -> Result<Option<WrongReply>, CommandError> {
        let history = self.writer.query(&command.filter()?).await?;
        match decide(command, decoded(history.events())?) {
            // The position of an earlier event is reached by reads at least at this position.
            Decision::Success(_) => Ok(Some(WrongReply {
                receipt: receipt(Uuid::now_v7(), history.position()),
                rejection: None,
            })),
            Decision::Idempotent | Decision::Rejected(..) => Ok(None),
        }
    }

    /// Decides a command without its newest events and stores the decision, if the newest events
    /// change it.
    async fn decide_stale<C: Command>(
        &self,
        command: &C,
    ) -> Result<Option<WrongReply>, CommandError> {
        let history = self.writer.query(&command.filter()?).await?;
        let (event, rejection) = match outdated_decision(command, &decoded(history.events())?) {
            None | Some(Decision::Idempotent) => return Ok(None),
            Some(Decision::Rejected(event, reason)) => {
                let rejection = (event.event_type(), reason);
                (event, Some(rejection))
            }
            Some(Decision::Success(event)) => (event, None),
        };
        let event = event.to_event(Uuid::now_v7())?;
        let id = event.id();
        // The whole history must be unchanged: another event could make the wrong decision right.
        // The store accepts the decision all the same, as if it had lost the condition of the part
        // of the history that the decision has seen.
        match self.writer.append([event], history.condition()).await {
            Ok(appended) => {
                Ok(Some(WrongReply { receipt: receipt(id, appended.last()), rejection }))
            }
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Answers a query from an older position than the answer says, if it is the next one to
    /// go wrong and the right answer is another one.
    pub async fn answer<Q>(
        &self,
        query: &Q,
        required: SequenceNumber,
    ) -> Result<Option<Answer<Q::Answer>>, QueryError>
    where
        Q: Query,
        Q::Answer: PartialEq,
    {
        if self.sabotage != Sabotage::Old || !self.chance.is_next() {
            return Ok(None);
        }
        let mut read = eddyline::Query::new(&query.filter()?);
        if required > SequenceNumber::ZERO {
            read = read.up_to(required);
        }
        let history = self.reader.at_least(required).query(read).await?;
        let events = history.events().iter().map(SequencedDomainEvent::try_from);
        let events: Vec<_> = events.collect::<Result<_, _>>()?;
        let right = queries::answer(query, events.iter().cloned());
        // Leaves out one event, then two, four and so on, up to all.
        let mut outdated = (0..usize::BITS)
            .map(|power| 1_usize << power)
            .take_while(|newest| *newest / 2 < events.len())
            .map(|newest| events.len().saturating_sub(newest))
            .map(|older| queries::answer(query, events[..older].iter().cloned()));
        let Some(value) = outdated.find(|answer| *answer != right) else {
            return Ok(None);
        };
        self.chance.taken();
        let (position, served_by) = (history.position(), history.served_by().name().to_owned());
        Ok(Some(Answer { value, position, served_by, attempts: 1 }))
    }
}

impl WrongReply {
    /// Returns the reply as the handler of commands gives it.
    pub fn into_result(self) -> Result<Outcome, CommandError> {
        let receipt = self.receipt;
        match self.rejection {
            None => Ok(Outcome::Success(receipt)),
            Some((event_type, reason)) => {
                Err(CommandError::Rejected { event_type, reason, receipt })
            }
        }
    }
}

/// Returns a decision that stores an event, and that the newest events change.
fn outdated_decision<C: Command>(command: &C, events: &[DomainEvent]) -> Option<Decision> {
    let right = decide(command, events.iter().cloned());
    (1..=events.len().min(MAX_OUTDATED))
        .map(|newest| decide(command, events[..events.len() - newest].iter().cloned()))
        .find(|decision| *decision != Decision::Idempotent && *decision != right)
}

fn receipt(event_id: Uuid, position: SequenceNumber) -> Receipt {
    Receipt { event_id, position, effort: Effort { attempts: 1, ..Effort::default() } }
}

fn decoded(events: &[eddyline::SequencedEvent]) -> Result<Vec<DomainEvent>, CommandError> {
    let events = events.iter().map(DomainEvent::try_from);
    Ok(events.collect::<Result<_, _>>()?)
}

/// The maximum number of newest events that an outdated history lacks.
const MAX_OUTDATED: usize = 16;
