//! The record of what writers and readers were told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eddyline::{Bookmark, Error};
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use tokio::time::sleep;

use crate::answer::{Answer, Ask, Content, Demand};
use crate::checker::Acknowledgment;
use crate::disturbances::Disturbance;
use crate::entry::Entry;
use crate::failure::Failure;
use crate::tally::Tally;

/// The record that all tasks share.
#[derive(Debug, Default)]
pub struct Record {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    acknowledgments: Vec<Acknowledgment>,
    answers: Vec<Answer>,
    /// The last acknowledged event of each writer, with the store's bookmark of it. Plain SQL
    /// returns no bookmark.
    latest: Vec<(Entry, Option<Bookmark>)>,
    active: Vec<Disturbance>,
    /// The kinds of disturbance that have begun.
    begun: Vec<Disturbance>,
    tally: Tally,
    /// A reference that each running operation holds.
    era: Arc<()>,
}

/// A running operation.
pub struct Begun {
    pub called: Instant,
    during: Vec<Disturbance>,
    _era: Arc<()>,
}

/// A disturbance, which ends when this is dropped.
pub struct Active<'a> {
    record: &'a Record,
    disturbance: Disturbance,
}

impl Record {
    /// Records the beginning of an operation.
    pub fn begin(&self) -> Begun {
        let state = self.lock();
        let (during, era) = (state.active.clone(), Arc::clone(&state.era));
        // The last step, so that everything acknowledged before it was acknowledged before the read.
        Begun { called: Instant::now(), during, _era: era }
    }

    /// Records an answer.
    pub fn answered(
        &self,
        begun: Begun,
        ask: Ask,
        server: String,
        (content, disorder): (Content, Option<String>),
        demands: Vec<Demand>,
    ) {
        let Begun { called, during, .. } = begun;
        let mut state = self.lock();
        state.tally.add_answer(ask, &server, &during, called.elapsed());
        state.answers.push(Answer { ask, server, called, content, disorder, demands });
    }

    /// Records that a read ended with an error.
    pub fn unserved(&self, begun: Begun, ask: Ask, error: &Error) {
        let Begun { called, during, .. } = begun;
        self.lock().tally.add_error(ask, error, &during, called.elapsed());
    }

    /// Records an acknowledged append, with the store's bookmark of it.
    pub fn acknowledged(&self, entry: Entry, bookmark: Option<Bookmark>) {
        let mut state = self.lock();
        state.tally.appends += 1;
        // The clock is read under the lock, so that the acknowledgments are in the order of time.
        state.acknowledgments.push(Acknowledgment { entry, at: Instant::now() });
        state.latest.retain(|(latest, _)| latest.book.writer != entry.book.writer);
        state.latest.push((entry, bookmark));
    }

    /// Records an append without an answer that it was stored.
    pub fn append_failed(&self) {
        self.lock().tally.failed_appends += 1;
    }

    /// Returns the last acknowledged event of a random writer.
    pub fn latest(&self, random: &mut SmallRng) -> Option<Entry> {
        let state = self.lock();
        Some(state.latest.choose(random)?.0)
    }

    /// Returns the last acknowledged event of a random writer that uses a store.
    pub fn latest_bookmark(&self, random: &mut SmallRng) -> Option<(Entry, Bookmark)> {
        let state = self.lock();
        let latest =
            state.latest.iter().filter_map(|(entry, bookmark)| Some((*entry, (*bookmark)?)));
        latest.choose(random)
    }

    /// Records the beginning of a disturbance.
    pub fn disturb(&self, disturbance: Disturbance) -> Active<'_> {
        let mut state = self.lock();
        state.active.push(disturbance);
        state.begun.push(disturbance);
        Active { record: self, disturbance }
    }

    /// Returns whether a disturbance of this kind has begun.
    pub fn has_begun(&self, disturbance: Disturbance) -> bool {
        self.lock().begun.contains(&disturbance)
    }

    /// Waits until all operations that are running have ended.
    pub async fn wait_for_running(&self) {
        let before = std::mem::take(&mut self.lock().era);
        while Arc::strong_count(&before) > 1 {
            sleep(PAUSE).await;
        }
    }

    /// Waits for this many appends.
    pub async fn wait_for_appends(&self, count: u64) -> Result<(), Failure> {
        let appends = || self.tally(|tally| tally.appends);
        let (until, started) = (appends() + count, Instant::now());
        while appends() < until {
            if started.elapsed() > TIMEOUT {
                return Err(Failure::TimedOut { what: "appends", seconds: TIMEOUT.as_secs() });
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Looks at the counts so far.
    pub fn tally<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(&self.lock().tally)
    }

    /// Returns the acknowledgments and answers since the last call.
    pub fn take(&self) -> (Vec<Acknowledgment>, Vec<Answer>) {
        let mut state = self.lock();
        (std::mem::take(&mut state.acknowledgments), std::mem::take(&mut state.answers))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        let mut state = self.record.lock();
        if let Some(index) = state.active.iter().position(|one| *one == self.disturbance) {
            state.active.swap_remove(index);
        }
        *state.tally.disturbances.entry(self.disturbance).or_default() += 1;
    }
}

const PAUSE: Duration = Duration::from_millis(2);
const TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn waits_for_the_operations_that_are_running_but_not_for_later_ones() {
        let record = Record::default();
        let running = record.begin();
        let waiting = record.wait_for_running();
        tokio::pin!(waiting);
        assert!((&mut waiting).now_or_never().is_none());

        let _later = record.begin();
        drop(running);

        waiting.await;
    }
}
