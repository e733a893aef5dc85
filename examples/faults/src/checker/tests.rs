use super::*;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn log(ids: &[u128]) -> Vec<Entry> {
    let positions = (1..).map(|position| position * 10);
    ids.iter().zip(positions).map(|(&one, position)| Entry { position, id: id(one) }).collect()
}

fn operation(ids: &[u128], outcome: Outcome) -> Operation {
    Operation { campaign: Campaign::Cut, ids: ids.iter().map(|&one| id(one)).collect(), outcome }
}

fn verdict(log: &[Entry], operations: impl Into<Vec<Operation>>) -> Verdict {
    check(log, &Observations { operations: operations.into(), outages: Vec::new() })
}

/// Returns the numbers of lost, ghost, repeated and torn events or appends.
fn counts(verdict: &Verdict) -> [u64; 4] {
    [&verdict.lost, &verdict.ghosts, &verdict.twice, &verdict.torn].map(|faults| faults.count)
}

fn accepted(first: u64, last: u64) -> Outcome {
    Outcome::Accepted { first, last }
}

const REFUSED: Outcome = Outcome::Refused { class: "transient" };

fn unknown() -> Outcome {
    Outcome::Unknown { started: Instant::now() }
}

#[test]
fn finds_no_violation_in_a_clean_history() {
    let operations = [
        operation(&[1, 2], accepted(10, 20)),
        operation(&[3], REFUSED),
        operation(&[4], accepted(30, 30)),
        operation(&[5, 6], unknown()),
        operation(&[7], unknown()),
        operation(&[8], Outcome::Abandoned),
    ];

    let verdict = verdict(&log(&[1, 2, 4, 5, 6, 8]), operations);

    assert_eq!(counts(&verdict), [0; 4]);
    assert!(verdict.is_consistent());
}

#[test]
fn finds_lost_events() {
    let operations = [operation(&[1], accepted(10, 10)), operation(&[2, 3], accepted(20, 30))];

    assert_eq!(counts(&verdict(&log(&[1]), operations.clone())), [2, 0, 0, 0]);
    assert_eq!(counts(&verdict(&log(&[1, 2]), operations)), [1, 0, 0, 1]);
}

#[test]
fn finds_appends_at_other_positions_than_reported() {
    for (first, last) in [(10, 10), (10, 30), (20, 20), (30, 20)] {
        let verdict = verdict(&log(&[1, 2]), [operation(&[1, 2], accepted(first, last))]);

        assert_eq!(counts(&verdict), [1, 0, 0, 0], "{first} {last}");
    }
    let reversed = verdict(&log(&[2, 1]), [operation(&[1, 2], accepted(10, 20))]);
    assert_eq!(counts(&reversed), [1, 0, 0, 0]);
}

#[test]
fn finds_ghosts() {
    let refused = verdict(&log(&[1, 2]), [operation(&[1, 2], REFUSED)]);
    let unrecorded = verdict(&log(&[3]), []);

    assert_eq!(counts(&refused), [0, 2, 0, 0]);
    assert_eq!(counts(&unrecorded), [0, 1, 0, 0]);
}

#[test]
fn finds_repeated_events_for_every_outcome() {
    for outcome in [accepted(10, 10), unknown(), Outcome::Abandoned] {
        let verdict = verdict(&log(&[1, 1, 1]), [operation(&[1], outcome)]);

        assert_eq!(counts(&verdict), [0, 0, 2, 0], "{outcome:?}");
    }
}

#[test]
fn finds_torn_appends_for_every_outcome() {
    for outcome in [unknown(), Outcome::Abandoned] {
        let verdict = verdict(&log(&[1, 3]), [operation(&[1, 2, 3], outcome)]);

        assert_eq!(counts(&verdict), [0, 0, 0, 1], "{outcome:?}");
    }
}

#[test]
fn only_an_outage_at_the_deadline_excuses_an_unknown_outcome() {
    let started = Instant::now();
    let deadline = started + DEADLINE;
    let second = Duration::from_secs(1);
    let operations = vec![operation(&[1], Outcome::Unknown { started })];
    for (outage, unknown_while_reachable) in [
        ((started - second, deadline + second), 0),
        ((deadline - second, deadline + second), 0),
        ((started, deadline - second), 1),
        ((deadline + second, deadline + second * 2), 1),
    ] {
        let verdict =
            check(&[], &Observations { operations: operations.clone(), outages: vec![outage] });

        assert_eq!(
            (verdict.unknown, verdict.unknown_while_reachable.count),
            (1, unknown_while_reachable),
            "{outage:?}"
        );
        assert!(!verdict.outcomes_are_known());
    }
}

#[test]
fn tolerates_less_than_one_unknown_outcome_in_a_thousand() {
    let verdict = |unknown, answered| Verdict { unknown, answered, ..Verdict::default() };

    assert!(verdict(0, 0).outcomes_are_known());
    assert!(verdict(1, 1_001).outcomes_are_known());
    assert!(!verdict(1, 1_000).outcomes_are_known());
}

/// Checks a log against a decision with three attempts.
fn decided(log: &[Entry], named: Option<&[u128]>, outcome: Outcome) -> Verdict {
    let ids = |attempt: &[u128]| attempt.iter().map(|&one| id(one)).collect::<Vec<_>>();
    let attempts = [[1, 2], [3, 4], [5, 6]].map(|attempt| ids(&attempt)).to_vec();
    let mut observations = Observations::default();
    observations.add(Campaign::Kill, attempts, named.map(ids).as_deref(), outcome);
    check(log, &observations)
}

#[test]
fn an_accepted_decision_stores_the_events_of_its_last_attempt() {
    for (stored, violations) in [
        (&[5, 6][..], [0; 4]),
        // These cases report the positions of an earlier attempt.
        (&[1, 2], [2, 2, 0, 0]),
        (&[3, 4], [2, 2, 0, 0]),
        (&[5, 6, 3, 4], [0, 2, 0, 0]),
        (&[5, 6, 3], [0, 1, 0, 1]),
        (&[5, 6, 3, 4, 3, 4], [0, 2, 2, 0]),
        (&[], [2, 0, 0, 0]),
    ] {
        let verdict = decided(&log(stored), None, accepted(10, 20));

        assert_eq!(counts(&verdict), violations, "{stored:?}");
        assert_eq!(verdict.answered, 1);
    }
}

#[test]
fn a_refused_decision_stores_no_event() {
    assert_eq!(counts(&decided(&[], None, REFUSED)), [0; 4]);
    for stored in [[1, 2], [3, 4], [5, 6]] {
        assert_eq!(counts(&decided(&log(&stored), None, REFUSED)), [0, 2, 0, 0], "{stored:?}");
    }
}

#[test]
fn a_decision_with_unknown_outcome_may_store_the_attempt_that_it_names() {
    for (stored, named, ghosts) in [
        (&[][..], &[5, 6], 0),
        (&[5, 6], &[5, 6], 0),
        (&[3, 4], &[3, 4], 0),
        (&[3, 4], &[5, 6], 2),
        (&[5, 6], &[3, 4], 2),
        // The outcome names unknown events, and the log has two of an attempt that it does not
        // name.
        (&[5, 6], &[7, 8], 3),
        (&[5, 6], &[6, 5], 3),
        (&[], &[7, 8], 1),
        (&[3, 4, 5, 6], &[5, 6], 2),
    ] {
        let verdict = decided(&log(stored), Some(named), unknown());

        assert_eq!(counts(&verdict), [0, ghosts, 0, 0], "{stored:?} {named:?}");
        assert_eq!((verdict.unknown, verdict.answered), (1, 1));
    }
}

#[test]
fn an_abandoned_decision_may_store_its_last_attempt() {
    assert_eq!(counts(&decided(&log(&[5, 6]), None, Outcome::Abandoned)), [0; 4]);
    assert_eq!(counts(&decided(&log(&[3, 4]), None, Outcome::Abandoned)), [0, 2, 0, 0]);
}

#[test]
fn checks_the_outcome_of_a_decision_without_attempts() {
    let mut observations = Observations::default();
    observations.add(Campaign::Kill, Vec::new(), None, REFUSED);
    assert_eq!(counts(&check(&[], &observations)), [0; 4]);

    observations.add(Campaign::Kill, Vec::new(), None, accepted(10, 10));
    assert_eq!(counts(&check(&[], &observations)), [1, 0, 0, 0]);
}
