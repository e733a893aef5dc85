use tokio::time::sleep_until;

use super::*;
use crate::LoadError;

const GAP: Duration = Duration::from_millis(10);

/// A service that serves nothing between two times, and takes a millisecond at other times.
#[derive(Clone, Copy)]
struct Freezes {
    from: Instant,
    until: Instant,
}

impl Service for Freezes {
    async fn serve(&self, _intention: Intention) -> Status {
        if (self.from..self.until).contains(&clock::now()) {
            sleep_until(self.until.into()).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        Status::Success
    }
}

/// A service that sets a flag when it serves the intention with this visit.
#[derive(Clone)]
struct Stops {
    at: u32,
    stop: Stop,
}

impl Service for Stops {
    async fn serve(&self, intention: Intention) -> Status {
        if intention.visit == self.at {
            self.stop.set();
        }
        Takes.serve(intention).await
    }
}

/// A service that panics when it serves the intention with this visit.
#[derive(Clone, Copy)]
struct Panics {
    at: u32,
}

impl Service for Panics {
    async fn serve(&self, intention: Intention) -> Status {
        assert_ne!(intention.visit, self.at, "this panic is part of the test");
        Takes.serve(intention).await
    }
}

#[tokio::test(start_paused = true)]
async fn latency_from_the_intended_start_shows_a_freeze_that_service_time_does_not_show() {
    let start = clock::now();
    let (from, until) = (start + Duration::from_secs(4), start + Duration::from_secs(6));
    let engine = engine(Freezes { from, until }, 4);

    engine.open(even(1_000, GAP, 0), start).await.unwrap();

    let snapshot = engine.tally.snapshot();
    let commands = snapshot.commands;
    assert!(commands.latency.p95 > 1_000.0, "{}", commands.latency.p95);
    assert!(commands.service.p99 < 10.0, "{}", commands.service.p99);
    let ended: Vec<u64> = snapshot.windows.iter().map(|window| window.ended).collect();
    assert_eq!(ended[5], 0, "{ended:?}");
    assert!(snapshot.windows[5].pending > 190, "{}", snapshot.windows[5].pending);
    assert!((180..200).contains(&snapshot.late), "{}", snapshot.late);
}

#[tokio::test(start_paused = true)]
async fn intentions_that_one_client_cannot_begin_in_time_are_late() {
    let engine = engine(Takes, 1);

    engine.open(even(100, GAP, 20), clock::now()).await.unwrap();

    let Snapshot { ended, late, commands, .. } = engine.tally.snapshot();
    assert_eq!(ended, 100);
    assert!((80..=90).contains(&late), "{late}");
    assert!(commands.latency.max > 900.0, "{}", commands.latency.max);
}

#[tokio::test(start_paused = true)]
async fn intended_times_are_exact_although_the_timer_is_coarse() {
    let (engine, start) = (engine(Takes, 8), clock::now());
    let gap = Duration::from_micros(130);

    engine.open(even(1_000, gap, 0), start).await.unwrap();

    let mut intended: Vec<Duration> =
        engine.runs().iter().map(|run| run.intended.duration_since(start)).collect();
    intended.sort();
    assert!(intended.into_iter().eq((0..1_000).map(|number| gap * number)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_due_after_a_stop_and_what_is_due_is_carried_out() {
    let stop = Stop::default();
    let engine = Engine { stop: stop.clone(), ..engine(Stops { at: 50, stop }, 1) };

    let ending = engine.open(even(1_000_000, GAP, 20), clock::now()).await.unwrap();

    let snapshot = engine.tally.snapshot();
    assert!(ending.is_stopped);
    assert_eq!(ending.not_begun, 0);
    assert!((100..110).contains(&ending.due), "{}", ending.due);
    assert_eq!((snapshot.due, snapshot.ended), (ending.due, ending.due));
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_noticed_while_the_next_intention_is_far() {
    let stop = Stop::default();
    let engine = Engine { stop: stop.clone(), ..engine(Stops { at: 0, stop }, 1) };

    let ending = engine.open(even(2, Duration::from_secs(3_600), 0), clock::now()).await.unwrap();

    assert_eq!((ending.due, ending.is_stopped), (1, true));
    assert!(ending.took < Duration::from_secs(1), "{:?}", ending.took);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_panics_ends_the_load() {
    for clients in [1, 8] {
        let (engine, start) = (engine(Panics { at: 3 }, clients), clock::now());

        let ended = engine.open(even(1_000_000, GAP, 20), start).await;

        assert!(matches!(ended, Err(LoadError::Client(_))), "{ended:?}");
        assert!(clock::now().duration_since(start) < Duration::from_secs(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_between_threads() {
    let engine = Engine { drain: Duration::from_secs(3_600), is_exact: true, ..engine(Takes, 16) };
    let gap = Duration::from_micros(20);
    let arrivals = even(20_000, gap, 0).map(|planned| {
        let intention = lending(planned.intention.visit % 100, 0);
        Planned { intention, ..planned }
    });

    let ending = engine.open(arrivals, clock::now()).await.unwrap();

    assert_eq!((ending.due, ending.not_begun), (20_000, 0));
    assert_eq!(engine.runs().len(), 20_000);
}
