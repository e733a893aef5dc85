//! The progress of a campaign, shown while it runs.

use std::sync::Arc;
use std::time::Duration;

use console::Progress;
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::Campaign;
use crate::notes::Notes;

/// Whether the progress of a run is shown on standard error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Visibility {
    /// It is not shown.
    Hidden,
    /// It is shown.
    Shown,
}

/// The progress of a campaign; it ends when this is dropped.
pub struct Shown {
    task: Option<JoinHandle<()>>,
}

impl Visibility {
    pub(crate) fn show(self, campaign: Campaign, notes: &Arc<Notes>) -> Shown {
        let is_shown = self == Self::Shown;
        Shown { task: is_shown.then(|| tokio::spawn(follow(campaign, Arc::clone(notes)))) }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn follow(campaign: Campaign, notes: Arc<Notes>) {
    let mut progress = Progress::open_ended(&campaign.to_string());
    let mut pulse = interval(PULSE);
    loop {
        pulse.tick().await;
        let tally = notes.tally(campaign);
        let line = format!(
            "{} appends, {} accepted, {} refused, {} unknown, {} faults",
            tally.appends,
            tally.accepted,
            tally.refused.values().sum::<u64>(),
            tally.unknown,
            tally.struck,
        );
        progress.show(tally.appends, &line);
    }
}

const PULSE: Duration = Duration::from_millis(100);
