use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::Filter;

/// The boundaries that decisions of this process contest. Of each there is a line in which they
/// take turns, in the order in which they came.
///
/// Each would read, decide, and find that another was first; all but one in vain. One by one none is,
/// as far as this process goes.
#[derive(Default)]
pub(super) struct Turns {
    lines: Mutex<HashMap<Filter, Line>>,
    /// How many lines there are; mostly there is none.
    contested: AtomicUsize,
}

#[derive(Default)]
struct Line {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How many are in it. What holds the turn is let go of later than that is counted.
    places: usize,
}

/// The turn of a decision; dropped, it is the next one's.
pub(super) struct Turn<'a> {
    _turn: OwnedMutexGuard<()>,
    /// Dropped last, it leaves the line, and with the last one the line goes.
    _place: Place<'a>,
}

struct Place<'a> {
    turns: &'a Turns,
    filter: Filter,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Turns {
    /// Returns whether decisions of this filter take turns.
    pub(super) fn is_contested(&self, filter: &Filter) -> bool {
        self.contested.load(Ordering::Relaxed) > 0 && self.lines().contains_key(filter)
    }

    /// Goes to the end of a filter's line, and waits for its turn.
    pub(super) async fn wait(&self, filter: &Filter) -> Turn<'_> {
        let place = self.enter(filter);
        let turn = place.turn.clone().lock_owned().await;
        Turn { _turn: turn, _place: place }
    }

    fn enter(&self, filter: &Filter) -> Place<'_> {
        let mut lines = self.lines();
        let line = lines.entry(filter.clone()).or_default();
        line.places += 1;
        let turn = line.turn.clone();
        self.contested.store(lines.len(), Ordering::Relaxed);
        Place { turns: self, filter: filter.clone(), turn }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Filter, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.turns.lines();
        let Some(line) = lines.get_mut(&self.filter) else { return };
        line.places -= 1;
        if line.places == 0 {
            lines.remove(&self.filter);
            self.turns.contested.store(lines.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loans_of(book: &str) -> Filter {
        Filter::types(["BookCopyLentToReader"]).any_of([("BookID", book)]).build().unwrap()
    }

    #[tokio::test]
    async fn go_round_in_the_order_of_arrival() {
        let turns = Turns::default();
        let filter = loans_of("b-1");
        let order = Mutex::new(Vec::new());
        let first = turns.wait(&filter).await;

        let others = (1..=3).map(|number| {
            let (turns, filter, order) = (&turns, &filter, &order);
            async move {
                let _turn = turns.wait(filter).await;
                order.lock().unwrap().push(number);
            }
        });
        let release = async { drop(first) };
        tokio::join!(biased; futures_util::future::join_all(others), release);

        assert_eq!(order.into_inner().unwrap(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn of_other_boundaries_do_not_wait_for_each_other() {
        let turns = Turns::default();
        let _first = turns.wait(&loans_of("b-1")).await;

        turns.wait(&loans_of("b-2")).await;

        assert!(turns.is_contested(&loans_of("b-1")));
        assert!(!turns.is_contested(&loans_of("b-2")));
    }

    /// Those who leave at once must not each take the other for one that stays.
    #[test]
    fn leave_nothing_behind_where_several_leave_at_once() {
        let turns = Turns::default();
        let filters: Vec<_> = (0..20_000).map(|book| loans_of(&format!("b-{book}"))).collect();
        let both = std::sync::Barrier::new(2);
        let pass = || {
            for filter in &filters {
                let place = turns.enter(filter);
                both.wait();
                drop(place);
            }
        };

        std::thread::scope(|scope| {
            scope.spawn(pass);
            pass();
        });

        assert_eq!(turns.lines().len(), 0);
    }

    #[tokio::test]
    async fn leave_nothing_behind_whoever_goes_first() {
        let turns = Turns::default();
        let filter = loans_of("b-1");

        let turn = turns.wait(&filter).await;
        let mut waiting = Box::pin(turns.wait(&filter));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(turn);
        drop(waiting);

        assert!(!turns.is_contested(&filter));
        assert!(turns.lines().is_empty());
    }
}
