use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::plan::Intention;

/// An intention in the queue.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The intention.
    pub intention: Intention,
    /// When it was to begin. `None` if it has no time: it is due when it begins.
    pub intended: Option<Instant>,
}

/// The steps that have not begun, without a bound.
pub struct Queue {
    waiting: Mutex<Waiting>,
    /// Has a permit for each step that may begin. Closed if no more steps will come.
    ready: Semaphore,
    /// Has a permit for each step that was taken out.
    taken: Semaphore,
}

#[derive(Default)]
struct Waiting {
    /// The steps that may begin: the first one of each visit that is not running.
    ready: VecDeque<Step>,
    /// For each visit with a step that is ready or running, the steps after it.
    visits: HashMap<u32, VecDeque<Step>>,
}

impl Queue {
    /// Creates an empty queue.
    pub fn new() -> Self {
        Self { waiting: Mutex::default(), ready: Semaphore::new(0), taken: Semaphore::new(0) }
    }

    /// Adds a step.
    pub fn add(&self, step: Step) {
        let mut waiting = self.waiting();
        if let Some(later) = waiting.visits.get_mut(&step.intention.visit) {
            later.push_back(step);
            return;
        }
        waiting.visits.insert(step.intention.visit, VecDeque::new());
        waiting.ready.push_back(step);
        drop(waiting);
        self.ready.add_permits(1);
    }

    /// Waits for a step that may begin and takes it out. Returns `None` if there is none and the
    /// queue is closed.
    pub async fn take(&self) -> Option<Step> {
        if let Ok(permit) = self.ready.acquire().await {
            permit.forget();
        }
        let step = self.waiting().ready.pop_front()?;
        self.taken.add_permits(1);
        Some(step)
    }

    /// Takes out the next step of a visit whose current step has ended, if there is one.
    pub fn take_next(&self, visit: u32) -> Option<Step> {
        let mut waiting = self.waiting();
        let next = waiting.visits.get_mut(&visit)?.pop_front();
        if next.is_none() {
            waiting.visits.remove(&visit);
        }
        drop(waiting);
        if next.is_some() {
            self.taken.add_permits(1);
        }
        next
    }

    /// Waits until so many more steps have been taken out.
    pub async fn taken(&self, steps: u32) {
        // The semaphore is never closed.
        if let Ok(permits) = self.taken.acquire_many(steps).await {
            permits.forget();
        }
    }

    /// Announces that no more steps will come.
    pub fn close(&self) {
        self.ready.close();
    }

    /// Removes the steps that have not begun, and returns the number of their operations.
    pub fn discard(&self) -> u64 {
        let mut waiting = self.waiting();
        let ready = std::mem::take(&mut waiting.ready);
        let later = waiting.visits.values_mut().flat_map(std::mem::take);
        let steps = ready.into_iter().chain(later);
        steps.map(|step| step.intention.crowd.operations()).sum()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
