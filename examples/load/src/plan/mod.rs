//! What people intend to do, and when.

mod arrivals;
mod curve;
pub mod file;
mod intention;
mod line;
mod mix;
mod schedule;
mod source;
mod visits;

pub use self::arrivals::ArrivalTimes;
pub use self::intention::{Act, Aim, Crowd, Group, Intention, List, Planned};
pub use self::line::LineError;
pub use self::mix::{Mix, MixError, MixOptions};
pub use self::schedule::{Arrivals, LONGEST_LOAD, MAX_RATE, Schedule, ScheduleError, Shape};
pub use self::source::{IntentionSettings, Plan};
pub use self::visits::Visits;
