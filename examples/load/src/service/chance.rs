use std::sync::atomic::{AtomicU64, Ordering};

/// A choice of about one operation in a thousand: the first one that is suitable, and then the
/// first suitable one after each thousand.
#[derive(Debug)]
pub struct Chance {
    /// The number of operations since the last chosen one.
    since: AtomicU64,
}

impl Chance {
    /// Counts an operation. Returns whether it is chosen if it is suitable.
    pub fn is_next(&self) -> bool {
        self.since.fetch_add(1, Ordering::Relaxed) >= INTERVAL
    }

    /// Notes that an operation was chosen.
    pub fn taken(&self) {
        self.since.store(0, Ordering::Relaxed);
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self { since: AtomicU64::new(INTERVAL) }
    }
}

const INTERVAL: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_first_operation_and_one_in_a_thousand_after_it() {
        let chance = Chance::default();
        let mut chosen = Vec::new();
        for operation in 0..2_500 {
            if chance.is_next() {
                chance.taken();
                chosen.push(operation);
            }
        }

        assert_eq!(chosen, [0, 1_001, 2_002]);
    }

    #[test]
    fn goes_on_until_an_operation_is_suitable() {
        let chance = Chance::default();

        assert!((0..10).all(|_| chance.is_next()));
    }
}
