//! What people intend to do, and when.

mod intention;

pub use self::intention::{Act, Aim, Crowd, Group, Intention, List};
