use std::time::Duration;

use futures_util::future::{join3, join4};
use futures_util::{TryStreamExt, pin_mut};
use tokio_postgres::{Client, IsolationLevel, Portal, Row, RowStream, Transaction};

use super::limit::{Limit, timed_out};
use super::transact::{name_holder, outcome_unknown};
use crate::error::BoxError;
use crate::import::ChunkStored;
use crate::log::LogName;
use crate::pool::{Form, Lease, sent};
use crate::sql::{self, Statement};
use crate::{Class, Error, Event, Reason, SequenceNumber};

/// A transaction whose data are at the server, and read there, before it takes the log's lock.
///
/// The statement that stores them is bound first, which is when the server takes its values in; it
/// is executed after the lock is had, which is when it takes its snapshot. However slowly the
/// values arrive, or if they do not, nobody waits for them.
pub(super) struct Staged<'a> {
    pub(super) log: &'a LogName,
    pub(super) events: &'a [Event],
    pub(super) lock: Statement<'static>,
    pub(super) import: Statement<'a>,
    /// How long the server is to wait for the values.
    pub(super) for_client: Duration,
}

/// What became of a try.
pub(super) struct Tried {
    /// Where the log ended before the try could store anything; nothing where it could not.
    pub(super) floor: Option<SequenceNumber>,
    pub(super) stored: Result<ChunkStored, Error>,
}

impl From<Error> for Tried {
    fn from(error: Error) -> Self {
        Self { floor: None, stored: Err(error) }
    }
}

impl Staged<'_> {
    /// Runs the transaction.
    pub(super) async fn run(&self, lease: &mut Lease, limit: Limit) -> Tried {
        let server = lease.server().clone();
        let head = sql::head(self.log);
        let forms = async {
            let lock = lease.prepare(&self.lock.text).await?;
            let import = lease.prepare(&self.import.text).await?;
            Ok(Forms { lock, import, head: lease.prepare(&head.text).await? })
        };
        let forms = match limit.of(&server, forms).await {
            Ok(forms) => forms,
            Err(error) => return error.into(),
        };
        lease.hold();
        lease.begin();
        match self.converse(lease.client_mut(), &forms, &head, limit).await {
            Course::Answered { floor, answers } => {
                let stored = self.judge(lease, answers, limit).await;
                Tried { floor: Some(floor), stored }
            }
            Course::Refused(error) => {
                // What had begun is rolled back, and a connection that ended shows.
                lease.release();
                lease.failed(error).into()
            }
            Course::Unanswered { floor, waited } => {
                lease.give_up();
                let error = timed_out(&server, waited);
                let stored = Err(match floor {
                    Some(_) => outcome_unknown(&server, self.events, error),
                    None => error,
                });
                Tried { floor, stored }
            }
            Course::Undecodable(error) => error.into(),
        }
    }

    /// Sends everything, in three round trips. The last one is lock, statement and `COMMIT`, all
    /// of which are written at one poll: dropped then or later, the transaction is complete on the
    /// wire.
    async fn converse(
        &self,
        client: &mut Client,
        forms: &Forms,
        head: &Statement<'_>,
        limit: Limit,
    ) -> Course {
        let staging = async {
            let builder = client.build_transaction();
            let transaction =
                builder.isolation_level(IsolationLevel::ReadCommitted).start().await?;
            let client = transaction.client();
            let wait = sql::wait_for_client(self.for_client);
            let (allowed, lock, import, head) = join4(
                client.batch_execute(&wait),
                bind(&transaction, &forms.lock, &self.lock),
                bind(&transaction, &forms.import, &self.import),
                sent(client, &forms.head, head),
            )
            .await;
            allowed?;
            Ok((lock?, import?, head?, transaction))
        };
        let (lock, import, head, transaction) = match limit.hold(staging).await {
            Ok(Ok(staged)) => staged,
            Ok(Err(error)) => return Course::Refused(error),
            Err(waited) => return Course::Unanswered { floor: None, waited },
        };
        let floor = match head.as_ref().map_or(Ok(SequenceNumber::ZERO), sql::decode_head) {
            Ok(floor) => floor,
            Err(error) => return Course::Undecodable(error),
        };
        match limit.hold(store(transaction, &lock, &import)).await {
            Ok(answers) => Course::Answered { floor, answers },
            Err(waited) => Course::Unanswered { floor: Some(floor), waited },
        }
    }

    async fn judge(
        &self,
        lease: &mut Lease,
        answers: Answers,
        limit: Limit,
    ) -> Result<ChunkStored, Error> {
        let Answers { locked, imported, committed } = answers;
        lease.release();
        if let Err(error) = locked {
            let error = self.failed(lease, error);
            return Err(name_holder(self.log, lease, error, limit).await);
        }
        let row = imported.map_err(|error| self.failed(lease, error))?;
        let unknown = |source: BoxError| outcome_unknown(lease.server(), self.events, source);
        let row = row.ok_or_else(|| unknown("the import was answered without a row".into()))?;
        let stored = sql::decode_import(&row).map_err(|error| unknown(error.into()))?;
        let stored = stored.ok_or_else(|| Error::UnfitServer {
            server: lease.server().to_string(),
            reason: "the import ran outside of its transaction".into(),
            class: Class::Permanent(Reason::Bug),
        })?;
        committed.map_err(|error| self.failed(lease, error))?;
        Ok(stored)
    }

    fn failed(&self, lease: &mut Lease, error: tokio_postgres::Error) -> Error {
        match lease.failed_append(error) {
            Error::OutcomeUnknown { source, .. } => {
                outcome_unknown(lease.server(), self.events, source)
            }
            error => error,
        }
    }
}

/// How the statements are sent.
struct Forms {
    lock: Form,
    import: Form,
    head: Form,
}

/// How far the transaction came.
enum Course {
    Answered {
        floor: SequenceNumber,
        answers: Answers,
    },
    /// Nothing was to be stored yet.
    Refused(tokio_postgres::Error),
    /// The time was up; without a floor nothing was to be stored yet.
    Unanswered {
        floor: Option<SequenceNumber>,
        waited: Duration,
    },
    Undecodable(Error),
}

/// What the three requests of the last round trip were answered.
struct Answers {
    locked: Result<Option<Row>, tokio_postgres::Error>,
    imported: Result<Option<Row>, tokio_postgres::Error>,
    committed: Result<(), tokio_postgres::Error>,
}

/// Executes what is bound, and commits. Nothing waits before all of it is written.
async fn store(transaction: Transaction<'_>, lock: &Portal, import: &Portal) -> Answers {
    let locked = transaction.query_portal_raw(lock, 0).await;
    let imported = transaction.query_portal_raw(import, 0).await;
    let (locked, imported, committed) =
        join3(last(locked), last(imported), transaction.commit()).await;
    Answers { locked, imported, committed }
}

async fn last(
    rows: Result<RowStream, tokio_postgres::Error>,
) -> Result<Option<Row>, tokio_postgres::Error> {
    let rows = rows?;
    pin_mut!(rows);
    let mut last = None;
    while let Some(row) = rows.try_next().await? {
        last = Some(row);
    }
    Ok(last)
}

/// Binds a statement's values, written at the first poll.
async fn bind(
    transaction: &Transaction<'_>,
    form: &Form,
    statement: &Statement<'_>,
) -> Result<Portal, tokio_postgres::Error> {
    let Form::Named(named) = form else { unreachable!("the statements of an import are short") };
    transaction.bind_raw(named, &statement.params).await
}
