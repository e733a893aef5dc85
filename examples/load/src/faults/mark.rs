use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// A fault that occurred during a load.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Mark {
    /// What was done, such as `kill primary`.
    pub text: String,
    /// When it was done, in seconds since the start of the load.
    pub at: f64,
    /// When it was undone, if it was. For a restart and a promotion, when all servers that it
    /// concerns had their roles and answered.
    pub until: Option<f64>,
    /// The error, if it could not be done or undone.
    pub error: Option<String>,
}

/// The marks of the faults so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Marks(Arc<Mutex<Vec<Mark>>>);

/// The index of a mark.
#[derive(Clone, Copy, Debug)]
pub struct MarkIndex(usize);

impl Marks {
    /// Returns the marks in the order of their times.
    pub fn list(&self) -> Vec<Mark> {
        let mut marks = self.lock().clone();
        marks.sort_by(|left, right| left.at.total_cmp(&right.at));
        marks
    }

    /// Adds the mark of a fault that begins.
    pub(super) fn begin(&self, text: String, at: f64) -> MarkIndex {
        let mut marks = self.lock();
        marks.push(Mark { text, at, until: None, error: None });
        MarkIndex(marks.len() - 1)
    }

    /// Records the end of a fault.
    pub(super) fn end(&self, MarkIndex(index): MarkIndex, until: f64) {
        self.lock()[index].until = Some(until);
    }

    /// Records that a fault could not be done or undone.
    pub(super) fn fail(&self, MarkIndex(index): MarkIndex, error: String) {
        let mark = &mut self.lock()[index];
        mark.error = Some(match mark.error.take() {
            Some(first) => format!("{first}; {error}"),
            None => error,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
