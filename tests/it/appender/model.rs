//! What a log that is only a list would have answered.

use std::collections::HashMap;

use eddyline::{AppendCondition, Error, Event, Filter, Query, ReadWrite, SequenceNumber, Store};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tokio_postgres::Client;

use super::Outcome;
use crate::generate;
use crate::support::{Log, next};

/// What a condition is since, as far as can be said before it is known what is there.
#[derive(Clone, Copy, Debug)]
enum Since {
    Now,
    Before(u64),
    Beginning,
}

#[derive(Clone, Debug)]
struct Attempt {
    events: Vec<Event>,
    condition: Option<(Filter, Since)>,
    /// By which of the stores.
    by_first: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Appends(Vec<Attempt>),
    /// By someone who does not use the crate.
    Insert(Event),
}

fn filter() -> impl Strategy<Value = Filter> {
    let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let period = (0..3_i64).prop_map(move |hours| noon + SignedDuration::from_hours(hours));
    prop_oneof![
        6 => generate::filter(),
        1 => (generate::filter(), period.clone())
            .prop_map(|(filter, from)| filter.occurred(from..).unwrap()),
        1 => (generate::filter(), period)
            .prop_map(|(filter, until)| filter.occurred(..=until).unwrap()),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    (generate::event(), 0..3_i64).prop_map(move |(event, hours)| {
        // One that was generated may be used again, and its id must not.
        let id = uuid::Uuid::from_u128(u128::from(next()) + 1);
        let at = noon + SignedDuration::from_hours(hours);
        event.with_id(id).unwrap().with_occurred_at(at).unwrap()
    })
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let since = prop_oneof![
        4 => Just(Since::Now),
        3 => (1..12_u64).prop_map(Since::Before),
        1 => Just(Since::Beginning),
    ];
    let condition = prop::option::weighted(0.8, (filter(), since));
    (vec(event(), 1..4), condition, any::<bool>())
        .prop_map(|(events, condition, by_first)| Attempt { events, condition, by_first })
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => vec(attempt(), 1..=most).prop_map(Step::Appends),
        2 => event().prop_map(Step::Insert),
    ];
    vec(step, 4..14)
}

/// Two stores of one log, and whoever inserts there besides.
struct Desk {
    log: Log,
    stores: [Store<ReadWrite>; 2],
    sql: Client,
}

impl Desk {
    async fn new() -> Self {
        let log = Log::new().await;
        let stores = [log.writer().await, log.writer().await];
        let sql = log.sql().await;
        Self { log, stores, sql }
    }

    fn store(&self, by_first: bool) -> &Store<ReadWrite> {
        &self.stores[usize::from(by_first)]
    }

    async fn insert(&self, event: &Event) {
        let insert = format!(
            "INSERT INTO {} (event_id, occurred_at, event_type, payload)
             VALUES ($1, $2::text::timestamptz, $3, $4::text::jsonb)",
            self.log.name
        );
        let time = event.occurred_at().to_string();
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&event.id(), &time, &event.event_type(), &event.payload_json()];
        self.sql.execute(&insert, &params).await.unwrap();
    }

    async fn append(&self, attempt: &Attempt, head: u64) -> (SequenceNumber, Outcome) {
        let after = SequenceNumber::new(match attempt.condition {
            None | Some((_, Since::Beginning)) => 0,
            Some((_, Since::Now)) => head,
            Some((_, Since::Before(events))) => head.saturating_sub(events),
        });
        let condition = match &attempt.condition {
            None => AppendCondition::none(),
            Some((filter, _)) => AppendCondition::no_match_after(filter.clone(), after),
        };
        let store = self.store(attempt.by_first);
        (after, store.append(attempt.events.clone(), condition).await)
    }
}

/// The first event after a position, and before another one, that a filter matches.
fn broken<'a>(
    events: &'a [(u64, Event)],
    filter: &Filter,
    after: SequenceNumber,
    before: u64,
) -> Option<&'a (u64, Event)> {
    let between = |number: u64| number > after.value() && number < before;
    events.iter().find(|(number, event)| between(*number) && filter.matches(event))
}

fn of_seed(cases: u32, most: usize) -> (u64, Vec<Vec<Step>>) {
    let seed = std::env::var("MODEL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    let config = Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let strategy = steps(most);
    let cases = (0..cases).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    (seed, cases.collect())
}

/// One after the other, so that each answer is known beforehand.
#[tokio::test]
async fn answers_as_a_list_would() {
    let (seed, cases) = of_seed(25, 3);
    let desk = Desk::new().await;
    let mut list: Vec<(u64, Event)> = Vec::new();
    for step in cases.into_iter().flatten() {
        let attempts = match step {
            Step::Appends(attempts) => attempts,
            Step::Insert(event) => {
                desk.insert(&event).await;
                let head = desk.store(true).head().await.unwrap().value();
                list.push((head, event));
                continue;
            }
        };
        for attempt in attempts {
            let head = list.last().map_or(0, |(number, _)| *number);

            let (after, outcome) = desk.append(&attempt, head).await;

            let condition = attempt.condition.as_ref();
            let expected = condition.and_then(|(filter, _)| broken(&list, filter, after, u64::MAX));
            match (outcome, expected) {
                (Ok(appended), None) => {
                    let numbers = appended.first().value()..=appended.last().value();
                    assert!(*numbers.start() > head, "seed {seed}");
                    list.extend(numbers.zip(attempt.events));
                }
                (Err(Error::Conflict { event, event_type, .. }), Some((number, breaking))) => {
                    let told = (event.value(), event_type.as_str());
                    assert_eq!(told, (*number, breaking.event_type()), "seed {seed}");
                }
                (outcome, expected) => panic!("seed {seed}: {outcome:?}, not {expected:?}"),
            }
        }
    }
    let stored = desk.store(true).query(Filter::everything()).await.unwrap();
    let ids = stored.events().iter().map(|event| event.id());
    assert!(ids.eq(list.iter().map(|(_, event)| event.id())), "seed {seed}");
}

#[tokio::test]
async fn answers_as_some_order_of_them_allows() {
    let (seed, cases) = of_seed(20, 24);
    at_once(seed, cases.into_iter().flatten(), |_| INSERTS).await;
}

/// So that most of what comes is sent before what came earlier is answered.
#[tokio::test]
async fn answers_so_too_where_there_is_hardly_anybody_else() {
    let (seed, cases) = of_seed(4, 100);
    let by_one = |mut step| {
        match &mut step {
            Step::Appends(attempts) => attempts.iter_mut().for_each(|one| one.by_first = true),
            Step::Insert(_) => return None,
        }
        Some(step)
    };
    at_once(seed, cases.into_iter().flatten().filter_map(by_one), |step| {
        usize::from(step % RARELY == 0)
    })
    .await;
}

/// Makes appends at the same time, so that only the log tells afterwards in which order it was.
async fn at_once(
    seed: u64,
    steps: impl Iterator<Item = Step>,
    inserts_beside: impl Fn(usize) -> usize,
) {
    let desk = Desk::new().await;
    let mut told = Vec::new();
    let mut inserted = 0;
    for (number, step) in steps.enumerate() {
        let beside = inserts_beside(number);
        match step {
            Step::Insert(event) => {
                desk.insert(&event).await;
                inserted += 1;
            }
            Step::Appends(attempts) => {
                let head = desk.store(true).head().await.unwrap().value();
                let inserts = async {
                    // In between, by someone who knows nothing of the others.
                    for _ in 0..beside {
                        desk.sql.batch_execute(&desk.log.insert("b-1")).await.unwrap();
                    }
                };
                let appends = join_all(attempts.iter().map(|one| desk.append(one, head)));
                let (outcomes, ()) = tokio::join!(appends, inserts);
                inserted += beside;
                told.extend(attempts.into_iter().zip(outcomes));
            }
        }
    }

    let stored = desk.store(true).query(Query::new(&Filter::everything())).await.unwrap();
    let list: Vec<(u64, Event)> = stored
        .events()
        .iter()
        .map(|event| (event.sequence_number().value(), event.event().clone()))
        .collect();
    let places: HashMap<_, _> = list.iter().map(|(number, event)| (event.id(), *number)).collect();
    assert_eq!(places.len(), list.len(), "seed {seed}: stored twice");
    let (mut accepted, mut refused) = (0, 0);
    for (Attempt { events, condition, .. }, (after, outcome)) in &told {
        let numbers: Vec<_> = events.iter().filter_map(|event| places.get(&event.id())).collect();
        match outcome {
            Ok(appended) => {
                assert_eq!(numbers.len(), events.len(), "seed {seed}: not stored whole");
                assert!(numbers.is_sorted(), "seed {seed}: in another order");
                let ends = (appended.first().value(), appended.last().value());
                assert_eq!(ends, (*numbers[0], *numbers[numbers.len() - 1]), "seed {seed}");
                assert_eq!(ends.1 - ends.0 + 1, events.len() as u64, "seed {seed}: torn apart");
                let broken =
                    condition.as_ref().and_then(|one| broken(&list, &one.0, *after, ends.0));
                assert!(broken.is_none(), "seed {seed}: {broken:?} came before {ends:?}");
                accepted += events.len();
            }
            Err(Error::Conflict { event, event_type, .. }) => {
                assert!(numbers.is_empty(), "seed {seed}: stored though it was refused");
                let (filter, _) = condition.as_ref().expect("it can be broken");
                let first = broken(&list, filter, *after, u64::MAX).expect("something broke it");
                let told = (event.value(), event_type.as_str());
                assert_eq!(told, (first.0, first.1.event_type()), "seed {seed}");
                refused += 1;
            }
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    assert_eq!(list.len(), accepted + inserted, "seed {seed}");
    assert!(accepted > 0 && refused > 0, "seed {seed}: {accepted} accepted, {refused} refused");
}

/// How many events somebody else inserts while appends are made at the same time.
const INSERTS: usize = 2;
/// How often somebody else inserts one where that is rare.
const RARELY: usize = 6;
