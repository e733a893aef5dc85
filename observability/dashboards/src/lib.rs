//! The dashboards and alerts of the event store.
//!
//! `cargo run -p dashboards` writes them to `observability/`. The tests of this package evaluate
//! each expression of a panel and each alert over series with known results.
//!
//! The parts, each of which uses only those named before it:
//!
//! - [`promql`]: expressions over the metrics.
//! - [`model`]: dashboards, rows, panels and series.
//! - [`colors`], [`grid`], [`json`]: the JSON that Grafana reads.
//! - [`event_store`], [`library`]: the content of the two dashboards.
//! - [`queries`]: the expressions of all panels, with values for their variables.
//! - [`alerts`], [`alert_tests`]: the rules of Prometheus, and series to test them with.
//! - [`files`]: the generated files.

pub mod alert_tests;
pub mod alerts;
pub mod colors;
pub mod event_store;
pub mod files;
pub mod grid;
pub mod json;
pub mod library;
pub mod model;
pub mod promql;
pub mod queries;

pub use crate::queries::{PanelQuery, Variables, panels};
