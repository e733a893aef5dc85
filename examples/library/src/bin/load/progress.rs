use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Shows on stderr how far something is: as a bar, or where that is no terminal as a line now and
/// then.
pub(crate) struct Progress {
    what: &'static str,
    length: u64,
    bar: ProgressBar,
    told: Instant,
}

impl Progress {
    /// Begins to show something that is done at `length`.
    pub(crate) fn new(what: &'static str, length: u64) -> Self {
        let style = ProgressStyle::with_template("{prefix} {bar:30} {percent:>3} %  {msg}");
        let bar = ProgressBar::new(length)
            .with_style(style.expect("the template is valid"))
            .with_prefix(what);
        Self { what, length, bar, told: Instant::now() }
    }

    /// Shows how far it is.
    pub(crate) fn set(&mut self, position: u64, message: &str) {
        self.bar.set_position(position);
        self.bar.set_message(message.to_owned());
        if self.bar.is_hidden() && self.told.elapsed() >= BETWEEN_LINES {
            self.told = Instant::now();
            let percent = 100 * position.min(self.length) / self.length.max(1);
            eprintln!("{} {percent} %  {message}", self.what);
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

const BETWEEN_LINES: Duration = Duration::from_secs(5);
