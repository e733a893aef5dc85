//! Progress on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::print_stderr;

/// The progress of a task on standard error: a bar on a terminal, otherwise a line every two
/// seconds. Dropping it removes the bar.
#[derive(Debug)]
pub struct Progress {
    task: String,
    /// The position at which the task is complete. `None` if it is not known.
    length: Option<u64>,
    bar: ProgressBar,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Shows the progress of a task that is complete at `length`.
    pub fn toward(task: &str, length: u64) -> Self {
        Self::new(
            task,
            Some(length),
            ProgressBar::new(length),
            "{prefix} {bar:30} {percent:>3} %  {msg}",
        )
    }

    /// Shows the progress of a task whose end is not known.
    pub fn open_ended(task: &str) -> Self {
        Self::new(task, None, ProgressBar::new_spinner(), "{spinner} {prefix} {elapsed:>4}  {msg}")
    }

    /// Shows the position of the task, and a message.
    pub fn show(&mut self, position: u64, message: &str) {
        self.bar.set_position(position);
        self.bar.set_message(message.to_owned());
        if self.bar.is_hidden() && self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            let so_far = match self.length {
                Some(length) => format!("{} %", 100 * position.min(length) / length.max(1)),
                None => format!("{} s", self.started.elapsed().as_secs()),
            };
            print_stderr(&format!("{} {so_far}  {message}", self.task));
        }
    }

    fn new(task: &str, length: Option<u64>, bar: ProgressBar, template: &str) -> Self {
        // With an invalid template the bar keeps its default style.
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        let bar = bar.with_prefix(task.to_owned());
        let now = Instant::now();
        Self { task: task.to_owned(), length, bar, started: now, last_line: now }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

const LINE_INTERVAL: Duration = Duration::from_secs(2);
