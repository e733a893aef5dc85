//! The result of a load, as text, JSON and a page, and the comparison of two results.

mod data;

pub use self::data::{Asked, Machine, Report, Settings, Shares};
