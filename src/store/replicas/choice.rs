use std::cmp::Ordering;

/// A server as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// The reads that the server is answering.
    pub(super) in_flight: usize,
    /// Its share of the reads; above 0.
    pub(super) weight: f64,
    /// What it was given so far: the sum of [`cost`]s.
    pub(super) given: u64,
}

impl Load {
    /// Orders by the reads in flight once the server had the next read as well, divided by the
    /// weight. If neither is in use, the one comes first that was given less so far: then reads
    /// that follow one another are spread by weight too.
    fn compare(&self, other: &Self) -> Ordering {
        let share = |load: &Self| (load.in_flight as f64 + 1.0) / load.weight;
        let by_load = match (self.in_flight, other.in_flight) {
            (0, 0) => Ordering::Equal,
            _ => share(self).total_cmp(&share(other)),
        };
        by_load.then(self.given.cmp(&other.given))
    }
}

/// Chooses the server with the lower load of two that are drawn by weight.
///
/// `random` returns numbers from 0 to 1.
pub(super) fn choose(loads: &[Load], random: impl Fn() -> f64) -> Option<usize> {
    let one = draw(loads, None, &random)?;
    let Some(other) = draw(loads, Some(one), &random) else { return Some(one) };
    let is_lower = loads[other].compare(&loads[one]) == Ordering::Less;
    Some(if is_lower { other } else { one })
}

/// Draws a server by weight, but not this one.
fn draw(loads: &[Load], except: Option<usize>, random: impl Fn() -> f64) -> Option<usize> {
    let eligible = || loads.iter().enumerate().filter(|(index, _)| Some(*index) != except);
    let total: f64 = eligible().map(|(_, load)| load.weight).sum();
    let mut left = random() * total;
    for (index, load) in eligible() {
        left -= load.weight;
        if left < 0.0 {
            return Some(index);
        }
    }
    // Rounding may leave a rest.
    eligible().next_back().map(|(index, _)| index)
}

/// Returns what a read costs a server of this weight, as [`Load::given`] counts it.
pub(super) fn cost(weight: f64) -> u64 {
    // Conversion to an integer saturates.
    (1e6 / weight).max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;

    fn loads() -> impl Strategy<Value = Vec<Load>> {
        let load = (0..50_usize, 0.1..10.0_f64, 0..100_u64);
        let load = load.prop_map(|(in_flight, weight, given)| Load { in_flight, weight, given });
        prop::collection::vec(load, 0..6)
    }

    proptest! {
        /// The chosen server is one of the list, and not the worst of three or more with different
        /// loads.
        #[test]
        fn the_worst_server_is_never_chosen(loads in loads(), seed in any::<u64>()) {
            let random = RefCell::new(fastrand::Rng::with_seed(seed));

            let chosen = choose(&loads, || random.borrow_mut().f64());

            prop_assert_eq!(chosen.is_none(), loads.is_empty());
            if let Some(chosen) = chosen {
                let is_worst = loads.iter().enumerate().all(|(index, other)| {
                    index == chosen || other.compare(&loads[chosen]) == Ordering::Less
                });
                prop_assert!(loads.len() == 1 || !is_worst);
            }
        }

        /// Reads that follow one another, and reads that all stay in flight, are spread by weight.
        #[test]
        fn reads_are_spread_by_weight(
            weights in prop::collection::vec(1..5_u8, 2..5),
            seed in any::<u64>(),
            stay in any::<bool>(),
        ) {
            let mut loads: Vec<_> = weights
                .iter()
                .map(|weight| Load { in_flight: 0, weight: f64::from(*weight), given: 0 })
                .collect();
            let mut chosen = vec![0_u32; loads.len()];
            let random = RefCell::new(fastrand::Rng::with_seed(seed));
            let total: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
            let rounds = 200;
            for _ in 0..rounds * total {
                let index = choose(&loads, || random.borrow_mut().f64()).unwrap();
                chosen[index] += 1;
                loads[index].given += cost(loads[index].weight);
                loads[index].in_flight += usize::from(stay);
            }

            for (count, weight) in chosen.iter().zip(&weights) {
                let expected = rounds * u32::from(*weight);
                // Two random ones of several, so a light server may be drawn too seldom.
                let allowed = if loads.len() == 2 { 1 } else { expected / 2 };
                prop_assert!(count.abs_diff(expected) <= allowed, "{chosen:?} for {weights:?}");
            }
        }
    }
}
