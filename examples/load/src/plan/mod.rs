//! What people intend to do, and when.

pub mod file;
mod intention;
mod line;
mod mix;
mod visits;

pub use self::intention::{Act, Aim, Crowd, Group, Intention, List, Planned};
pub use self::line::LineError;
pub use self::mix::{Mix, MixError, MixOptions};
pub use self::visits::Visits;
