//! Injects faults into appends, and checks the log against the reported outcomes.
//!
//! A run consists of campaigns, each of which injects one kind of fault. In each campaign, writers
//! append through the store, or call its `decide`, and record the outcomes: accepted with
//! positions, not stored, or unknown. At the end, when no store is connected any more, the program
//! reads the log by plain SQL and checks it.

mod args;
mod campaigns;
mod checker;
mod draft;
mod failure;
mod progress;
mod recorder;
mod report;
mod testbed;
mod writer;

use std::sync::Arc;

pub use crate::args::{Args, Plan};
pub use crate::campaigns::Campaign;
pub use crate::checker::Verdict;
pub use crate::failure::Failure;
pub use crate::progress::Visibility;
pub use crate::report::Report;

use crate::checker::check;
use crate::recorder::Recorder;
use crate::testbed::Testbed;

/// Runs the campaigns of a plan on a new cluster, until a stop is requested, and checks the log.
///
/// # Errors
///
/// [`Failure`] if the run or its check failed. This says nothing about the store.
pub async fn run(plan: Plan, visibility: Visibility) -> Result<Report, Failure> {
    let recorder = Arc::new(Recorder::default());
    let testbed = Testbed::prepare(plan, Arc::clone(&recorder)).await?;
    for &campaign in &testbed.plan.campaigns {
        if testbed.plan.stop.is_set() {
            break;
        }
        let shown = visibility.show(campaign, &recorder);
        campaigns::run(&testbed, campaign).await?;
        drop(shown);
        testbed.finish_campaign().await?;
    }
    // The work is done: from now on the first signal ends the program.
    testbed.plan.stop.set();
    let log = testbed.read_logs().await?;
    let (observations, tallies) = recorder.take();
    Ok(Report {
        verdict: check(&log, &observations),
        tallies,
        events: log.len(),
        seed: testbed.plan.seed,
    })
}
