//! Tests with real clusters. They need PostgreSQL's programs.

mod client;
mod cluster;
mod controls;
mod directory;
#[cfg(target_os = "linux")]
mod ending;
mod programs;
mod replication;
mod tls;

/// The result of a test.
type Outcome = Result<(), Box<dyn std::error::Error>>;
