//! Holds the metrics of [`eddyline`] against independent measurements.
//!
//! Each of these parts uses only those above it.
//!
//! - [`scrape`], [`exporter`], [`http`]: the metrics as text, and their endpoint.
//! - [`prometheus_server`]: a Prometheus of the program's own.
//! - [`testbed`], [`statements`], [`server_times`]: the servers, and what their statistics say.
//! - [`stores`], [`boundary`]: the stores under load, and what is appended.
//! - [`calls`], [`mix`], [`disturbance`]: calls with every outcome, timed and counted by the
//!   program, while servers are disturbed.
//! - [`comparison`], [`operations`]: the comparisons.
//! - [`repeated`], [`exchange`]: one call, again and again.
//! - [`five_counts`], [`generator`]: the load generator.
//! - [`expression`], [`panels`]: the panels of the dashboards.
//! - [`whole_way`]: what Prometheus has, and the names of the metrics.
//! - [`args`], [`report`], [`steps`], [`run`]: the program.

pub mod args;
pub mod boundary;
pub mod calls;
pub mod comparison;
pub mod disturbance;
pub mod exchange;
pub mod exporter;
pub mod expression;
pub mod five_counts;
pub mod generator;
pub mod http;
pub mod mix;
pub mod operations;
pub mod panels;
pub mod probe;
pub mod prometheus_server;
pub mod repeated;
pub mod report;
pub mod rounds;
pub mod run;
pub mod scrape;
pub mod server_times;
pub mod statements;
pub mod steps;
pub mod stores;
pub mod testbed;
pub mod whole_way;

mod failure;

pub use crate::comparison::Comparisons;
pub use crate::failure::Failure;
pub use crate::scrape::Scrape;
