use super::{LimitRound, LimitStep};
use crate::plan::MAX_RATE;

/// The choice of the rates of a round.
///
/// The rate grows until the goal is missed twice in a row at the same rate. If it grew coarsely, it
/// then grows finely from the last rate that kept the goal.
pub struct Round {
    found: LimitRound,
    /// The next rate. `None` after the end of the round.
    rate: Option<f64>,
    growth: f64,
    /// The rate that missed the goal when the rate grew coarsely.
    ceiling: f64,
    /// Whether the last step had the same rate and missed the goal.
    has_missed: bool,
}

impl Round {
    /// Begins the first round of a search.
    pub fn first(rate: f64) -> Self {
        Self::new(rate, COARSE)
    }

    /// Begins the round after another one, which has at least one step.
    pub fn after(last: &LimitRound) -> Self {
        match last.highest_rate {
            Some(highest_rate) => Self::new(RETREAT * highest_rate, FINE),
            None => Self::new(last.steps[0].asked * RETREAT_FROM_MISS, COARSE),
        }
    }

    /// Returns the next rate to try, or `None` if the round has ended.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Adds the result for the rate.
    pub fn add(&mut self, step: LimitStep) {
        let (rate, is_kept) = (step.asked, step.is_kept);
        self.found.steps.push(step);
        if is_kept {
            self.found.highest_rate =
                Some(self.found.highest_rate.map_or(rate, |highest_rate| highest_rate.max(rate)));
            self.go_to(rate * self.growth);
        } else if !self.has_missed {
            self.has_missed = true;
        } else if let Some(highest_rate) = self.found.highest_rate
            && self.growth > FINE
        {
            (self.ceiling, self.growth) = (rate, FINE);
            self.go_to(highest_rate * FINE);
        } else {
            self.rate = None;
        }
        if self.found.steps.len() >= MAX_STEPS {
            self.rate = None;
        }
    }

    /// Returns the result. A round that has not ended gives no rate.
    pub fn into_found(self) -> LimitRound {
        let highest_rate = self.found.highest_rate.filter(|_| self.rate.is_none());
        LimitRound { highest_rate, ..self.found }
    }

    fn new(rate: f64, growth: f64) -> Self {
        let found = LimitRound::default();
        Self { found, rate: Some(rate), growth, ceiling: f64::INFINITY, has_missed: false }
    }

    fn go_to(&mut self, rate: f64) {
        self.has_missed = false;
        self.rate = (rate < self.ceiling && rate <= MAX_RATE).then_some(rate);
    }
}

/// The growth of the rate while it is far from the limit, and near it.
const COARSE: f64 = 1.25;
const FINE: f64 = 1.08;
/// The start of a round, as a share of the highest rate of the last one.
const RETREAT: f64 = 0.6;
/// The start of a round, as a share of the start of a round that found no rate.
const RETREAT_FROM_MISS: f64 = 0.25;
/// The maximum number of steps of a round.
const MAX_STEPS: usize = 100;
