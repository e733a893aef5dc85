#[cfg(test)]
mod tests;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::{Act, Aim, Crowd, Group, Intention, List, Mix};

/// The intentions of all people, in the order in which they are due. The iterator does not end.
///
/// Readers come, ask for their loans, return and borrow copies, and leave. Librarians add and
/// remove copies, and clerks register readers and end contracts, all day. Each intention is drawn
/// for one of these groups with the chance that gives the shares of the [`Mix`], and is the next
/// step of a random person of that group. So the steps of many visits alternate.
///
/// Who a reader is and which copy is meant is not part of it: that depends on the state of the
/// city.
#[derive(Debug)]
pub struct Visits {
    random: StdRng,
    mix: Mix,
    /// The readers in the library.
    visitors: Vec<Visit>,
    next_visit: u32,
    balance: Balance,
}

/// How many more loans, copies and readers there are than at the start, if all visits so far go as
/// intended. The plan keeps these numbers near zero.
#[derive(Debug, Default)]
struct Balance {
    loans: i64,
    copies: i64,
    readers: i64,
}

/// A reader's visit.
#[derive(Debug)]
struct Visit {
    number: u32,
    returns: u32,
    loans: u32,
}

/// What an intention is drawn for.
#[derive(Clone, Copy)]
enum Kind {
    Alone(Group),
    Pair(Crowd),
}

impl Visits {
    /// Draws intentions for a city with this number of readers.
    pub fn new(mix: Mix, readers: u32, seed: u64) -> Self {
        let visitors = (readers / READERS_PER_VISITOR).clamp(MIN_VISITORS, MAX_VISITORS);
        let mut visits = Self {
            random: StdRng::seed_from_u64(seed),
            mix,
            visitors: Vec::new(),
            next_visit: LIBRARIANS + CLERKS,
            balance: Balance::default(),
        };
        for _ in 0..visitors {
            let visit = visits.enter_earlier();
            visits.visitors.push(visit);
        }
        visits
    }

    /// Returns the first visit number of readers. Those below are librarians and clerks, whose
    /// visits do not end.
    pub const FIRST_OF_READERS: u32 = LIBRARIANS + CLERKS;

    fn enter(&mut self) -> Visit {
        let number = self.next_visit;
        self.next_visit = number.checked_add(1).unwrap_or(Self::FIRST_OF_READERS);
        let (mut returns, mut loans) =
            (self.random.random_range(1..=MOST_COPIES), self.random.random_range(1..=MOST_COPIES));
        if self.balance.loans > 0 {
            loans -= 1;
        } else if self.random.random_bool(FORGETS) {
            returns = 0;
        }
        self.balance.loans += i64::from(loans) - i64::from(returns);
        Visit { number, returns, loans }
    }

    /// Draws a visit that has begun before the load. Without such visits, all readers would begin
    /// with their returns.
    fn enter_earlier(&mut self) -> Visit {
        let mut visit = self.enter();
        for _ in 0..self.random.random_range(0..visit.returns + visit.loans) {
            if visit.returns > 0 {
                visit.returns -= 1;
                self.balance.loans += 1;
            } else {
                visit.loans -= 1;
                self.balance.loans -= 1;
            }
        }
        visit
    }

    fn draw_kind(&mut self) -> Kind {
        let mix = &self.mix;
        let commands = 1.0 - mix.share(Group::Queries);
        let lending_alone = mix.share(Group::Lending) - 2.0 * mix.lost_rounds();
        let weighted = [
            (Kind::Alone(Group::Queries), mix.share(Group::Queries)),
            (Kind::Alone(Group::Lending), commands * lending_alone),
            (Kind::Alone(Group::Circulation), commands * mix.share(Group::Circulation)),
            (Kind::Alone(Group::Readers), commands * mix.share(Group::Readers)),
            (Kind::Pair(Crowd::OneCard), commands * mix.pairs_with_one_card()),
            (Kind::Pair(Crowd::OneCopy), commands * mix.pairs_for_one_copy()),
        ];
        let chosen = weighted.choose_weighted(&mut self.random, |(_, weight)| weight.max(0.0));
        chosen.map_or(Kind::Alone(Group::Queries), |(kind, _)| *kind)
    }

    fn draw_aim(&mut self) -> Aim {
        let (idempotent, rejected) = self.mix.chances_alone();
        let drawn: f64 = self.random.random();
        if drawn < rejected {
            Aim::Rejected
        } else if drawn < rejected + idempotent {
            Aim::Idempotent
        } else {
            Aim::Success
        }
    }

    /// Draws a step of a random visitor: a loan or a return.
    fn lending(&mut self) -> Intention {
        let aim = self.draw_aim();
        let index = self.random.random_range(0..self.visitors.len());
        let visit = &mut self.visitors[index];
        if aim != Aim::Success {
            let (number, loan) = (visit.number, self.random.random_bool(0.5));
            let act = if loan { Act::Borrow } else { Act::Return };
            return self.intention(number, act, aim);
        }
        let act = if visit.returns > 0 { Act::Return } else { Act::Borrow };
        match act {
            Act::Return => visit.returns -= 1,
            _ => visit.loans -= 1,
        }
        let (number, ends_visit) = (visit.number, visit.returns + visit.loans == 0);
        if ends_visit {
            self.visitors[index] = self.enter();
        }
        Intention { ends_visit, ..self.intention(number, act, aim) }
    }

    /// Draws a loan for which two people contend.
    fn contended_loan(&mut self, crowd: Crowd) -> Intention {
        self.balance.loans += if crowd == Crowd::OneCard { 2 } else { 1 };
        let visit = self.next_visit;
        self.next_visit = visit.checked_add(1).unwrap_or(Self::FIRST_OF_READERS);
        let intention = self.intention(visit, Act::Borrow, Aim::Success);
        Intention { crowd, ends_visit: true, ..intention }
    }

    fn circulation(&mut self) -> Intention {
        let visit = self.random.random_range(0..LIBRARIANS);
        let aim = self.draw_aim();
        let is_high = self.balance.copies > 0;
        let act = self.choose_change(aim, is_high, Act::Add, Act::Remove);
        self.balance.copies += change(aim, act == Act::Add);
        self.intention(visit, act, aim)
    }

    fn readers(&mut self) -> Intention {
        let visit = self.random.random_range(LIBRARIANS..LIBRARIANS + CLERKS);
        let aim = self.draw_aim();
        let is_high = self.balance.readers > 0;
        let act = self.choose_change(aim, is_high, Act::Register, Act::Cancel);
        self.balance.readers += change(aim, act == Act::Register);
        self.intention(visit, act, aim)
    }

    /// Chooses between an act that adds something and one that takes it away. Only the latter can
    /// be rejected.
    fn choose_change(&mut self, aim: Aim, is_high: bool, more: Act, less: Act) -> Act {
        let takes_away = match aim {
            Aim::Idempotent => self.random.random_bool(0.5),
            Aim::Rejected => true,
            Aim::Success => is_high,
        };
        if takes_away { less } else { more }
    }

    fn query(&mut self) -> Intention {
        if self.random.random_bool(self.mix.lists()) {
            let list = *LIST_CHOICES.choose(&mut self.random).expect("there are lists");
            let visit = self.random.random_range(0..LIBRARIANS);
            return self.intention(visit, Act::List(list), Aim::Success);
        }
        let index = self.random.random_range(0..self.visitors.len());
        let visit = self.visitors[index].number;
        self.intention(visit, Act::Browse, Aim::Success)
    }

    fn intention(&mut self, visit: u32, act: Act, aim: Aim) -> Intention {
        let draw = self.random.random();
        Intention { visit, act, aim, crowd: Crowd::Alone, ends_visit: false, draw }
    }
}

impl Iterator for Visits {
    type Item = Intention;

    fn next(&mut self) -> Option<Intention> {
        Some(match self.draw_kind() {
            Kind::Alone(Group::Circulation) => self.circulation(),
            Kind::Alone(Group::Lending) => self.lending(),
            Kind::Alone(Group::Queries) => self.query(),
            Kind::Alone(Group::Readers) => self.readers(),
            Kind::Pair(crowd) => self.contended_loan(crowd),
        })
    }
}

/// Returns by how much a command changes a balance.
fn change(aim: Aim, adds: bool) -> i64 {
    match (aim, adds) {
        (Aim::Success, true) => 1,
        (Aim::Success, false) => -1,
        (Aim::Idempotent | Aim::Rejected, _) => 0,
    }
}

const LIBRARIANS: u32 = 64;
const CLERKS: u32 = 32;
/// One in this number of readers is in the library.
const READERS_PER_VISITOR: u32 = 10;
const MIN_VISITORS: u32 = 4;
const MAX_VISITORS: u32 = 1_000;
/// The largest number of copies that a reader returns, and that a reader borrows, in a visit.
const MOST_COPIES: u32 = 5;
/// The share of visits without a return.
const FORGETS: f64 = 0.1;
const LIST_CHOICES: [List; 6] = [
    List::BooksInCirculation,
    List::BooksLentOut,
    List::CanceledReaders,
    List::FinishedLendings,
    List::RegisteredReaders,
    List::RemovedBooks,
];
