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

#[cfg(test)]
mod tests {
    use eddyline::SequenceNumber;

    use super::*;
    use crate::city::{CityBuilder, Skew};
    use crate::clock;
    use crate::import::{CitySize, fill_without_store};
    use crate::plan::{Group, MixOptions, Visits};
    use crate::tally::Snapshot;

    /// Carries out intentions, all of them intended a minute ago. There is no store.
    async fn carried_out(size: CitySize, count: usize) -> (Vec<Intention>, Snapshot, Journey) {
        let mut builder = CityBuilder::new(Skew { copies: 0.7, readers: 0.5 });
        fill_without_store(&mut builder, size, 1, |_| {});
        let (city, tally) = (builder.build(SequenceNumber::ZERO), Arc::new(Tally::default()));
        let replies = Replies::after(SequenceNumber::ZERO);
        let shared = Arc::clone(&tally);
        let journey = Journey::new(city, Service::null(), shared, replies, Duration::ZERO);
        let mix = MixOptions::usual().check().unwrap();
        let intentions: Vec<_> = Visits::new(mix, 100, 1).take(count).collect();
        let intended = clock::now() - Duration::from_secs(60);
        for intention in &intentions {
            journey.execute(*intention, intended).await;
        }
        (intentions, tally.snapshot(), journey)
    }

    #[tokio::test]
    async fn every_intention_is_counted_in_its_group() {
        let size = CitySize { books: 2_000, readers: 300, loans: 300 };

        let (intentions, load, journey) = carried_out(size, 5_000).await;

        assert_eq!((load.impossible, load.begun), (0, load.ended));
        for group in [Group::Circulation, Group::Lending, Group::Queries, Group::Readers] {
            let of_group = intentions.iter().filter(|intention| intention.act.group() == group);
            let intended: u64 = of_group.map(|intention| intention.crowd.operations()).sum();
            let counted = load.operations.values().filter(|operation| operation.group == group);
            assert_eq!(counted.map(|operation| operation.outcomes.total()).sum::<u64>(), intended);
        }
        assert_eq!(load.reads_by_server.values().sum::<u64>(), load.queries.latency.count);
        let recorded = journey.shared.replies.take();
        // Without a store, the loans of a reader are not checked. Each rejection is that of a loan.
        let is_of_rejection = |finding: &String| finding.contains(" was rejected with a ");
        assert!(recorded.findings.iter().all(is_of_rejection), "{:?}", recorded.findings);
        let commands = recorded.acknowledged.len() + recorded.idempotent.len();
        assert_eq!(commands as u64, load.commands.latency.count);
    }

    #[tokio::test]
    async fn a_latency_begins_at_the_intended_time_and_a_service_time_does_not() {
        let size = CitySize { books: 2_000, readers: 300, loans: 300 };

        let (_, load, _) = carried_out(size, 100).await;

        for times in [&load.commands, &load.queries] {
            assert!(times.latency.p50 > 59_000.0, "{times:?}");
            assert!(times.service.p50 < 30_000.0, "{times:?}");
        }
        assert_eq!(load.late, load.begun);
    }

    #[tokio::test]
    async fn what_an_empty_city_cannot_do_is_counted_as_impossible() {
        let size = CitySize { books: 0, readers: 0, loans: 0 };

        let (intentions, load, _) = carried_out(size, 50).await;

        let intended: u64 = intentions.iter().map(|intention| intention.crowd.operations()).sum();
        assert!(load.impossible > 0);
        assert_eq!(load.begun, intended);
        assert_eq!(load.begun, load.ended + load.impossible);
    }
}
