//! Carries out intentions.

mod run;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use self::run::Runner;
use crate::city::City;
use crate::engine::Executor;
use crate::plan::Intention;
use crate::replies::Replies;
use crate::service::Service;
use crate::tally::Tally;

/// Carries out intentions in a city: chooses a reader and a book, runs the command or query, and
/// records what came of it.
#[derive(Clone, Debug)]
pub struct Journey {
    shared: Arc<Shared>,
}

/// What all clients share.
#[derive(Debug)]
struct Shared {
    city: City,
    service: Service,
    tally: Arc<Tally>,
    replies: Replies,
    pause_after_error: Duration,
}

impl Journey {
    /// Creates the journeys of a city.
    ///
    /// After an error, a client pauses for `pause_after_error`. In a closed loop, requests to an
    /// unavailable server fail at once, and the client would only count errors.
    pub fn new(
        city: City,
        service: Service,
        tally: Arc<Tally>,
        replies: Replies,
        pause_after_error: Duration,
    ) -> Self {
        Self { shared: Arc::new(Shared { city, service, tally, replies, pause_after_error }) }
    }
}

impl Executor for Journey {
    async fn execute(&self, intention: Intention, intended: Instant) {
        let Shared { city, service, tally, replies, pause_after_error } = &*self.shared;
        let operations = city.begin(&intention);
        let possible = operations.len() as u64;
        for _ in possible..intention.crowd.operations() {
            tally.began(intended);
            tally.impossible();
        }
        let runner = Runner { city, service, tally, replies, intended };
        let results = match operations.len() {
            1 => {
                let operation = operations.into_iter().next().expect("there is one");
                vec![runner.run(operation).await]
            }
            _ => join_all(operations.into_iter().map(|operation| runner.run(operation))).await,
        };
        city.leave(&intention);
        if results.contains(&false) {
            tokio::time::sleep(*pause_after_error).await;
        }
    }
}
