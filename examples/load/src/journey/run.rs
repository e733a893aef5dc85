use std::collections::HashSet;

use console::error_chain;
use eddyline::{Error, SequenceNumber};
use library::commands::{Command, CommandError, Outcome};
use library::domain::{BookId, ReaderId};
use library::queries::{
    Answer, BooksInCirculation, BooksLentOut, CanceledReaders, FinishedLendings, Order, QueryError,
    RegisteredReaders, RemovedBooks,
};
use tokio::time::Instant;

use crate::city::{Browse, City, End, Operation, Request};
use crate::plan::{Aim, Group, List};
use crate::replies::{Canonical, Replies, Subject};
use crate::service::Service;
use crate::tally::{Ended, Status, Tally};

/// Runs the operations of an intention.
pub struct Runner<'a> {
    pub city: &'a City,
    pub service: &'a Service,
    pub tally: &'a Tally,
    pub replies: &'a Replies,
    pub intended: std::time::Instant,
}

impl Runner<'_> {
    /// Runs a command or query, and tells the city how it ended. Returns whether it did not fail.
    pub async fn run(&self, operation: Operation) -> bool {
        let aim = operation.aim;
        let end = match &operation.request {
            Request::Add(add) => {
                self.command(add, aim, Group::Circulation, Some(add.book), None).await
            }
            Request::Browse(browse) => self.browse(browse).await,
            Request::Cancel(cancel) => {
                self.command(cancel, aim, Group::Readers, None, Some(cancel.reader)).await
            }
            Request::Lend(lend) => {
                self.command(lend, aim, Group::Lending, Some(lend.book), Some(lend.reader)).await
            }
            Request::List(list) => self.list(*list).await,
            Request::Register(register) => {
                self.command(register, aim, Group::Readers, None, Some(register.reader)).await
            }
            Request::Remove(remove) => {
                self.command(remove, aim, Group::Circulation, Some(remove.book), None).await
            }
            Request::Return(back) => {
                self.command(back, aim, Group::Lending, Some(back.book), Some(back.reader)).await
            }
        };
        self.city.end(operation, end);
        !matches!(end, End::Failed | End::Unknown)
    }

    async fn command<C: Command>(
        &self,
        command: &C,
        aim: Aim,
        group: Group,
        book: Option<BookId>,
        reader: Option<ReaderId>,
    ) -> End {
        self.tally.began(self.intended);
        let began = Instant::now();
        let result = self.service.run(command, aim).await;
        let mut ended = self.ended(C::NAME, group, began);
        let subject = Subject { command: C::NAME, book, reader };
        self.replies.command(subject, &result);
        let end = record(&mut ended, &result);
        self.tally.ended(&ended);
        end
    }

    /// Asks for the loans of a reader, and checks that the answer has the reader's last change.
    async fn browse(&self, browse: &Browse) -> End {
        let Some(answer) = self.query(&browse.query, browse.position).await else {
            return End::Failed;
        };
        let answered: HashSet<_> = answer.value.iter().map(|loan| loan.book).collect();
        let is_right = answered == browse.loans.iter().copied().collect();
        if !is_right && self.service.has_log() {
            let Answer { served_by, position, .. } = answer;
            self.replies.finding(format!(
                "reader {} has {} books as of position {}, and {served_by} answered {} at {position}",
                browse.query.reader,
                browse.loans.len(),
                browse.position,
                answered.len(),
            ));
        }
        End::Answered
    }

    async fn list(&self, list: List) -> End {
        let is_answered = match list {
            List::BooksInCirculation => self.ask(&BooksInCirculation).await,
            List::BooksLentOut => self.ask(&BooksLentOut).await,
            List::CanceledReaders => self.ask(&CanceledReaders).await,
            List::FinishedLendings => {
                self.ask(&FinishedLendings { max: 100, order: Order::NewestFirst }).await
            }
            List::RegisteredReaders => self.ask(&RegisteredReaders).await,
            List::RemovedBooks => self.ask(&RemovedBooks).await,
        };
        if is_answered { End::Answered } else { End::Failed }
    }

    async fn ask<Q: Canonical<Answer: PartialEq>>(&self, query: &Q) -> bool {
        self.query(query, SequenceNumber::ZERO).await.is_some()
    }

    /// Runs a query that must see every event up to a position. Returns `None` if it fails.
    async fn query<Q: Canonical<Answer: PartialEq>>(
        &self,
        query: &Q,
        position: SequenceNumber,
    ) -> Option<Answer<Q::Answer>> {
        self.tally.began(self.intended);
        let began = Instant::now();
        let result: Result<_, QueryError> = self.service.answer(query, position).await;
        let mut ended = self.ended(Q::NAME, Group::Queries, began);
        match &result {
            Ok(answer) => {
                ended.status = Status::Success;
                ended.served_by = Some(answer.served_by.clone());
                ended.retries = answer.attempts.saturating_sub(1);
                self.replies.answer(query, position, answer);
            }
            Err(error) => ended.error = Some(error_chain(error)),
        }
        self.tally.ended(&ended);
        result.ok()
    }

    fn ended(&self, operation: &'static str, group: Group, began: Instant) -> Ended {
        let (began, ended) = (began.into_std(), Instant::now().into_std());
        Ended::new(operation, group, Status::Error, self.intended, began, ended)
    }
}

/// Records a result for the tally. Returns what the city must know of it.
fn record(ended: &mut Ended, result: &Result<Outcome, CommandError>) -> End {
    let (status, effort, end) = match result {
        Ok(Outcome::Idempotent { effort, .. }) => {
            (Status::Idempotent, Some(*effort), End::Idempotent)
        }
        Ok(Outcome::Success(receipt)) => {
            let end = End::Success { position: receipt.position };
            (Status::Success, Some(receipt.effort), end)
        }
        Err(CommandError::Rejected { receipt, .. }) => {
            let end = End::Rejected { position: receipt.position };
            (Status::Rejected, Some(receipt.effort), end)
        }
        Err(error) if error.is_conflict() => (Status::Conflict, None, End::Failed),
        Err(CommandError::Store(Error::OutcomeUnknown { .. })) => {
            (Status::Error, None, End::Unknown)
        }
        Err(CommandError::Decode(_) | CommandError::Store(_)) => (Status::Error, None, End::Failed),
    };
    ended.status = status;
    if let Some(effort) = effort {
        ended.events_read = effort.events as u64;
        ended.lost_rounds = effort.conflicts;
        ended.retries = effort.attempts.saturating_sub(effort.conflicts + 1);
        ended.is_escalated = effort.is_escalated;
    }
    if let (Status::Error, Err(error)) = (status, result) {
        ended.error = Some(error_chain(error));
    }
    end
}

#[cfg(test)]
mod tests {
    use library::commands::{Effort, Receipt};
    use uuid::Uuid;

    use super::*;

    fn recorded(result: Result<Outcome, CommandError>) -> (Ended, End) {
        let now = std::time::Instant::now();
        let (name, group) = ("AddBookCopy", Group::Circulation);
        let mut ended = Ended::new(name, group, Status::Error, now, now, now);
        let end = record(&mut ended, &result);
        (ended, end)
    }

    #[test]
    fn attempts_are_lost_rounds_and_retries() {
        let effort = Effort { events: 7, attempts: 6, conflicts: 3, is_escalated: true };
        let position = SequenceNumber::new(9);
        let receipt = Receipt { event_id: Uuid::nil(), position, effort };

        let (ended, end) = recorded(Ok(Outcome::Success(receipt)));

        assert_eq!((ended.status, end), (Status::Success, End::Success { position }));
        assert_eq!((ended.lost_rounds, ended.retries, ended.events_read), (3, 2, 7));
        assert!(ended.is_escalated && ended.error.is_none());
    }

    #[test]
    fn a_conflict_is_no_error_and_stores_nothing() {
        let (after, position) = (SequenceNumber::new(7), SequenceNumber::new(8));
        let event_type = "BookCopyRemovedFromCirculation".to_owned();
        let conflict = Error::Conflict { after, position, event_type };

        let (ended, end) = recorded(Err(CommandError::Store(conflict)));

        assert_eq!((ended.status, end), (Status::Conflict, End::Failed));
        assert_eq!(ended.error, None);
    }
}
