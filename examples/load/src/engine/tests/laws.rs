use std::collections::HashMap;

use proptest::prelude::*;
use tokio::runtime::Builder;

use super::*;

/// A random load: intentions of few visits, with the milliseconds before each and for each.
#[derive(Clone, Debug)]
struct Load {
    plan: Vec<Planned>,
    clients: u32,
}

fn any_load() -> impl Strategy<Value = Load> {
    let step = (0..6_u32, 0..15_u64, 0..40_u64, any::<bool>());
    (proptest::collection::vec(step, 0..80), 1..9_u32).prop_map(|(steps, clients)| {
        let mut at = Duration::ZERO;
        let plan = steps.into_iter().map(|(visit, gap, takes, is_pair)| {
            at += Duration::from_millis(gap);
            let crowd = if is_pair { Crowd::OneCard } else { Crowd::Alone };
            Planned { at, intention: Intention { crowd, ..lending(visit, takes) } }
        });
        Load { plan: plan.collect(), clients }
    })
}

/// Returns the number of operations.
fn operations<'a>(intentions: impl IntoIterator<Item = &'a Intention>) -> u64 {
    intentions.into_iter().map(|intention| intention.crowd.operations()).sum()
}

/// Runs a future with a clock that does not wait.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

/// Returns the runs of each visit in the order in which they began.
fn by_visit(runs: &[Run]) -> HashMap<u32, Vec<Run>> {
    let mut visits: HashMap<u32, Vec<Run>> = HashMap::new();
    for run in runs {
        visits.entry(run.intention.visit).or_default().push(*run);
    }
    visits.values_mut().for_each(|runs| runs.sort_by_key(|run| (run.began, run.ended)));
    visits
}

fn draws(runs: &[Run]) -> Vec<u64> {
    runs.iter().map(|run| run.intention.draw).collect()
}

/// Checks that the steps of each visit ran in the order of the plan, one after the other, and each
/// at most once; and returns an error of the property otherwise.
fn check_visits(plan: &[Planned], runs: &[Run]) -> Result<(), TestCaseError> {
    for (visit, runs) in by_visit(runs) {
        let steps = plan.iter().filter(|planned| planned.intention.visit == visit);
        let planned: Vec<u64> = steps.map(|planned| planned.intention.draw).collect();
        prop_assert_eq!(&draws(&runs), &planned[..runs.len()]);
        prop_assert!(runs.is_sorted_by(|one, next| one.ended <= next.began));
    }
    Ok(())
}

/// Checks that no more intentions ran at the same time than there are clients.
fn check_clients(clients: u32, runs: &[Run]) -> Result<(), TestCaseError> {
    for one in runs {
        let is_running = |other: &&Run| other.began <= one.began && one.began < other.ended;
        prop_assert!(runs.iter().filter(is_running).count() <= clients as usize);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// In an open loop each intention runs once, not before its time, and in order within its
    /// visit.
    #[test]
    fn an_open_loop_runs_each_intention_once(Load { plan, clients } in any_load()) {
        let (engine, ending, start) = run(async {
            let (engine, start) = (engine(Takes, clients), clock::now());
            let ending = engine.open(plan.iter().copied(), start).await.unwrap();
            (engine, ending, start)
        });

        let (runs, snapshot) = (engine.runs(), engine.tally.snapshot());
        let due = operations(plan.iter().map(|planned| &planned.intention));
        prop_assert_eq!(runs.len(), plan.len());
        prop_assert!(runs.iter().all(|run| run.began >= run.intended));
        let mut intended: Vec<Instant> = runs.iter().map(|run| run.intended).collect();
        intended.sort();
        prop_assert!(intended.into_iter().eq(plan.iter().map(|planned| start + planned.at)));
        check_visits(&plan, &runs)?;
        check_clients(clients, &runs)?;
        prop_assert_eq!((ending.due, ending.not_begun, ending.is_stopped), (due, 0, false));
        prop_assert_eq!((snapshot.due, snapshot.begun, snapshot.ended), (due, due, due));
    }

    /// If the engine does not wait for intentions that have not begun, it counts them.
    #[test]
    fn what_does_not_begin_is_counted(
        Load { plan, clients } in any_load(),
        drain in 0..100_u64,
    ) {
        let (engine, ending) = run(async {
            let drain = Duration::from_millis(drain);
            let engine = Engine { drain, ..engine(Takes, clients) };
            let ending = engine.open(plan.iter().copied(), clock::now()).await.unwrap();
            (engine, ending)
        });

        let (runs, snapshot) = (engine.runs(), engine.tally.snapshot());
        let due = operations(plan.iter().map(|planned| &planned.intention));
        let begun = operations(runs.iter().map(|run| &run.intention));
        check_visits(&plan, &runs)?;
        prop_assert_eq!((ending.due, ending.not_begun), (due, due - begun));
        prop_assert_eq!((snapshot.due, snapshot.begun, snapshot.ended), (due, begun, begun));
    }

    /// A closed loop runs the intentions in the order of the plan, each once, and never overlaps
    /// the steps of a visit.
    #[test]
    fn a_closed_loop_runs_each_intention_once(
        Load { plan, clients } in any_load(),
        milliseconds in 0..2_000_u64,
    ) {
        let (engine, ending) = run(async {
            let engine = engine(Takes, clients);
            let intentions = plan.iter().map(|planned| planned.intention);
            let duration = Duration::from_millis(milliseconds);
            let ending = engine.closed(intentions, duration).await.unwrap();
            (engine, ending)
        });

        let (runs, snapshot) = (engine.runs(), engine.tally.snapshot());
        let begun = operations(runs.iter().map(|run| &run.intention));
        check_visits(&plan, &runs)?;
        check_clients(clients, &runs)?;
        prop_assert!(runs.iter().all(|run| run.began == run.intended));
        prop_assert_eq!((ending.due, ending.not_begun), (begun, 0));
        prop_assert_eq!((snapshot.due, snapshot.ended, snapshot.late), (begun, begun, 0));
        if ending.took < Duration::from_millis(milliseconds) {
            prop_assert_eq!(runs.len(), plan.len());
        }
    }
}
