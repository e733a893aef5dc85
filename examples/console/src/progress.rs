//! Progress on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::tell;

/// The progress of a part of the work, on standard error: a bar on a terminal, a line now and then
/// elsewhere. Dropped, it takes the bar away.
#[derive(Debug)]
pub struct Progress {
    what: String,
    /// What is done at the end; unknown if `None`.
    length: Option<u64>,
    bar: ProgressBar,
    started: Instant,
    told: Instant,
}

impl Progress {
    /// Shows the progress of something that is done at `length`.
    pub fn toward(what: &str, length: u64) -> Self {
        Self::new(
            what,
            Some(length),
            ProgressBar::new(length),
            "{prefix} {bar:30} {percent:>3} %  {msg}",
        )
    }

    /// Shows the progress of something whose end is not known.
    pub fn open_ended(what: &str) -> Self {
        Self::new(what, None, ProgressBar::new_spinner(), "{spinner} {prefix} {elapsed:>4}  {msg}")
    }

    /// Shows how far it is.
    pub fn show(&mut self, position: u64, message: &str) {
        self.bar.set_position(position);
        self.bar.set_message(message.to_owned());
        if self.bar.is_hidden() && self.told.elapsed() >= BETWEEN_LINES {
            self.told = Instant::now();
            let so_far = match self.length {
                Some(length) => format!("{} %", 100 * position.min(length) / length.max(1)),
                None => format!("{} s", self.started.elapsed().as_secs()),
            };
            tell(&format!("{} {so_far}  {message}", self.what));
        }
    }

    fn new(what: &str, length: Option<u64>, bar: ProgressBar, template: &str) -> Self {
        // An invalid template would leave the bar with its default style.
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        let bar = bar.with_prefix(what.to_owned());
        let now = Instant::now();
        Self { what: what.to_owned(), length, bar, started: now, told: now }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

const BETWEEN_LINES: Duration = Duration::from_secs(2);
