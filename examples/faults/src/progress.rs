//! How a campaign goes, shown while it runs.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use console::tell;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::Campaign;
use crate::notes::Notes;

/// A line on a terminal that changes, or a line now and then elsewhere; on standard error in any
/// case.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    is_shown: bool,
}

/// The progress of a campaign; it ends when this is dropped.
pub struct Shown {
    task: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows it.
    pub fn shown() -> Self {
        Self { is_shown: true }
    }

    /// Does not.
    pub fn hidden() -> Self {
        Self { is_shown: false }
    }

    pub(crate) fn show(self, campaign: Campaign, notes: &Arc<Notes>) -> Shown {
        if !self.is_shown {
            return Shown { task: None, bar: None };
        }
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            // A template that were wrong would leave the bar as it is by itself.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        let task = tokio::spawn(follow(campaign, Arc::clone(notes), bar.clone()));
        Shown { task: Some(task), bar }
    }
}

impl Shown {
    /// Shows no more.
    pub(crate) fn end(self) {}
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

async fn follow(campaign: Campaign, notes: Arc<Notes>, bar: Option<ProgressBar>) {
    let start = Instant::now();
    let mut pulse = interval(if bar.is_some() { PULSE } else { PAUSE });
    loop {
        pulse.tick().await;
        let tally = notes.tally(campaign);
        let line = format!(
            "{campaign}: {} appends, {} accepted, {} refused, {} unknown, {} faults",
            tally.appends,
            tally.accepted,
            tally.refused.values().sum::<u64>(),
            tally.unknown,
            tally.struck,
        );
        match &bar {
            Some(bar) => {
                bar.set_message(line);
                bar.tick();
            }
            None => tell(&format!("{:4} s {line}", start.elapsed().as_secs())),
        }
    }
}

const PULSE: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_secs(2);
