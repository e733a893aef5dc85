use std::time::Duration;

use futures_util::future::{join, join3};
use tokio_postgres::{Client, IsolationLevel, Portal, Row, Transaction};

use super::deadline::{AttemptDeadline, timed_out};
use super::failure::{check_open, failed_append, finds_id_taken, name_holder, outcome_unknown};
use super::log::Log;
use crate::error::BoxError;
use crate::pool::{Lease, StatementHandle, last_row, sent};
use crate::sql::{self, BatchAnswer, Precondition, Statement, TransactionEnd};
use crate::{Error, Event, SequenceNumber};

/// A large append, or the chunk of an import, in a transaction of its own.
///
/// Its events are bound before they are appended: binding is when the server takes them in, and
/// executing is when it takes the log's lock. So no append waits while they are on their way, and an
/// attempt whose time is up before they have arrived has stored nothing.
///
/// A pooler that shares connections by transaction has no statements to bind. There the events arrive
/// with the call, which takes the lock when all of them are there.
pub(super) struct StagedAppend<'a> {
    pub(super) log: &'a Log,
    pub(super) events: &'a [Event],
    pub(super) precondition: Precondition<'a>,
    pub(super) lock_timeout: Duration,
}

/// What an attempt to append came to.
pub(super) struct StagedAnswer {
    /// The log's head before anything could be stored; `None` if that was never the case.
    pub(super) floor: Option<SequenceNumber>,
    pub(super) result: Result<BatchAnswer, StagedFailure>,
}

/// Why the events were not appended.
pub(super) enum StagedFailure {
    Error(Error),
    /// The log holds the id of one of them.
    IdTaken,
}

impl From<Error> for StagedAnswer {
    /// Answers with an error that arose before anything could be stored.
    fn from(error: Error) -> Self {
        Self { floor: None, result: Err(StagedFailure::Error(error)) }
    }
}

/// What the last round trip was answered.
struct Answers {
    appended: Result<Option<Row>, tokio_postgres::Error>,
    committed: Result<(), tokio_postgres::Error>,
}

impl StagedAppend<'_> {
    /// Runs the transaction. Dropped, it has appended the events or not.
    pub(super) async fn run(&self, lease: &mut Lease, deadline: AttemptDeadline) -> StagedAnswer {
        let head = sql::head(&self.log.name);
        let lock_timeout = deadline.lock_timeout(self.lock_timeout).or(Some(self.lock_timeout));
        let ending = if lease.own_id().is_some() {
            TransactionEnd::KeepOpen
        } else {
            TransactionEnd::Commit
        };
        let call = sql::append_batch(
            &self.log.append_texts,
            self.precondition,
            ending,
            lock_timeout,
            None,
            self.events.iter(),
        );
        let server = lease.server().clone();
        let prepared = deadline.run_against(&server, async {
            Ok((lease.prepare(&head.text).await?, lease.prepare(&call.text).await?))
        });
        let forms = match prepared.await.and_then(|forms| check_open(lease).map(|()| forms)) {
            Ok(forms) => forms,
            Err(error) => return error.into(),
        };
        lease.enter_transaction();
        lease.start_clock();
        match &forms {
            (head_form, StatementHandle::Named(named)) => {
                self.bind_and_execute(lease, (&head, head_form), (&call, named), deadline).await
            }
            (head_form, StatementHandle::Unnamed) => {
                let client = lease.client();
                let answers = join(
                    sent(client, head_form, &head),
                    sent(client, &StatementHandle::Unnamed, &call),
                );
                match deadline.run(answers).await {
                    Ok((head, appended)) => {
                        let answers = Answers { appended, committed: Ok(()) };
                        self.answer(lease, head.as_ref().ok(), answers, deadline).await
                    }
                    Err(waited) => self.unanswered(lease, SequenceNumber::ZERO, waited),
                }
            }
        }
    }

    /// Binds the events, and when they have arrived executes the call and commits.
    async fn bind_and_execute(
        &self,
        lease: &mut Lease,
        (head, head_form): (&Statement<'_>, &StatementHandle),
        (call, named): (&Statement<'_>, &tokio_postgres::Statement),
        deadline: AttemptDeadline,
    ) -> StagedAnswer {
        let client = lease.client_mut();
        let staging = bind(client, (head, head_form), (call, named), deadline);
        let staged = match deadline.run(staging).await {
            Ok(Ok((head, transaction, portal))) => {
                Ok(Ok((head, deadline.run(execute(transaction, &portal)).await)))
            }
            Ok(Err(error)) => Ok(Err(error)),
            Err(waited) => Err(waited),
        };
        match staged {
            Ok(Ok((head, Ok(answers)))) => self.answer(lease, Some(&head), answers, deadline).await,
            Ok(Ok((head, Err(waited)))) => {
                let floor = head.as_ref().and_then(|head| sql::decode_head(head).ok());
                self.unanswered(lease, floor.unwrap_or_default(), waited)
            }
            Ok(Err(error)) => lease.failed(error).into(),
            Err(waited) => {
                lease.discard();
                timed_out(lease.server(), waited).into()
            }
        }
    }

    async fn answer(
        &self,
        lease: &mut Lease,
        head: Option<&Option<Row>>,
        answers: Answers,
        deadline: AttemptDeadline,
    ) -> StagedAnswer {
        lease.leave_transaction();
        let floor = head.and_then(|head| sql::decode_head(head.as_ref()?).ok());
        let floor = Some(floor.unwrap_or_default());
        let result = self.decode(lease, answers, deadline).await;
        StagedAnswer { floor, result }
    }

    async fn decode(
        &self,
        lease: &mut Lease,
        answers: Answers,
        deadline: AttemptDeadline,
    ) -> Result<BatchAnswer, StagedFailure> {
        let row = match answers.appended {
            Ok(row) => row,
            Err(error) if finds_id_taken(&self.log.name, &error) => {
                return Err(StagedFailure::IdTaken);
            }
            Err(error) => {
                let error = failed_append(lease, self.events, error);
                let error = name_holder(&self.log.name, lease, error, deadline).await;
                return Err(StagedFailure::Error(error));
            }
        };
        let unknown = |source: BoxError| {
            StagedFailure::Error(outcome_unknown(lease.server(), self.events, source))
        };
        let row = row.ok_or_else(|| unknown("the append was answered without a row".into()))?;
        let answer = BatchAnswer::decode(&row).map_err(unknown)?;
        let committed = answers.committed.map_err(|error| failed_append(lease, self.events, error));
        committed.map(|()| answer).map_err(StagedFailure::Error)
    }

    fn unanswered(
        &self,
        lease: &mut Lease,
        floor: SequenceNumber,
        waited: Duration,
    ) -> StagedAnswer {
        lease.discard();
        let error = timed_out(lease.server(), waited);
        let error = outcome_unknown(lease.server(), self.events, error);
        StagedAnswer { floor: Some(floor), result: Err(StagedFailure::Error(error)) }
    }
}

/// Begins a transaction and binds the events, which is when the server takes them in. Returns the head
/// as well.
async fn bind<'c>(
    client: &'c mut Client,
    (head, head_form): (&Statement<'_>, &StatementHandle),
    (call, named): (&Statement<'_>, &tokio_postgres::Statement),
    deadline: AttemptDeadline,
) -> Result<(Option<Row>, Transaction<'c>, Portal), tokio_postgres::Error> {
    // The server gives up a transaction that has stopped arriving soon after this process does.
    let wait = deadline.left().map_or(LONGEST_WAIT, |left| left + sql::IDLE_TIMEOUT);
    let wait = sql::wait_for_client(wait.min(LONGEST_WAIT));
    let builder = client.build_transaction();
    let transaction = builder.isolation_level(IsolationLevel::ReadCommitted).start().await?;
    let client = transaction.client();
    let (allowed, head, portal) = join3(
        client.batch_execute(&wait),
        sent(client, head_form, head),
        transaction.bind_raw(named, &call.params),
    )
    .await;
    allowed?;
    Ok((head?, transaction, portal?))
}

/// Executes what is bound, and commits. Both requests are written before either is waited for: some
/// forty bytes, of which the second is on its way when the first takes the log's lock.
async fn execute(transaction: Transaction<'_>, portal: &Portal) -> Answers {
    let appended = transaction.query_portal_raw(portal, 0).await;
    let (appended, committed) = join(last_row(appended), transaction.commit()).await;
    Answers { appended, committed }
}

/// The longest that the server waits for an append to arrive.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
