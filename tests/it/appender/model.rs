//! Random appends compared with a model: a log that is a list in memory.

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

/// The position of a condition, relative to the head at the time of the append.
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
    /// Whether the second of the two stores appends.
    by_second: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Appends(Vec<Attempt>),
    /// An INSERT without the crate.
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
        // Proptest may reuse a generated event, but ids have to be unique.
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
        .prop_map(|(events, condition, by_second)| Attempt { events, condition, by_second })
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => vec(attempt(), 1..=most).prop_map(Step::Appends),
        2 => event().prop_map(Step::Insert),
    ];
    vec(step, 4..14)
}

/// Two stores of one log, and a session for plain INSERTs.
struct Fixture {
    log: Log,
    stores: [Store<ReadWrite>; 2],
    sql: Client,
}

impl Fixture {
    async fn new() -> Self {
        let log = Log::new().await;
        let stores = [log.writer().await, log.writer().await];
        let sql = log.sql().await;
        Self { log, stores, sql }
    }

    fn store(&self, by_second: bool) -> &Store<ReadWrite> {
        &self.stores[usize::from(by_second)]
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
        let store = self.store(attempt.by_second);
        (after, store.append(attempt.events.clone(), condition).await)
    }
}

/// Returns the first event between two positions, both exclusive, that a filter matches.
fn first_match<'a>(
    events: &'a [(u64, Event)],
    filter: &Filter,
    after: SequenceNumber,
    before: u64,
) -> Option<&'a (u64, Event)> {
    let between = |number: u64| number > after.value() && number < before;
    events.iter().find(|(number, event)| between(*number) && filter.matches(event))
}

fn generate_cases(cases: u32, most: usize) -> (u64, Vec<Vec<Step>>) {
    let seed = std::env::var("MODEL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    let config = Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let strategy = steps(most);
    let cases = (0..cases).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    (seed, cases.collect())
}

/// The steps run one after the other, so that the model predicts each outcome.
#[tokio::test]
async fn sequential_appends_answer_as_the_model_does() {
    let (seed, cases) = generate_cases(25, 3);
    let fixture = Fixture::new().await;
    let mut list: Vec<(u64, Event)> = Vec::new();
    for step in cases.into_iter().flatten() {
        let attempts = match step {
            Step::Appends(attempts) => attempts,
            Step::Insert(event) => {
                fixture.insert(&event).await;
                let head = fixture.store(true).head().await.unwrap().value();
                list.push((head, event));
                continue;
            }
        };
        for attempt in attempts {
            let head = list.last().map_or(0, |(number, _)| *number);

            let (after, outcome) = fixture.append(&attempt, head).await;

            let condition = attempt.condition.as_ref();
            let expected =
                condition.and_then(|(filter, _)| first_match(&list, filter, after, u64::MAX));
            match (outcome, expected) {
                (Ok(appended), None) => {
                    let numbers = appended.first().value()..=appended.last().value();
                    assert!(*numbers.start() > head, "seed {seed}");
                    list.extend(numbers.zip(attempt.events));
                }
                (Err(Error::Conflict { position, event_type, .. }), Some((number, breaking))) => {
                    let reported = (position.value(), event_type.as_str());
                    assert_eq!(reported, (*number, breaking.event_type()), "seed {seed}");
                }
                (outcome, expected) => panic!("seed {seed}: {outcome:?}, expected {expected:?}"),
            }
        }
    }
    let stored = fixture.store(true).query(Filter::everything()).await.unwrap();
    let ids = stored.events().iter().map(|event| event.id());
    assert!(ids.eq(list.iter().map(|(_, event)| event.id())), "seed {seed}");
}

#[tokio::test]
async fn concurrent_appends_answer_as_some_serial_order_does() {
    let (seed, cases) = generate_cases(20, 24);
    check_concurrent_appends(seed, cases.into_iter().flatten(), |_| INSERTS_PER_STEP).await;
}

/// One store appends almost alone, so that it sends most batches before their predecessors are
/// answered.
#[tokio::test]
async fn pipelined_appends_answer_as_some_serial_order_does() {
    let (seed, cases) = generate_cases(4, 100);
    let by_second_store = |mut step| {
        match &mut step {
            Step::Appends(attempts) => attempts.iter_mut().for_each(|one| one.by_second = true),
            Step::Insert(_) => return None,
        }
        Some(step)
    };
    check_concurrent_appends(
        seed,
        cases.into_iter().flatten().filter_map(by_second_store),
        |step| usize::from(step % STEPS_PER_INSERT == 0),
    )
    .await;
}

/// Makes appends concurrently, and checks their outcomes against the order of events in the log.
async fn check_concurrent_appends(
    seed: u64,
    steps: impl Iterator<Item = Step>,
    inserts_in_step: impl Fn(usize) -> usize,
) {
    let fixture = Fixture::new().await;
    let mut outcomes_by_attempt = Vec::new();
    let mut inserted = 0;
    for (number, step) in steps.enumerate() {
        let count = inserts_in_step(number);
        match step {
            Step::Insert(event) => {
                fixture.insert(&event).await;
                inserted += 1;
            }
            Step::Appends(attempts) => {
                let head = fixture.store(true).head().await.unwrap().value();
                let inserts = async {
                    // These are committed between the appends, by a session that checks no
                    // condition.
                    for _ in 0..count {
                        fixture.sql.batch_execute(&fixture.log.insert("b-1")).await.unwrap();
                    }
                };
                let appends = join_all(attempts.iter().map(|one| fixture.append(one, head)));
                let (outcomes, ()) = tokio::join!(appends, inserts);
                inserted += count;
                outcomes_by_attempt.extend(attempts.into_iter().zip(outcomes));
            }
        }
    }

    let stored = fixture.store(true).query(Query::new(&Filter::everything())).await.unwrap();
    let list: Vec<(u64, Event)> = stored
        .events()
        .iter()
        .map(|event| (event.sequence_number().value(), event.event().clone()))
        .collect();
    let positions: HashMap<_, _> =
        list.iter().map(|(number, event)| (event.id(), *number)).collect();
    assert_eq!(positions.len(), list.len(), "seed {seed}: stored twice");
    let (mut accepted, mut refused) = (0, 0);
    for (Attempt { events, condition, .. }, (after, outcome)) in &outcomes_by_attempt {
        let numbers: Vec<_> =
            events.iter().filter_map(|event| positions.get(&event.id())).collect();
        match outcome {
            Ok(appended) => {
                assert_eq!(numbers.len(), events.len(), "seed {seed}: stored in part");
                assert!(numbers.is_sorted(), "seed {seed}: stored in another order");
                let ends = (appended.first().value(), appended.last().value());
                assert_eq!(ends, (*numbers[0], *numbers[numbers.len() - 1]), "seed {seed}");
                assert_eq!(
                    ends.1 - ends.0 + 1,
                    events.len() as u64,
                    "seed {seed}: not stored contiguously"
                );
                let broken =
                    condition.as_ref().and_then(|one| first_match(&list, &one.0, *after, ends.0));
                assert!(broken.is_none(), "seed {seed}: {broken:?} precedes {ends:?}");
                accepted += events.len();
            }
            Err(Error::Conflict { position, event_type, .. }) => {
                assert!(numbers.is_empty(), "seed {seed}: stored although refused");
                let (filter, _) = condition.as_ref().expect("only a condition can conflict");
                let first = first_match(&list, filter, *after, u64::MAX)
                    .expect("an event breaks the condition");
                let reported = (position.value(), event_type.as_str());
                assert_eq!(reported, (first.0, first.1.event_type()), "seed {seed}");
                refused += 1;
            }
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    assert_eq!(list.len(), accepted + inserted, "seed {seed}");
    assert!(accepted > 0 && refused > 0, "seed {seed}: {accepted} accepted, {refused} refused");
}

/// The number of events that are inserted by plain SQL beside each set of concurrent appends.
const INSERTS_PER_STEP: usize = 2;
/// The number of sets of appends for each inserted event, in the pipelining test.
const STEPS_PER_INSERT: usize = 6;
