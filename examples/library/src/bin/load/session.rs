use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use console::error_chain;
use eddyline::{Error, SequenceNumber};
use library::commands::{Command, CommandError, CommandHandler, Outcome};
use library::queries::{Answer, Query, QueryHandler};

use crate::metrics::{Metrics, Status};
use crate::replies::Replies;

/// The handlers of one client, with the metrics of its operations and the replies it received.
pub(crate) struct ClientSession {
    commands: CommandHandler,
    queries: QueryHandler,
    live_counts: Arc<LiveCounts>,
    metrics: Metrics,
    replies: Replies,
    /// The numbers of operations that have begun.
    commands_begun: u64,
    queries_begun: u64,
}

/// The number of operations that all clients have completed, updated during the load.
#[derive(Default)]
pub(crate) struct LiveCounts {
    counts: [AtomicU64; Status::ALL.len()],
}

/// The reply to a command.
pub(crate) struct Reply {
    /// The status of the command.
    pub(crate) status: Status,
    /// The position of the command's event, if the command stored one.
    pub(crate) position: Option<SequenceNumber>,
}

impl ClientSession {
    pub(crate) fn new(
        commands: CommandHandler,
        queries: QueryHandler,
        live_counts: Arc<LiveCounts>,
        start: SequenceNumber,
    ) -> Self {
        let (metrics, replies) = (Metrics::default(), Replies::after(start));
        let (commands_begun, queries_begun) = (0, 0);
        Self { commands, queries, live_counts, metrics, replies, commands_begun, queries_begun }
    }

    /// Runs a command.
    pub(crate) async fn run<C: Command>(&mut self, command: &C) -> Reply {
        self.commands_begun += 1;
        let started = Instant::now();
        let result = self.commands.handle(command).await;
        let reply = self.record_reply(result);
        self.record_status(C::NAME, reply.status, started.elapsed()).await;
        reply
    }

    /// Runs a query that must see every event up to a position. Returns `None` if the query fails.
    pub(crate) async fn query<Q: Query>(
        &mut self,
        query: &Q,
        position: SequenceNumber,
    ) -> Option<Answer<Q::Answer>> {
        self.queries_begun += 1;
        let started = Instant::now();
        let result = self.queries.at_least(position).handle(query).await;
        let took = started.elapsed();
        match result {
            Ok(answer) => {
                *self.metrics.reads.entry(answer.served_by.clone()).or_default() += 1;
                if answer.position < position {
                    let (name, actual) = (Q::NAME, answer.position);
                    self.add_finding(format!(
                        "{name} was required at position {position} and answered at {actual}"
                    ));
                }
                self.record_status(Q::NAME, Status::Success, took).await;
                Some(answer)
            }
            Err(error) => {
                self.metrics.record_errors(error_chain(&error), 1);
                self.record_status(Q::NAME, Status::Error, took).await;
                None
            }
        }
    }

    /// Returns whether at least this share of the operations are queries, in percent, even if the
    /// next operation is none.
    pub(crate) fn has_share_of_queries(&self, percent: u32) -> bool {
        let with_next = self.commands_begun + self.queries_begun + 1;
        self.queries_begun * 100 >= with_next * u64::from(percent)
    }

    /// Records an error that the client has found.
    pub(crate) fn add_finding(&mut self, finding: String) {
        self.replies.findings.push(finding);
    }

    /// Returns the metrics and the replies.
    pub(crate) fn into_parts(self) -> (Metrics, Replies) {
        (self.metrics, self.replies)
    }

    fn record_reply(&mut self, result: Result<Outcome, CommandError>) -> Reply {
        let (status, receipt) = match result {
            Ok(Outcome::Idempotent) => (Status::Idempotent, None),
            Ok(Outcome::Success(receipt)) => (Status::Success, Some(receipt)),
            Err(CommandError::Rejected { event_type, receipt, .. }) => {
                self.replies.add_rejection(event_type);
                (Status::Rejected, Some(receipt))
            }
            Err(error) if error.is_conflict() => (Status::Conflict, None),
            Err(error) => {
                self.metrics.record_errors(error_chain(&error), 1);
                if let CommandError::Store(Error::OutcomeUnknown { event_ids, .. }) = error {
                    self.replies.unknown.extend(event_ids);
                }
                (Status::Error, None)
            }
        };
        if let Some(receipt) = receipt {
            self.replies.add_stored(receipt.event_id, receipt.position..=receipt.position);
        }
        Reply { status, position: receipt.map(|receipt| receipt.position) }
    }

    async fn record_status(&mut self, operation: &'static str, status: Status, took: Duration) {
        self.metrics.record(operation, status, took);
        self.live_counts.counts[status as usize].fetch_add(1, Ordering::Relaxed);
        if status == Status::Error {
            // Requests to an unavailable server fail at once. Without a pause, the client would
            // only count errors.
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

impl LiveCounts {
    /// Returns the number of operations with this status.
    pub(crate) fn count(&self, status: Status) -> u64 {
        self.counts[status as usize].load(Ordering::Relaxed)
    }

    /// Returns the number of completed operations.
    pub(crate) fn total(&self) -> u64 {
        Status::ALL.map(|status| self.count(status)).iter().sum()
    }
}

impl Reply {
    /// Returns whether the library is now in the state that the command requests.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.status, Status::Idempotent | Status::Success)
    }
}

const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
