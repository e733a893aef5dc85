//! The state that all tasks of a run share.

use std::sync::atomic::{AtomicBool, Ordering};

use console::Stop;
use eddyline::{Error, ReadOnly, Store};
use tokio::sync::Mutex;

use crate::args::{Args, Sabotage};
use crate::checks::Checks;
use crate::failure::Failure;
use crate::record::Record;
use crate::report::Report;
use crate::stores::Stores;
use crate::tally::Tally;
use crate::testbed::Testbed;

/// A run.
pub struct Run {
    pub seed: u64,
    pub sabotage: Option<Sabotage>,
    pub testbed: Testbed,
    pub stores: Stores,
    pub record: Record,
    pub checks: Mutex<Checks>,
    /// Ends the disturbances early.
    pub stop: Stop,
    is_over: AtomicBool,
}

impl Run {
    pub async fn prepare(args: &Args, seed: u64, stop: Stop) -> Result<Self, Failure> {
        let testbed = Testbed::prepare(args).await?;
        let mut checks = Checks::default();
        checks.audit.begin(&testbed, testbed.roles().primary).await?;
        let stores = Stores::connect(&testbed, args.sabotage).await?;
        Ok(Self {
            seed,
            sabotage: args.sabotage,
            testbed,
            stores,
            record: Record::default(),
            checks: Mutex::new(checks),
            stop,
            is_over: AtomicBool::new(false),
        })
    }

    /// Checks the rest, and returns the outcome. No operation must be running.
    pub async fn into_report(self) -> Result<Report, Failure> {
        // The work is done: from now on the first signal ends the program.
        self.stop.set();
        self.checks.lock().await.finish(&self).await?;
        let Self { record, checks, seed, .. } = self;
        let Checks { checker, audit, first_found, .. } = checks.into_inner();
        Ok(Report {
            first_found,
            events: checker.events(),
            verdict: checker.into_verdict(),
            tally: record.tally(Tally::clone),
            fallbacks: audit.fallbacks,
            seed,
        })
    }

    /// Returns whether writers and readers must end.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Ends the writers and readers.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Returns a store with a bound, unless the reads are sabotaged.
    pub fn bounded(
        &self,
        store: &Store<ReadOnly>,
        bound: impl FnOnce(&Store<ReadOnly>) -> Store<ReadOnly>,
    ) -> Store<ReadOnly> {
        match self.sabotage {
            Some(Sabotage::Bounds) => store.clone(),
            _ => bound(store),
        }
    }
}

/// Returns whether a failover has lost what the operation was based on.
pub fn is_lost(error: &Error) -> bool {
    matches!(error, Error::PositionLost { .. })
}
