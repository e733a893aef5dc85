use std::collections::{HashMap, HashSet};

use super::*;
use crate::plan::MixOptions;

fn visits(seed: u64) -> Vec<Intention> {
    Visits::new(MixOptions::usual().check().unwrap(), 15_000, seed).take(300_000).collect()
}

fn drawn(options: &MixOptions, count: usize) -> Vec<Intention> {
    Visits::new(options.check().unwrap(), 15_000, 1).take(count).collect()
}

/// Returns the share of operations among those that `of` selects.
fn share(
    intentions: &[Intention],
    of: impl Fn(&Intention) -> bool,
    wanted: impl Fn(&Intention) -> f64,
) -> f64 {
    let of = intentions.iter().filter(|intention| of(intention));
    let (found, all) = of.fold((0.0, 0.0), |(found, all), intention| {
        (found + wanted(intention), all + intention.crowd.operations() as f64)
    });
    found / all
}

#[test]
fn a_seed_gives_the_same_intentions() {
    assert_eq!(visits(1), visits(1));
    assert_ne!(visits(1), visits(2));
}

#[test]
fn has_the_shares_that_were_asked_for() {
    let contended = MixOptions { rejected: 3.0, lost_rounds: 15.0, ..MixOptions::usual() };
    let mistaken = MixOptions { idempotent: 40.0, rejected: 50.0, ..MixOptions::usual() };
    let asking = MixOptions { queries: 40.0, lists: 30.0, ..MixOptions::usual() };
    for options in [MixOptions::usual(), contended, mistaken, asking] {
        assert_has_shares(&drawn(&options, 100_000), &options);
    }
}

fn assert_has_shares(intentions: &[Intention], options: &MixOptions) {
    let is_query = |intention: &Intention| intention.act.group() == Group::Queries;
    let is_command = |intention: &Intention| !is_query(intention);
    let group = |group| {
        move |intention: &Intention| match intention.act.group() == group {
            true => intention.crowd.operations() as f64,
            false => 0.0,
        }
    };
    let aim = |aim| move |intention: &Intention| f64::from(intention.aim == aim);
    let copies = |intention: &Intention| f64::from(intention.crowd == Crowd::OneCopy);
    let pairs = |intention: &Intention| f64::from(intention.crowd != Crowd::Alone);
    let list = |intention: &Intention| f64::from(matches!(intention.act, Act::List(_)));

    let shares = [
        (options.groups[0], share(intentions, is_command, group(Group::Lending))),
        (options.groups[1], share(intentions, is_command, group(Group::Circulation))),
        (options.groups[2], share(intentions, is_command, group(Group::Readers))),
        (options.queries, share(intentions, |_| true, group(Group::Queries))),
        (options.lists, share(intentions, is_query, list)),
        (options.idempotent, share(intentions, is_command, aim(Aim::Idempotent))),
        (options.rejected, share(intentions, is_command, |it| aim(Aim::Rejected)(it) + copies(it))),
        (options.lost_rounds, share(intentions, is_command, pairs)),
    ];

    for (asked, got) in shares {
        assert!((asked / 100.0 - got).abs() < 0.006, "{asked} asked, {got} got: {shares:?}");
    }
}

#[test]
fn every_list_is_asked_for() {
    let lists: HashSet<_> = visits(1)
        .into_iter()
        .filter(|intention| matches!(intention.act, Act::List(_)))
        .map(|intention| intention.act)
        .collect();

    assert_eq!(lists.len(), LIST_CHOICES.len());
}

#[test]
fn a_load_begins_in_the_middle_of_visits() {
    let lending = visits(1).into_iter().filter(|intention| {
        intention.act.group() == Group::Lending && intention.aim == Aim::Success
    });
    let acts: Vec<_> = lending.take(500).map(|intention| intention.act).collect();

    let loans = acts.iter().filter(|act| **act == Act::Borrow).count();

    assert!((150..350).contains(&loans), "{loans}");
}

#[test]
fn some_readers_return_nothing() {
    let (mut returns, mut ended) = (HashMap::new(), Vec::new());
    let steps = visits(1).into_iter().filter(|intention| {
        intention.crowd == Crowd::Alone
            && intention.act.group() == Group::Lending
            && intention.aim == Aim::Success
    });
    for step in steps {
        *returns.entry(step.visit).or_insert(0) += u32::from(step.act == Act::Return);
        ended.extend(step.ends_visit.then_some(step.visit));
    }
    // The first visits began before the load.
    let whole = &ended[2_000..];

    let without = whole.iter().filter(|visit| returns[visit] == 0).count();

    let share = without as f64 / whole.len() as f64;
    assert!((0.01..0.1).contains(&share), "{share}");
}

#[test]
fn the_staff_work_side_by_side() {
    let intentions = visits(1);
    let of = |wanted: Group| {
        let of = intentions.iter().filter(|intention| intention.act.group() == wanted);
        of.map(|intention| intention.visit).collect::<HashSet<_>>().len()
    };

    assert_eq!((of(Group::Circulation), of(Group::Readers)), (64, 32));
}

#[test]
fn loans_copies_and_readers_stay_in_balance() {
    let intentions = visits(1);
    let mut counts: HashMap<Act, i64> = HashMap::new();
    for intention in intentions.iter().filter(|intention| intention.aim == Aim::Success) {
        let loans = if intention.crowd == Crowd::OneCard { 2 } else { 1 };
        *counts.entry(intention.act).or_default() += loans;
    }

    for (more, less) in
        [(Act::Borrow, Act::Return), (Act::Add, Act::Remove), (Act::Register, Act::Cancel)]
    {
        let difference = counts[&more] - counts[&less];
        assert!(difference.abs() < 1_500, "{more:?}: {difference}");
    }
}

#[test]
fn a_visit_has_no_step_after_its_last_one() {
    let mut ended = HashSet::new();
    for intention in visits(1) {
        assert!(!ended.contains(&intention.visit), "{intention:?}");
        if intention.ends_visit {
            ended.insert(intention.visit);
        }
    }
    assert!(ended.iter().all(|visit| *visit >= Visits::FIRST_OF_READERS));
    assert!(ended.len() > 1_000);
}
