//! How the race goes, shown while it runs.

use std::io::IsTerminal;
use std::time::Duration;

use console::tell;
use indicatif::{ProgressBar, ProgressStyle};

use crate::tally::Tally;

/// A bar on a terminal, or a line now and then elsewhere; on standard error in any case.
pub struct Progress {
    bar: Option<ProgressBar>,
    length: Duration,
    told: Duration,
}

impl Progress {
    /// Begins to show a race of this length.
    pub fn start(length: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(length.as_millis() as u64);
            // A template that were wrong would leave the bar as it is by itself.
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, length, told: Duration::ZERO }
    }

    /// Shows how far it is.
    pub fn show(&mut self, elapsed: Duration, tally: &Tally) {
        let line = format!(
            "{:.0} of {} s: {} decisions, {} conflicts, {} unconditional appends, {} inserts",
            elapsed.as_secs_f64(),
            self.length.as_secs(),
            tally.decisions(),
            tally.conflicts(),
            tally.unconditional(),
            tally.inserts(),
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(elapsed.as_millis() as u64);
                bar.set_message(line);
            }
            None if elapsed >= self.told + PAUSE => {
                self.told = elapsed;
                tell(&line);
            }
            None => {}
        }
    }

    /// Shows no more.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

const PAUSE: Duration = Duration::from_secs(2);
