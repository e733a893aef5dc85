//! The tests of the dashboards, the alerts and their files.

mod alerts;
mod broken;
mod dashboard;
mod document;
mod expression;
mod files;
mod metrics;
mod promtool;
mod rules;
mod truth;
