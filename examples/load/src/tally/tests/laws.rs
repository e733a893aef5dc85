use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const OPERATIONS: [(&str, Group); 4] = [
    ("LendBookCopyToReader", Group::Lending),
    ("AddBookCopy", Group::Circulation),
    ("RegisterReader", Group::Readers),
    ("BooksLentByReader", Group::Queries),
];
const STATUSES: [Status; 5] =
    [Status::Success, Status::Idempotent, Status::Rejected, Status::Conflict, Status::Error];

/// An operation of a random load.
#[derive(Clone, Debug)]
struct Drawn {
    operation: usize,
    status: usize,
    at: u64,
    waited: u64,
    served: u64,
    lost_rounds: u32,
    retries: u32,
}

impl Drawn {
    /// A command that ends at the time of the last complete second.
    const LAST: Self = Self {
        operation: 0,
        status: 0,
        at: 60_000,
        waited: 0,
        served: 0,
        lost_rounds: 0,
        retries: 0,
    };

    fn ended(&self, tally: &Tally) -> Ended {
        let (operation, group) = OPERATIONS[self.operation];
        let status = STATUSES[self.status];
        let is_query = group == Group::Queries;
        Ended {
            operation,
            group,
            status,
            events_read: if is_query { 0 } else { self.waited },
            lost_rounds: if is_query { 0 } else { self.lost_rounds },
            retries: self.retries,
            is_escalated: self.lost_rounds > 1,
            served_by: is_query.then(|| format!("replica-{}", self.retries)),
            error: (status == Status::Error).then(|| format!("error {}", self.lost_rounds)),
            ..lending(tally, self.at, self.waited, self.served)
        }
    }
}

fn any_operation() -> impl Strategy<Value = Drawn> {
    (0..4_usize, 0..5_usize, 0..9_000_u64, 0..2_000_u64, 0..3_000_u64, 0..3_u32, 0..3_u32).prop_map(
        |(operation, status, at, waited, served, lost_rounds, retries)| Drawn {
            operation,
            status,
            at,
            waited,
            served,
            lost_rounds,
            retries,
        },
    )
}

fn any_operations() -> impl Strategy<Value = Vec<Drawn>> {
    proptest::collection::vec(any_operation(), 0..100)
}

/// Counts the operations in this order, and returns the tally.
fn counted(drawn: &[Drawn]) -> Tally {
    let tally = tally();
    for operation in drawn {
        let ended = operation.ended(&tally);
        tally.due(ended.intended, 1);
        tally.began(ended.intended);
        tally.ended(&ended);
    }
    tally
}

fn sum<T>(items: &[T], figure: impl Fn(&T) -> u64) -> u64 {
    items.iter().map(figure).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The sums of the windows are the totals, even if ends are counted out of order.
    #[test]
    fn windows_add_up_to_the_totals(drawn in any_operations()) {
        let all = counted(&drawn).snapshot();
        let Snapshot { windows, seconds, ended, commands, queries, .. } = &all;

        let mut outcomes = Outcomes::default();
        windows.iter().for_each(|window| outcomes.merge(window.outcomes));
        let mut reads = BTreeMap::new();
        for (server, count) in windows.iter().flat_map(|window| &window.reads_by_server) {
            *reads.entry(server.clone()).or_default() += count;
        }

        prop_assert_eq!(sum(windows, |window| window.due), drawn.len() as u64);
        prop_assert_eq!(sum(windows, |window| window.ended), *ended);
        prop_assert_eq!(outcomes.total(), *ended);
        prop_assert_eq!(
            sum(windows, |window| window.command_outcomes.total()),
            commands.latency.count
        );
        prop_assert_eq!(sum(windows, |window| window.latency.count), commands.latency.count);
        prop_assert_eq!(sum(windows, |window| window.service.count), commands.service.count);
        prop_assert_eq!(sum(windows, |window| window.query_latency.count), queries.latency.count);
        prop_assert_eq!(sum(windows, |window| window.events_read), all.events_read);
        prop_assert_eq!(sum(windows, |window| window.lost_rounds), all.lost_rounds);
        prop_assert_eq!(sum(windows, |window| window.retries), all.retries);
        prop_assert_eq!(&reads, &all.reads_by_server);
        let length: f64 = windows.iter().map(|window| window.seconds).sum();
        prop_assert!((length - seconds).abs() < 1e-6);
    }

    /// The sums of the seconds are the totals, and seconds that are asked for in parts are the same.
    #[test]
    fn seconds_add_up_to_the_totals(drawn in any_operations(), part in 0..30_u64) {
        let tally = counted(&drawn);
        // All seconds are complete a minute later.
        tally.due(tally.settings().start + Duration::from_secs(60), 0);
        tally.ended(&Drawn::LAST.ended(&tally));
        let all = tally.snapshot();

        let seconds = tally.seconds(None);

        let mut operations: BTreeMap<String, Outcomes> = BTreeMap::new();
        for (name, outcomes) in seconds.iter().flat_map(|second| &second.operations) {
            operations.entry((*name).to_owned()).or_default().merge(*outcomes);
        }
        let mut reads = BTreeMap::new();
        for (server, count) in seconds.iter().flat_map(|second| &second.reads_by_server) {
            *reads.entry(server.clone()).or_default() += count;
        }
        let mut expected = all.operations;
        let last = expected.get_mut(OPERATIONS[Drawn::LAST.operation].0).unwrap();
        last.outcomes.success -= 1;
        prop_assert_eq!(sum(&seconds, |second| second.due), drawn.len() as u64);
        for (name, figures) in expected {
            let counted = operations.remove(&name).unwrap_or_default();
            prop_assert_eq!(counted, figures.outcomes, "{}", name);
        }
        prop_assert!(operations.is_empty());
        prop_assert_eq!(sum(&seconds, |second| second.commands.count), all.commands.latency.count - 1);
        prop_assert_eq!(sum(&seconds, |second| second.queries.count), all.queries.latency.count);
        prop_assert_eq!(sum(&seconds, |second| second.events_read), all.events_read);
        prop_assert_eq!(sum(&seconds, |second| second.lost_rounds), all.lost_rounds);
        prop_assert_eq!(sum(&seconds, |second| second.escalations), all.escalations);
        prop_assert_eq!(sum(&seconds, |second| second.retries), all.retries);
        prop_assert_eq!(reads, all.reads_by_server);
        prop_assert_eq!(seconds.last().unwrap().waiting, 0);
        let (before, after) = seconds.split_at(part as usize + 1);
        prop_assert_eq!(tally.seconds(Some(before.last().unwrap().at)), after);
    }

    /// The sums of the operations are the totals, and each operation ends in one way.
    #[test]
    fn operations_add_up_to_the_totals(drawn in any_operations()) {
        let snapshot = counted(&drawn).snapshot();
        let operations: Vec<&OperationFigures> = snapshot.operations.values().collect();
        let of_commands = |operation: &&OperationFigures, count| match operation.group {
            Group::Queries => 0,
            _ => count,
        };

        prop_assert_eq!(snapshot.ended, drawn.len() as u64);
        prop_assert_eq!(sum(&operations, |operation| operation.outcomes.total()), snapshot.ended);
        for operation in &operations {
            prop_assert_eq!(operation.outcomes.total(), operation.latencies.latency.count);
            prop_assert_eq!(operation.outcomes.total(), operation.latencies.service.count);
        }
        prop_assert_eq!(
            sum(&operations, |operation| of_commands(operation, operation.outcomes.total())),
            snapshot.commands.latency.count
        );
        prop_assert_eq!(
            sum(&operations, |operation| operation.outcomes.error),
            snapshot.errors.values().sum::<u64>()
        );
    }

    /// The order in which ends are counted does not change the totals.
    #[test]
    fn the_order_of_ends_does_not_matter(
        (drawn, shuffled) in any_operations()
            .prop_flat_map(|drawn| (Just(drawn.clone()), Just(drawn).prop_shuffle())),
    ) {
        let (one, other) = (counted(&drawn).snapshot(), counted(&shuffled).snapshot());

        let windows = Vec::new();
        let late = one.late;
        prop_assert_eq!(
            Snapshot { windows: windows.clone(), seconds: 0.0, ..one },
            Snapshot { windows, seconds: 0.0, late, ..other }
        );
    }

    /// At the end of each window, those are pending that were due and had not ended.
    #[test]
    fn pending_operations_are_those_that_were_due_and_had_not_ended(mut drawn in any_operations()) {
        let end = |operation: &Drawn| operation.at + operation.waited + operation.served;
        drawn.sort_by_key(end);

        let snapshot = counted(&drawn).snapshot();

        for window in &snapshot.windows {
            let until = ((window.start + window.seconds) * 1_000.0).round() as u64;
            let is_pending =
                |operation: &&Drawn| operation.at < until && end(operation) >= until;
            let pending = drawn.iter().filter(is_pending).count() as u64;
            // The last window ends when the last operation ends.
            if window.seconds == WINDOW.as_secs_f64() {
                prop_assert_eq!(window.pending, pending, "until {}", until);
            }
        }
    }

    /// Larger shares have larger times, and the curve ends with the maximum.
    #[test]
    fn quantiles_are_ordered(drawn in proptest::collection::vec(any_operation(), 1..100)) {
        let snapshot = counted(&drawn).snapshot();

        for operation in snapshot.operations.values() {
            let Latencies { latency, service } = &operation.latencies;
            for Distribution { p50, p95, p99, p999, max, curve, .. } in [latency, service] {
                prop_assert!([p50, p95, p99, p999, max].is_sorted());
                prop_assert!(curve.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1));
                prop_assert_eq!(curve.last(), Some(&(1.0, *max)));
            }
        }
    }
}
