//! The progress of a campaign, shown while it runs.

use std::sync::Arc;
use std::time::Duration;

use console::Progress;
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::Campaign;
use crate::recorder::Recorder;

/// The visibility of a run's progress on standard error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Visibility {
    /// The progress is hidden.
    Hidden,
    /// The progress is shown.
    Shown,
}

/// The task that shows the progress of a campaign. It ends when this is dropped.
pub struct ProgressTask {
    task: Option<JoinHandle<()>>,
}

impl Visibility {
    pub(crate) fn show(self, campaign: Campaign, recorder: &Arc<Recorder>) -> ProgressTask {
        let is_shown = self == Self::Shown;
        ProgressTask {
            task: is_shown.then(|| tokio::spawn(follow(campaign, Arc::clone(recorder)))),
        }
    }
}

impl Drop for ProgressTask {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn follow(campaign: Campaign, recorder: Arc<Recorder>) {
    let mut progress = Progress::open_ended(&campaign.to_string());
    let mut pulse = interval(UPDATE_INTERVAL);
    loop {
        pulse.tick().await;
        let tally = recorder.tally(campaign);
        let line = format!(
            "{} appends, {} accepted, {} refused, {} unknown, {} faults",
            tally.appends,
            tally.accepted,
            tally.refused.values().sum::<u64>(),
            tally.unknown,
            tally.faults,
        );
        progress.show(tally.appends, &line);
    }
}

const UPDATE_INTERVAL: Duration = Duration::from_millis(100);
