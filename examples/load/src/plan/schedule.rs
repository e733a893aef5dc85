use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arrivals::ArrivalTimes;
use super::curve::Curve;
use super::{Intention, Planned};

/// How the rate of a load changes with time.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The same rate all the time.
    Constant,
    /// A day of a library, from 3:00 to 23:00, compressed into the duration of the load: a quiet
    /// night, a morning rush, a lunch dip, evening returns, and the night again. The rate of the
    /// schedule is its average.
    Day,
    /// A rate that changes evenly. The rate of the schedule is the last one.
    Ramp {
        /// The first rate.
        from: f64,
    },
}

/// How arrivals are spread when the rate is given.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// The gaps between arrivals are as equal as the rate allows.
    Even,
    /// Each arrival is independent of the others, as those of people are: a Poisson process.
    Poisson,
}

/// The times at which operations are to begin.
#[derive(Clone, Debug)]
pub struct Schedule {
    curve: Curve,
    duration: Duration,
    arrivals: Arrivals,
    seed: u64,
}

/// An error in the settings of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// The load is too short or too long.
    #[error("the duration of a load must be longer than zero and at most 366 days")]
    Duration,

    /// The rate is not a number above zero.
    #[error("--rate must be a number of operations per second greater than zero, not {rate}")]
    Rate {
        /// The rate.
        rate: f64,
    },

    /// The first rate of a ramp is negative or not a number.
    #[error("--ramp-from must be zero or more operations per second, not {rate}")]
    RampStart {
        /// The rate.
        rate: f64,
    },

    /// Operations would begin faster than their times, in microseconds, can differ.
    #[error(
        "the rate rises to {rate:.0} operations per second; at most {MAX_RATE:.0} are possible: \
         choose a lower --rate or --ramp-from"
    )]
    TooFast {
        /// The highest rate.
        rate: f64,
    },
}

impl Schedule {
    /// Creates a schedule. The rate is in operations per second.
    ///
    /// # Errors
    ///
    /// If the duration is zero or longer than [`LONGEST_LOAD`], the rate is not a number above
    /// zero, or the highest rate is above [`MAX_RATE`].
    pub fn new(
        shape: Shape,
        rate: f64,
        duration: Duration,
        arrivals: Arrivals,
        seed: u64,
    ) -> Result<Self, ScheduleError> {
        if duration.is_zero() || duration > LONGEST_LOAD {
            return Err(ScheduleError::Duration);
        }
        if !rate.is_finite() || rate <= 0.0 {
            return Err(ScheduleError::Rate { rate });
        }
        if let Shape::Ramp { from } = shape
            && (!from.is_finite() || from < 0.0)
        {
            return Err(ScheduleError::RampStart { rate: from });
        }
        let curve = Curve::new(shape, rate, duration.as_secs_f64());
        if curve.highest() > MAX_RATE {
            return Err(ScheduleError::TooFast { rate: curve.highest() });
        }
        Ok(Self { curve, duration, arrivals, seed })
    }

    /// Returns the times since the start of the load, in order and in whole microseconds. The same
    /// seed gives the same times.
    pub fn times(&self) -> ArrivalTimes {
        ArrivalTimes::new(self.curve, self.duration, self.arrivals, self.seed)
    }

    /// Gives each intention its time. An intention with several operations begins them all at the
    /// time of the first one, so that the rate is that of operations.
    pub fn assign(
        &self,
        mut intentions: impl Iterator<Item = Intention>,
    ) -> impl Iterator<Item = Planned> {
        let mut times = self.times();
        std::iter::from_fn(move || {
            let at = times.next()?;
            let intention = intentions.next()?;
            (1..intention.crowd.operations()).for_each(|_| {
                times.next();
            });
            Some(Planned { at, intention })
        })
    }

    /// Returns the average rate between two times since the start of the load.
    pub fn average_rate(&self, from: Duration, until: Duration) -> f64 {
        let integral = |time: Duration| self.curve.integral(time.min(self.duration).as_secs_f64());
        let seconds = until.saturating_sub(from).as_secs_f64();
        if seconds > 0.0 { (integral(until) - integral(from)) / seconds } else { 0.0 }
    }

    /// Returns the duration of the load.
    pub fn duration(&self) -> Duration {
        self.duration
    }
}

/// The longest duration of a load.
pub const LONGEST_LOAD: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The highest rate of a schedule, in operations per second.
pub const MAX_RATE: f64 = 1_000_000.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Act, Aim, Crowd};
    use super::*;

    fn any_shape() -> impl Strategy<Value = Shape> {
        let ramp = (0.0..2_000.0).prop_map(|from| Shape::Ramp { from });
        prop_oneof![Just(Shape::Constant), Just(Shape::Day), ramp]
    }

    /// A shape, a rate and a duration, with at most 20,000 operations.
    fn any_load() -> impl Strategy<Value = (Shape, f64, Duration)> {
        (any_shape(), 0.1..2_000.0, 1_u64..10_000_000)
            .prop_map(|(shape, rate, micros)| (shape, rate, Duration::from_micros(micros)))
    }

    fn schedule(shape: Shape, rate: f64, duration: Duration, arrivals: Arrivals) -> Schedule {
        Schedule::new(shape, rate, duration, arrivals, 7).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Times are in order and inside the duration, for both kinds of arrivals.
        #[test]
        fn times_are_in_order_and_inside_the_duration(
            (shape, rate, duration) in any_load(),
            arrivals in prop_oneof![Just(Arrivals::Even), Just(Arrivals::Poisson)],
        ) {
            let times: Vec<Duration> = schedule(shape, rate, duration, arrivals).times().collect();

            prop_assert!(times.is_sorted());
            prop_assert!(times.iter().all(|&time| time < duration));
        }

        /// Even arrivals are as many as the integral of the rate, at every time.
        #[test]
        fn even_arrivals_follow_the_integral((shape, rate, duration) in any_load()) {
            let schedule = schedule(shape, rate, duration, Arrivals::Even);

            let times: Vec<Duration> = schedule.times().collect();

            // Times are rounded down to microseconds.
            let rounding = 2e-6 * schedule.curve.highest() + 1e-5;
            prop_assert_eq!(times.len() as f64, (schedule.curve.total() - 1e-6).ceil());
            for (number, time) in times.iter().enumerate() {
                let integral = schedule.curve.integral(time.as_secs_f64());
                prop_assert!((integral - number as f64).abs() <= rounding, "{number}: {integral}");
            }
        }

        /// The number of Poisson arrivals differs from the integral by at most six standard
        /// deviations.
        #[test]
        fn poisson_arrivals_are_as_many_as_the_integral(
            (shape, rate, duration) in any_load(),
            seed: u64,
        ) {
            let schedule = Schedule::new(shape, rate, duration, Arrivals::Poisson, seed).unwrap();
            let expected = schedule.curve.total();

            let count = schedule.times().count() as f64;

            // For a small number the distribution is not symmetric.
            let most = 6.0 * expected.sqrt() + 18.0;
            prop_assert!((count - expected).abs() <= most, "{count} instead of {expected}");
        }

        /// The integral is the sum of the rates.
        #[test]
        fn the_integral_is_the_sum_of_the_rates((shape, rate, duration) in any_load()) {
            let schedule = schedule(shape, rate, duration, Arrivals::Even);
            let steps = 2_000;

            let rates = (0..steps).map(|step| {
                let part = (f64::from(step) + 0.5) / f64::from(steps);
                schedule.curve.rate(duration.as_secs_f64() * part)
            });
            let sum = rates.sum::<f64>() * duration.as_secs_f64() / f64::from(steps);

            let expected = schedule.curve.total();
            prop_assert!((sum - expected).abs() <= 1e-3 * expected, "{sum} instead of {expected}");
        }

        /// The average rates of windows give the number of operations, also if the last window is
        /// longer than the rest of the load.
        #[test]
        fn average_rates_add_up_to_the_integral(
            (shape, rate, duration) in any_load(),
            windows in 1..50_u32,
        ) {
            let schedule = schedule(shape, rate, duration, Arrivals::Even);
            let window = duration / windows + Duration::from_nanos(100);

            let averages = (0..windows)
                .map(|number| schedule.average_rate(window * number, window * (number + 1)));
            let sum = averages.sum::<f64>() * window.as_secs_f64();

            let expected = schedule.curve.total();
            prop_assert!((sum - expected).abs() <= 1e-6 * expected, "{sum} instead of {expected}");
        }

        /// The same seed gives the same times.
        #[test]
        fn the_same_seed_gives_the_same_times((shape, rate, duration) in any_load(), seed: u64) {
            let schedule = Schedule::new(shape, rate, duration, Arrivals::Poisson, seed).unwrap();

            prop_assert!(schedule.times().eq(schedule.clone().times()));
        }

        /// The average rate of a day is the rate that was asked for.
        #[test]
        fn a_day_has_the_asked_average(rate in 0.1..100_000.0, seconds in 1_u64..1_000_000) {
            let duration = Duration::from_secs(seconds);
            let schedule = schedule(Shape::Day, rate, duration, Arrivals::Even);

            let average = schedule.curve.total() / duration.as_secs_f64();

            prop_assert!((average / rate - 1.0).abs() < 1e-9, "{average} instead of {rate}");
        }
    }

    #[test]
    fn another_seed_gives_other_times() {
        let duration = Duration::from_secs(1);
        let times = |seed| {
            let load = Schedule::new(Shape::Constant, 10.0, duration, Arrivals::Poisson, seed);
            load.unwrap().times().collect::<Vec<_>>()
        };

        assert_ne!(times(1), times(2));
    }

    #[test]
    fn a_day_has_a_quiet_night_a_morning_rush_a_lunch_dip_and_a_higher_evening() {
        let duration = Duration::from_secs(20 * 60 * 60);
        let schedule = schedule(Shape::Day, 100.0, duration, Arrivals::Even);

        let [night, morning, lunch, evening, late] = [4.0, 10.0, 13.0, 17.0, 22.0]
            .map(|hour: f64| schedule.curve.rate((hour - 3.0) * 3_600.0));

        assert!(night < 25.0 && late < 25.0, "{night} {late}");
        assert!(morning > 150.0, "{morning}");
        assert!(lunch < 0.6 * morning && lunch > 2.0 * night, "{lunch}");
        assert!(evening > 1.1 * morning, "{evening}");
    }

    #[test]
    fn an_intention_takes_as_many_times_as_it_has_operations() {
        let duration = Duration::from_secs(1);
        let intention = |crowd| Intention {
            visit: 1,
            act: Act::Borrow,
            aim: Aim::Success,
            crowd,
            ends_visit: false,
            draw: 0,
        };
        let intentions = [Crowd::OneCopy, Crowd::Alone, Crowd::Alone].map(intention);

        let planned = schedule(Shape::Constant, 10.0, duration, Arrivals::Even)
            .assign(intentions.into_iter())
            .map(|planned| planned.at.as_millis())
            .collect::<Vec<_>>();

        assert_eq!(planned, [0, 200, 300]);
    }

    #[test]
    fn bad_settings_are_refused() {
        let second = Duration::from_secs(1);
        let refusal = |shape, rate, duration| {
            Schedule::new(shape, rate, duration, Arrivals::Even, 1).unwrap_err().to_string()
        };

        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let text = refusal(Shape::Constant, rate, second);
            assert!(text.starts_with("--rate must be a number of operations per second"), "{text}");
        }
        for from in [-1.0, f64::NAN] {
            let text = refusal(Shape::Ramp { from }, 1.0, second);
            assert!(text.starts_with("--ramp-from must be zero or more operations"), "{text}");
        }
        for (shape, rate) in [(Shape::Constant, 1e6 + 1.0), (Shape::Day, 900_000.0)] {
            let text = refusal(shape, rate, second);
            assert!(text.ends_with("choose a lower --rate or --ramp-from"), "{text}");
        }
        for duration in [Duration::ZERO, Duration::MAX] {
            let text = refusal(Shape::Constant, 1.0, duration);
            assert!(text.starts_with("the duration of a load must be"), "{text}");
        }
    }
}
