use std::path::Path;
use std::time::Duration;

use super::file::{self, PlanFile, PlanFileError, PlanHeader};
use super::{Mix, Planned, Schedule, Visits};

/// A plan of what people intend to do, and when.
#[derive(Debug)]
pub enum Plan {
    /// It is drawn from a seed.
    Drawn {
        /// The times at which operations begin.
        schedule: Schedule,
        /// How intentions are drawn.
        intentions: IntentionSettings,
    },
    /// It was read from a file.
    Read(PlanFile),
}

/// What intentions are drawn from. They have no times.
#[derive(Clone, Copy, Debug)]
pub struct IntentionSettings {
    /// The shares of groups and outcomes.
    pub mix: Mix,
    /// The number of readers in the city. It limits the number of visits at the same time.
    pub readers: u32,
    /// The seed.
    pub seed: u64,
}

impl IntentionSettings {
    /// Draws the intentions, without end.
    pub fn draw(&self) -> Visits {
        Visits::new(self.mix, self.readers, self.seed)
    }

    /// Returns the hash of the first 100,000 intentions, all with the time zero.
    pub fn hash(&self) -> String {
        let at = Duration::ZERO;
        let first = self.draw().take(HASHED_WITHOUT_TIMES);
        file::hash(first.map(|intention| Planned { at, intention })).1
    }
}

impl Plan {
    /// Reads a plan from a file.
    ///
    /// # Errors
    ///
    /// Those of [`file::read`].
    pub fn read(path: &Path) -> Result<Self, PlanFileError> {
        file::read(path).map(Self::Read)
    }

    /// Returns the intentions with their times.
    pub fn planned(&self) -> Box<dyn Iterator<Item = Planned> + Send + '_> {
        match self {
            Self::Drawn { schedule, intentions } => Box::new(schedule.assign(intentions.draw())),
            Self::Read(plan) => Box::new(plan.intentions.iter().copied()),
        }
    }

    /// Returns the duration of the load.
    pub fn duration(&self) -> Duration {
        match self {
            Self::Drawn { schedule, .. } => schedule.duration(),
            Self::Read(plan) => Duration::from_micros(plan.header.duration_us),
        }
    }

    /// Returns the first line of a plan file: the hash of all intentions, and their number.
    pub fn header(&self) -> PlanHeader {
        match self {
            Self::Drawn { .. } => {
                let (intentions, hash) = file::hash(self.planned());
                let duration_us = u64::try_from(self.duration().as_micros()).unwrap_or(u64::MAX);
                PlanHeader { eddyline_load_plan: file::VERSION, intentions, duration_us, hash }
            }
            Self::Read(plan) => plan.header.clone(),
        }
    }

    /// Returns the rate in each window of the load, in operations per second: the average of the
    /// schedule, or what a plan from a file has in the window.
    pub fn rates(&self, window: Duration) -> Vec<f64> {
        let windows = self.duration().as_secs_f64() / window.as_secs_f64();
        let count = (windows.ceil() as u32).max(1);
        match self {
            Self::Drawn { schedule, .. } => {
                let average =
                    |number| schedule.average_rate(window * number, window * (number + 1));
                (0..count).map(average).collect()
            }
            Self::Read(plan) => {
                let mut rates = vec![0.0; count as usize];
                for Planned { at, intention } in &plan.intentions {
                    let index = (at.as_secs_f64() / window.as_secs_f64()) as usize;
                    if let Some(rate) = rates.get_mut(index) {
                        *rate += intention.crowd.operations() as f64 / window.as_secs_f64();
                    }
                }
                rates
            }
        }
    }
}

/// The number of intentions in a hash without times.
const HASHED_WITHOUT_TIMES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Arrivals, MixOptions, Shape};

    fn plan(shape: Shape, seed: u64) -> Plan {
        let duration = Duration::from_secs(10);
        let mix = MixOptions { lost_rounds: 15.0, ..MixOptions::usual() }.check().unwrap();
        let schedule = Schedule::new(shape, 200.0, duration, Arrivals::Even, 1).unwrap();
        Plan::Drawn { schedule, intentions: IntentionSettings { mix, readers: 1_000, seed } }
    }

    fn written_and_read(plan: &Plan) -> Plan {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan");
        file::write(&path, &plan.header(), plan.planned()).unwrap();
        Plan::read(&path).unwrap()
    }

    #[test]
    fn a_plan_from_a_file_has_the_rates_of_the_plan_that_was_written() {
        let drawn = plan(Shape::Ramp { from: 0.0 }, 1);

        let read = written_and_read(&drawn);

        let window = Duration::from_secs(1);
        let (rates, counted) = (drawn.rates(window), read.rates(window));
        assert_eq!((rates.len(), counted.len()), (10, 10));
        for (second, (rate, counted)) in (0_u8..).zip(rates.iter().zip(&counted)) {
            // An intention can have one operation more than the window has room for.
            assert!((rate - counted).abs() < 3.0, "{rate} {counted}");
            assert!((rate - (10.0 + 20.0 * f64::from(second))).abs() < 1e-6, "{rate}");
        }
        assert_eq!(read.duration(), drawn.duration());
        assert_eq!(read.header(), drawn.header());
    }

    #[test]
    fn a_rate_is_that_of_its_window() {
        let drawn = plan(Shape::Constant, 1);

        let rates = drawn.rates(Duration::from_secs(4));

        assert_eq!(rates, [200.0, 200.0, 100.0]);
    }

    #[test]
    fn the_hash_depends_on_times() {
        let (ramp, constant) = (plan(Shape::Ramp { from: 0.0 }, 1), plan(Shape::Constant, 1));
        let same_number =
            Schedule::new(Shape::Constant, 100.0, Duration::from_secs(10), Arrivals::Even, 1);
        let Plan::Drawn { intentions, .. } = constant else { panic!("it was drawn") };
        let constant = Plan::Drawn { schedule: same_number.unwrap(), intentions };

        let (ramp, constant) = (ramp.header(), constant.header());

        assert!(ramp.intentions.abs_diff(constant.intentions) <= 1);
        assert_ne!(ramp.hash, constant.hash);
    }

    #[test]
    fn the_hash_without_times_depends_on_the_seed() {
        let hash = |seed| match plan(Shape::Constant, seed) {
            Plan::Drawn { intentions, .. } => intentions.hash(),
            Plan::Read(_) => panic!("it was drawn"),
        };

        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}
