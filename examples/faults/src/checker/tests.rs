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

/// Judges a log of a decision of three rounds.
fn decided(log: &[Entry], named: Option<&[u128]>, told: Told) -> Verdict {
    let ids = |round: &[u128]| round.iter().map(|&one| id(one)).collect::<Vec<_>>();
    let rounds = [[1, 2], [3, 4], [5, 6]].map(|round| ids(&round)).to_vec();
    let mut testimony = Testimony::default();
    testimony.add(Campaign::Kill, rounds, named.map(ids).as_deref(), told);
    judge(log, &testimony)
}

#[test]
fn expects_the_events_of_a_decision_s_last_round() {
    for (there, faults) in [
        (&[5, 6][..], [0; 4]),
        // As if it was answered with the places of an earlier round.
        (&[1, 2], [2, 2, 0, 0]),
        (&[3, 4], [2, 2, 0, 0]),
        (&[5, 6, 3, 4], [0, 2, 0, 0]),
        (&[5, 6, 3], [0, 1, 0, 1]),
        (&[5, 6, 3, 4, 3, 4], [0, 2, 2, 0]),
        (&[], [2, 0, 0, 0]),
    ] {
        let verdict = decided(&log(there), None, accepted(10, 20));

        assert_eq!(counts(&verdict), faults, "{there:?}");
        assert_eq!(verdict.answered, 1);
    }
}

#[test]
fn expects_no_event_of_a_refused_decision() {
    assert_eq!(counts(&decided(&[], None, REFUSED)), [0; 4]);
    for there in [[1, 2], [3, 4], [5, 6]] {
        assert_eq!(counts(&decided(&log(&there), None, REFUSED)), [0, 2, 0, 0], "{there:?}");
    }
}

#[test]
fn allows_of_an_unknown_decision_the_round_that_it_names() {
    for (there, named, ghosts) in [
        (&[][..], &[5, 6], 0),
        (&[5, 6], &[5, 6], 0),
        (&[3, 4], &[3, 4], 0),
        (&[3, 4], &[5, 6], 2),
        (&[5, 6], &[3, 4], 2),
        // Nobody's events, and two that are somebody's.
        (&[5, 6], &[7, 8], 3),
        (&[5, 6], &[6, 5], 3),
        (&[], &[7, 8], 1),
        (&[3, 4, 5, 6], &[5, 6], 2),
    ] {
        let verdict = decided(&log(there), Some(named), unknown());

        assert_eq!(counts(&verdict), [0, ghosts, 0, 0], "{there:?} {named:?}");
        assert_eq!((verdict.unknown, verdict.answered), (1, 1));
    }
}

#[test]
fn allows_of_a_decision_given_up_its_last_round() {
    assert_eq!(counts(&decided(&log(&[5, 6]), None, Told::GivenUp)), [0; 4]);
    assert_eq!(counts(&decided(&log(&[3, 4]), None, Told::GivenUp)), [0, 2, 0, 0]);
}

#[test]
fn judges_what_was_told_of_a_decision_without_a_round() {
    let mut testimony = Testimony::default();
    testimony.add(Campaign::Kill, Vec::new(), None, REFUSED);
    assert_eq!(counts(&judge(&[], &testimony)), [0; 4]);

    testimony.add(Campaign::Kill, Vec::new(), None, accepted(10, 10));
    assert_eq!(counts(&judge(&[], &testimony)), [1, 0, 0, 0]);
}
