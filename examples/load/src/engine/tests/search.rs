use tokio::sync::Semaphore;

use super::*;
use crate::LoadError;
use crate::plan::{Arrivals, MAX_RATE};

const SETTINGS: LimitSettings = LimitSettings {
    start_rate: 10.0,
    goal: Duration::from_millis(250),
    window: Duration::from_secs(20),
    rounds: 3,
    arrivals: Arrivals::Poisson,
    seed: 7,
};

/// A service with servers that each take 20 ms for an operation.
#[derive(Clone)]
struct Servers(Arc<Semaphore>);

impl Service for Servers {
    async fn serve(&self, _intention: Intention) -> Status {
        let _server = self.0.acquire().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        Status::Success
    }
}

/// A service that always fails.
#[derive(Clone, Copy)]
struct Fails;

impl Service for Fails {
    async fn serve(&self, _intention: Intention) -> Status {
        Status::Error
    }
}

fn intentions() -> impl Iterator<Item = Intention> + Send {
    (0..).map(|visit| lending(visit, 0))
}

async fn limit<S: Service>(service: S, settings: LimitSettings) -> Limit {
    engine(service, 64).find_limit(intentions(), &settings, |_| ()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn finds_the_capacity_of_servers_with_a_known_service_time() {
    let servers = Servers(Arc::new(Semaphore::new(4)));

    let limit = limit(servers, SETTINGS).await;

    // Four servers with 20 ms each have a capacity of 200 operations per second.
    let (lowest, highest) = limit.spread().unwrap();
    assert!(lowest > 170.0 && highest < 230.0, "{lowest} to {highest}");
    assert!((lowest..=highest).contains(&limit.median().unwrap()));
    assert_eq!(limit.rounds.len(), 3);
    for step in limit.rounds.iter().flat_map(|round| &round.steps).filter(|step| step.is_kept) {
        assert!(step.p99_ms <= 250.5 && step.achieved > 0.7 * step.asked, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_round_ends_with_two_misses_in_a_row_at_one_rate() {
    let servers = Servers(Arc::new(Semaphore::new(4)));

    let limit = limit(servers, SETTINGS).await;

    for round in limit.rounds.iter().skip(1) {
        let [.., one, other] = round.steps.as_slice() else { panic!("{round:?}") };
        assert!(!one.is_kept && !other.is_kept && one.asked == other.asked, "{round:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ends_at_the_highest_rate_if_the_goal_is_always_kept() {
    let window = Duration::from_millis(5);
    let settings = LimitSettings { start_rate: 100_000.0, window, ..SETTINGS };

    let limit = limit(Takes, settings).await;

    let highest_rate = limit.median().unwrap();
    assert!(highest_rate > 0.8 * MAX_RATE && highest_rate <= MAX_RATE, "{highest_rate}");
}

#[tokio::test(start_paused = true)]
async fn a_goal_that_is_never_kept_gives_no_limit() {
    let settings = LimitSettings { goal: Duration::from_millis(10), ..SETTINGS };

    let limit = limit(Servers(Arc::new(Semaphore::new(4))), settings).await;

    assert_eq!((limit.median(), limit.spread()), (None, None));
    assert!(limit.rounds.iter().all(|round| round.steps.len() == 2), "{limit:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_with_errors_does_not_keep_the_goal() {
    let limit = limit(Fails, SETTINGS).await;

    assert_eq!(limit.median(), None);
}

#[tokio::test(start_paused = true)]
async fn a_round_after_one_without_a_limit_begins_lower() {
    let settings = LimitSettings { start_rate: 10_000.0, rounds: 5, ..SETTINGS };

    let limit = limit(Servers(Arc::new(Semaphore::new(4))), settings).await;

    assert_eq!(limit.rounds[0].highest_rate, None);
    assert!(limit.median().is_some_and(|median| (170.0..230.0).contains(&median)), "{limit:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_search_without_a_limit() {
    let (mut steps, engine) = (0, engine(Takes, 1));

    let limit = engine.find_limit(intentions(), &SETTINGS, |_| {
        steps += 1;
        if steps == 3 {
            engine.stop.set();
        }
    });
    let limit = limit.await.unwrap();

    assert_eq!(limit.rounds.len(), 1);
    assert_eq!((limit.rounds[0].steps.len(), limit.rounds[0].highest_rate), (3, None));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_intentions_ends_the_search() {
    let engine = engine(Takes, 1);

    let limit = engine.find_limit(intentions().take(1_000), &SETTINGS, |_| ()).await.unwrap();

    assert_eq!(limit.rounds.len(), 1);
    assert_eq!(limit.median(), None);
}

#[tokio::test(start_paused = true)]
async fn a_start_rate_of_zero_is_refused() {
    let settings = LimitSettings { start_rate: 0.0, ..SETTINGS };

    let refused = engine(Takes, 1).find_limit(intentions(), &settings, |_| ()).await;

    assert!(matches!(refused, Err(LoadError::Schedule(_))), "{refused:?}");
}

#[test]
fn the_median_of_an_even_number_of_rates_is_the_middle_of_two() {
    let highest_rates = [Some(200.0), None, Some(100.0), Some(400.0), Some(300.0)];
    let round = |highest_rate| LimitRound { highest_rate, steps: Vec::new() };

    let limit = Limit { rounds: highest_rates.map(round).into(), ..Limit::default() };

    assert_eq!(limit.median(), Some(250.0));
    assert_eq!(limit.spread(), Some((100.0, 400.0)));
}
