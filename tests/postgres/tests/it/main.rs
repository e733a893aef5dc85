//! Starts real clusters and checks what they claim. Needs PostgreSQL's programs.

mod client;
mod cluster;
mod controls;
mod directory;
#[cfg(target_os = "linux")]
mod ending;
mod programs;
mod tls;

/// What a test returns.
type Outcome = Result<(), Box<dyn std::error::Error>>;
