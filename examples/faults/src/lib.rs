//! Appends under campaigns, and compares the log with what each caller was told.
//!
//! A run has campaigns, each with a kind of campaigns of its own. In each, writers append through the
//! store, or leave it to the store to decide, and note what they were told: accepted and where, not
//! applied, or that it is not known. In the end, when nobody is connected any more, the log is read
//! by plain SQL and judged.

mod args;
mod campaign;
mod campaigns;
mod checker;
mod draft;
mod failure;
mod notes;
mod progress;
mod report;
mod server_log;
mod site;
mod writer;

use std::sync::Arc;

pub use crate::args::{Args, Plan};
pub use crate::campaign::Campaign;
pub use crate::checker::{Faults, Verdict};
pub use crate::failure::Failure;
pub use crate::progress::Visibility;
pub use crate::report::{Conclusion, Report};

use crate::checker::judge;
use crate::notes::Notes;
use crate::site::Site;

/// Runs every campaign of the plan on a cluster of its own, until a stop is asked for, and judges the log.
///
/// # Errors
///
/// [`Failure`] where that could not be done; nothing is then known of the store.
pub async fn run(plan: Plan, visibility: Visibility) -> Result<Report, Failure> {
    let notes = Arc::new(Notes::default());
    let site = Site::prepare(plan, Arc::clone(&notes)).await?;
    for &campaign in &site.plan.campaigns {
        if site.plan.stop.is_set() {
            break;
        }
        let shown = visibility.show(campaign, &notes);
        campaigns::fight(&site, campaign).await?;
        drop(shown);
        site.settle().await?;
    }
    // The work is over: from now on the first signal ends the program.
    site.plan.stop.set();
    let log = site.read_logs().await?;
    let (testimony, tallies) = notes.take();
    Ok(Report {
        verdict: judge(&log, &testimony),
        tallies,
        events: log.len(),
        seed: site.plan.seed,
    })
}
