use super::*;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn log(ids: &[u128]) -> Vec<Entry> {
    let numbers = (1..).map(|number| number * 10);
    ids.iter().zip(numbers).map(|(&one, number)| Entry { number, id: id(one) }).collect()
}

fn fact(ids: &[u128], told: Told) -> Fact {
    Fact { campaign: Campaign::Cut, ids: ids.iter().map(|&one| id(one)).collect(), told }
}

fn verdict(log: &[Entry], facts: impl Into<Vec<Fact>>) -> Verdict {
    judge(log, &Testimony { facts: facts.into(), outages: Vec::new() })
}

/// Returns how many are lost, ghosts, twice and torn.
fn counts(verdict: &Verdict) -> [u64; 4] {
    [&verdict.lost, &verdict.ghosts, &verdict.twice, &verdict.torn].map(|faults| faults.count)
}

fn accepted(first: u64, last: u64) -> Told {
    Told::Accepted { first, last }
}

const REFUSED: Told = Told::Refused { class: "transient" };

fn unknown() -> Told {
    Told::Unknown { started: Instant::now() }
}

#[test]
fn finds_nothing_where_everything_is_as_told() {
    let facts = [
        fact(&[1, 2], accepted(10, 20)),
        fact(&[3], REFUSED),
        fact(&[4], accepted(30, 30)),
        fact(&[5, 6], unknown()),
        fact(&[7], unknown()),
        fact(&[8], Told::GivenUp),
    ];

    let verdict = verdict(&log(&[1, 2, 4, 5, 6, 8]), facts);

    assert_eq!(counts(&verdict), [0; 4]);
    assert!(verdict.is_true());
}

#[test]
fn finds_what_was_lost() {
    let facts = [fact(&[1], accepted(10, 10)), fact(&[2, 3], accepted(20, 30))];

    assert_eq!(counts(&verdict(&log(&[1]), facts.clone())), [2, 0, 0, 0]);
    assert_eq!(counts(&verdict(&log(&[1, 2]), facts)), [1, 0, 0, 1]);
}

#[test]
fn finds_what_is_elsewhere_than_told() {
    for (first, last) in [(10, 10), (10, 30), (20, 20), (30, 20)] {
        let verdict = verdict(&log(&[1, 2]), [fact(&[1, 2], accepted(first, last))]);

        assert_eq!(counts(&verdict), [1, 0, 0, 0], "{first} {last}");
    }
    let reversed = verdict(&log(&[2, 1]), [fact(&[1, 2], accepted(10, 20))]);
    assert_eq!(counts(&reversed), [1, 0, 0, 0]);
}

#[test]
fn finds_ghosts() {
    let refused = verdict(&log(&[1, 2]), [fact(&[1, 2], REFUSED)]);
    let of_nobody = verdict(&log(&[3]), []);

    assert_eq!(counts(&refused), [0, 2, 0, 0]);
    assert_eq!(counts(&of_nobody), [0, 1, 0, 0]);
}

#[test]
fn finds_what_is_there_twice_whatever_was_told() {
    for told in [accepted(10, 10), unknown(), Told::GivenUp] {
        let verdict = verdict(&log(&[1, 1, 1]), [fact(&[1], told)]);

        assert_eq!(counts(&verdict), [0, 0, 2, 0], "{told:?}");
    }
}

#[test]
fn finds_torn_appends_whatever_was_told() {
    for told in [unknown(), Told::GivenUp] {
        let verdict = verdict(&log(&[1, 3]), [fact(&[1, 2, 3], told)]);

        assert_eq!(counts(&verdict), [0, 0, 0, 1], "{told:?}");
    }
}

#[test]
fn excuses_an_unknown_outcome_only_by_an_outage_at_its_deadline() {
    let started = Instant::now();
    let deadline = started + DEADLINE;
    let second = Duration::from_secs(1);
    let facts = vec![fact(&[1], Told::Unknown { started })];
    for (outage, needless) in [
        ((started - second, deadline + second), 0),
        ((deadline - second, deadline + second), 0),
        ((started, deadline - second), 1),
        ((deadline + second, deadline + second * 2), 1),
    ] {
        let verdict = judge(&[], &Testimony { facts: facts.clone(), outages: vec![outage] });

        assert_eq!((verdict.unknown, verdict.needless.count), (1, needless), "{outage:?}");
        assert!(!verdict.is_known());
    }
}

#[test]
fn bears_less_than_one_unknown_outcome_in_a_thousand() {
    let verdict = |unknown, answered| Verdict { unknown, answered, ..Verdict::default() };

    assert!(verdict(0, 0).is_known());
    assert!(verdict(1, 1_001).is_known());
    assert!(!verdict(1, 1_000).is_known());
}
