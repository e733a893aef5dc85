/// The growth of a counter that begins again at zero when its server is restarted or rebuilt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counter {
    last: Option<f64>,
    total: f64,
}

impl Counter {
    /// Takes a value of the counter. Returns its growth since the last value. The first value is
    /// the start.
    pub(super) fn advance(&mut self, value: f64) -> f64 {
        let growth = match self.last.replace(value) {
            None => 0.0,
            Some(last) if value >= last => value - last,
            Some(_) => value,
        };
        self.total += growth;
        growth
    }

    /// Returns the growth since the first value, or `None` if there was no value.
    pub(super) fn total(&self) -> Option<f64> {
        self.last.map(|_| self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_goes_backwards_began_again_at_zero() {
        let mut counter = Counter::default();

        let growths = [100.0, 130.0, 20.0, 25.0].map(|value| counter.advance(value));

        assert_eq!(growths, [0.0, 30.0, 20.0, 5.0]);
        assert_eq!(counter.total(), Some(55.0));
    }

    #[test]
    fn a_counter_without_a_value_has_no_total() {
        assert_eq!(Counter::default().total(), None);
    }
}
