use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use console::in_one_line;
use eddyline::{Error, SequenceNumber};
use library::commands::{Command, CommandError, CommandHandler, Outcome};
use library::queries::{Answer, Query, QueryHandler};

use crate::ledger::Ledger;
use crate::tally::{Ending, Tally};

/// Runs one client's commands and queries, measures them, and keeps account of what it was told.
pub(crate) struct Session {
    commands: CommandHandler,
    queries: QueryHandler,
    live: Arc<Live>,
    tally: Tally,
    ledger: Ledger,
}

/// Counts the operations of all desks while they work.
#[derive(Default)]
pub(crate) struct Live {
    counts: [AtomicU64; Ending::ALL.len()],
}

/// Is what a client is told of a command.
pub(crate) struct Told {
    /// How it ended.
    pub(crate) ending: Ending,
    /// Where its event was stored, if it stored one.
    pub(crate) position: Option<SequenceNumber>,
}

impl Session {
    pub(crate) fn new(
        commands: CommandHandler,
        queries: QueryHandler,
        live: Arc<Live>,
        start: SequenceNumber,
    ) -> Self {
        Self { commands, queries, live, tally: Tally::default(), ledger: Ledger::after(start) }
    }

    /// Runs a command.
    pub(crate) async fn run<C: Command>(&mut self, command: &C) -> Told {
        let started = Instant::now();
        let result = self.commands.handle(command).await;
        let told = self.take_down(result);
        self.record(C::NAME, told.ending, started.elapsed()).await;
        told
    }

    /// Asks a query that must see everything up to a position.
    pub(crate) async fn ask<Q: Query>(
        &mut self,
        query: &Q,
        position: SequenceNumber,
    ) -> Option<Answer<Q::Answer>> {
        let started = Instant::now();
        let result = self.queries.at_least(position).handle(query).await;
        let took = started.elapsed();
        match result {
            Ok(answer) => {
                *self.tally.reads.entry(answer.served_by.clone()).or_default() += 1;
                if answer.position < position {
                    let (name, at) = (Q::NAME, answer.position);
                    self.find(format!("{name} was asked at {position} and answered at {at}"));
                }
                self.record(Q::NAME, Ending::Success, took).await;
                Some(answer)
            }
            Err(error) => {
                self.tally.record_errors(in_one_line(&error), 1);
                self.record(Q::NAME, Ending::Error, took).await;
                None
            }
        }
    }

    /// Notes what cannot be right.
    pub(crate) fn find(&mut self, finding: String) {
        self.ledger.findings.push(finding);
    }

    /// Returns what was measured, and the account.
    pub(crate) fn close(self) -> (Tally, Ledger) {
        (self.tally, self.ledger)
    }

    fn take_down(&mut self, result: Result<Outcome, CommandError>) -> Told {
        let (ending, receipt) = match result {
            Ok(Outcome::Idempotent) => (Ending::Idempotent, None),
            Ok(Outcome::Success(receipt)) => (Ending::Success, Some(receipt)),
            Err(CommandError::Rejected { event_type, receipt, .. }) => {
                self.ledger.reject(event_type);
                (Ending::Rejected, Some(receipt))
            }
            Err(error) if error.is_conflict() => (Ending::Conflict, None),
            Err(error) => {
                self.tally.record_errors(in_one_line(&error), 1);
                if let CommandError::Store(Error::OutcomeUnknown { event_ids, .. }) = error {
                    self.ledger.unknown.extend(event_ids);
                }
                (Ending::Error, None)
            }
        };
        if let Some(receipt) = receipt {
            self.ledger.store(receipt.event_id, receipt.position..=receipt.position);
        }
        Told { ending, position: receipt.map(|receipt| receipt.position) }
    }

    async fn record(&mut self, operation: &'static str, ending: Ending, took: Duration) {
        self.tally.record(operation, ending, took);
        self.live.counts[ending as usize].fetch_add(1, Ordering::Relaxed);
        if ending == Ending::Error {
            // A server that is away fails at once; asking it without pause would count nothing.
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

impl Live {
    /// Returns how many operations ended so.
    pub(crate) fn count(&self, ending: Ending) -> u64 {
        self.counts[ending as usize].load(Ordering::Relaxed)
    }

    /// Returns how many operations ended.
    pub(crate) fn total(&self) -> u64 {
        Ending::ALL.map(|ending| self.count(ending)).iter().sum()
    }
}

impl Told {
    /// Returns whether it is now as the command wanted it.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.ending, Ending::Idempotent | Ending::Success)
    }
}

const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
