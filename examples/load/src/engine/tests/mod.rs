mod closed;
mod laws;
mod open;
mod search;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::clock;
use crate::plan::{Act, Aim, Crowd, Planned};
use crate::tally::{Ended, Snapshot, Status, TallySettings};

/// The course of an intention.
#[derive(Clone, Copy, Debug)]
struct Run {
    intention: Intention,
    intended: Instant,
    began: Instant,
    ended: Instant,
}

/// Carries out intentions with a service and notes when.
#[derive(Clone)]
struct Recorder<S> {
    service: S,
    tally: Arc<Tally>,
    runs: Arc<Mutex<Vec<Run>>>,
}

/// A stand-in for the library.
trait Service: Clone + Send + Sync + 'static {
    /// Serves an intention.
    fn serve(&self, intention: Intention) -> impl Future<Output = Status> + Send;
}

/// A service that takes as many milliseconds as the draw of the intention says.
#[derive(Clone, Copy)]
struct Takes;

impl Service for Takes {
    async fn serve(&self, intention: Intention) -> Status {
        tokio::time::sleep(Duration::from_millis(intention.draw)).await;
        Status::Success
    }
}

impl<S: Service> Executor for Recorder<S> {
    async fn execute(&self, intention: Intention, intended: Instant) {
        let operations = intention.crowd.operations();
        (0..operations).for_each(|_| self.tally.began(intended));
        let began = clock::now();
        let status = self.service.serve(intention).await;
        let ended = clock::now();
        self.runs.lock().unwrap().push(Run { intention, intended, began, ended });
        let (name, group) = ("LendBookCopyToReader", intention.act.group());
        let end = Ended::new(name, group, status, intended, began, ended);
        (0..operations).for_each(|_| self.tally.ended(&end));
    }
}

impl<S: Service> Engine<Recorder<S>> {
    fn runs(&self) -> Vec<Run> {
        self.executor.runs.lock().unwrap().clone()
    }
}

fn engine<S: Service>(service: S, clients: u32) -> Engine<Recorder<S>> {
    let tally = Arc::new(Tally::new(TallySettings::default()));
    let recorder = Recorder { service, tally: tally.clone(), runs: Arc::default() };
    Engine { is_exact: false, ..Engine::new(recorder, clients, tally, Stop::default()) }
}

/// An intention whose service takes this long.
fn lending(visit: u32, milliseconds: u64) -> Intention {
    Intention {
        visit,
        act: Act::Borrow,
        aim: Aim::Success,
        crowd: Crowd::Alone,
        ends_visit: false,
        draw: milliseconds,
    }
}

/// Lendings of different visits at equal gaps.
fn even(count: u32, gap: Duration, milliseconds: u64) -> impl Iterator<Item = Planned> + Send {
    (0..count)
        .map(move |visit| Planned { at: gap * visit, intention: lending(visit, milliseconds) })
}
