use std::f64::consts::PI;

use super::schedule::Shape;

/// The rate of a load as a function of time, with its integral. Times are in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    shape: Shape,
    rate: f64,
    duration: f64,
}

impl Curve {
    /// Creates a curve. The values must have been checked.
    pub fn new(shape: Shape, rate: f64, duration: f64) -> Self {
        Self { shape, rate, duration }
    }

    /// Returns the rate at a time.
    pub fn rate(&self, time: f64) -> f64 {
        match self.shape {
            Shape::Constant => self.rate,
            Shape::Day => self.rate * activity(self.hour(time)) / average_activity(),
            Shape::Ramp { from } => from + (self.rate - from) * time / self.duration,
        }
    }

    /// Returns the highest rate.
    pub fn highest(&self) -> f64 {
        match self.shape {
            Shape::Constant => self.rate,
            Shape::Day => {
                let hours = (0..=STEPS)
                    .map(|step| self.rate(self.duration * f64::from(step) / f64::from(STEPS)));
                hours.fold(0.0, f64::max)
            }
            Shape::Ramp { from } => self.rate.max(from),
        }
    }

    /// Returns the integral of the rate from zero to a time: the number of operations until then.
    pub fn integral(&self, time: f64) -> f64 {
        match self.shape {
            Shape::Constant => self.rate * time,
            Shape::Day => {
                let per_hour = self.duration / (LAST_HOUR - FIRST_HOUR);
                let past = past_activity(self.hour(time)) - past_activity(FIRST_HOUR);
                self.rate / average_activity() * past * per_hour
            }
            Shape::Ramp { from } => {
                from * time + (self.rate - from) * time * time / (2.0 * self.duration)
            }
        }
    }

    /// Returns the integral of the rate over the whole duration.
    pub fn total(&self) -> f64 {
        self.integral(self.duration)
    }

    /// Returns the time at which the integral reaches a number. It lies between `after`, at which
    /// the integral must be lower, and the end.
    pub fn time_of(&self, number: f64, after: f64) -> f64 {
        match self.shape {
            Shape::Constant => number / self.rate,
            Shape::Day => self.search(number, after),
            Shape::Ramp { from } => {
                let slope = (self.rate - from) / self.duration;
                let root = (from * from + 2.0 * number * slope).max(0.0).sqrt();
                if from + root > 0.0 { 2.0 * number / (from + root) } else { 0.0 }
            }
        }
    }

    /// Finds the time at which the integral reaches a number, by Newton's method. A step that
    /// leaves the interval of the solution is replaced by a bisection.
    fn search(&self, number: f64, after: f64) -> f64 {
        let (mut low, mut high) = (after, self.duration);
        let mut time = after;
        for _ in 0..MAX_ITERATIONS {
            let missing = number - self.integral(time);
            if missing.abs() <= PRECISION.max(number * f64::EPSILON) {
                break;
            }
            if missing > 0.0 {
                low = time;
            } else {
                high = time;
            }
            let next = time + missing / self.rate(time);
            time = if (low..=high).contains(&next) { next } else { f64::midpoint(low, high) };
        }
        time
    }

    /// Returns the hour of the day at a time.
    fn hour(&self, time: f64) -> f64 {
        FIRST_HOUR + (LAST_HOUR - FIRST_HOUR) * time / self.duration
    }
}

/// A rise and fall of activity around an hour, in the form of a cosine.
struct Peak {
    hour: f64,
    /// The time from its start to its middle, in hours.
    half: f64,
    height: f64,
}

impl Peak {
    /// Returns the activity at an hour.
    fn activity(&self, hour: f64) -> f64 {
        let position = ((hour - self.hour) / self.half).clamp(-1.0, 1.0);
        self.height * (1.0 + (PI * position).cos()) / 2.0
    }

    /// Returns the integral of the activity from the start of the peak to an hour.
    fn past(&self, hour: f64) -> f64 {
        let position = ((hour - self.hour) / self.half).clamp(-1.0, 1.0);
        self.height * self.half * (1.0 + position + (PI * position).sin() / PI) / 2.0
    }
}

/// Returns the activity of the library at an hour of the day.
fn activity(hour: f64) -> f64 {
    NIGHT + PEAKS.iter().map(|peak| peak.activity(hour)).sum::<f64>()
}

/// Returns the integral of the activity from midnight to an hour of the day.
fn past_activity(hour: f64) -> f64 {
    NIGHT * hour + PEAKS.iter().map(|peak| peak.past(hour)).sum::<f64>()
}

/// Returns the average activity over the hours of the load.
fn average_activity() -> f64 {
    (past_activity(LAST_HOUR) - past_activity(FIRST_HOUR)) / (LAST_HOUR - FIRST_HOUR)
}

/// The hours of the day that a load consists of.
const FIRST_HOUR: f64 = 3.0;
const LAST_HOUR: f64 = 23.0;
/// The activity at night.
const NIGHT: f64 = 0.15;
/// The morning rush, the evening returns, and the visits in between.
const PEAKS: [Peak; 3] = [
    Peak { hour: 9.75, half: 3.25, height: 1.15 },
    Peak { hour: 17.25, half: 3.75, height: 1.6 },
    Peak { hour: 13.5, half: 8.5, height: 0.75 },
];
/// The number of steps in which the highest rate is looked for.
const STEPS: u32 = 1_000;
const MAX_ITERATIONS: u32 = 100;
/// The error of the integral at the time that is found.
const PRECISION: f64 = 1e-6;
