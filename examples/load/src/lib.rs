//! A load generator that behaves like the readers and the staff of a [`library`].
//!
//! A load has these parts. Each uses only those above it.
//!
//! - [`clock`]: the time, which a test can pause.
//! - [`plan`]: what people intend to do, and when. It depends on a seed and on nothing else.
//! - [`city`]: the books and readers, and the state of each as far as the generator knows it.
//! - [`tally`]: all counts and latencies, updated as operations end. The terminal, the report and
//!   the pages read it; nothing else counts.
//! - [`replies`]: what the handlers returned, for the audit.
//! - [`import`]: the books, readers and loans that a log gets before the load.
//! - [`service`]: the command and query handlers of the library, or a stand-in for tests.
//! - [`engine`]: begins each intention at its time.
//! - [`journey`]: carries out an intention: chooses a reader and a book, calls the service, and
//!   tells the city, the tally and the replies.
//! - [`live`]: shows the tally on the terminal during a load.
//! - [`telemetry`]: the metrics and traces of the stores, for Prometheus and for a collector.
//! - [`web`]: a small HTTP server.
//! - [`servers`], [`faults`], [`observer`]: the servers, the faults at given times, and what the
//!   servers' own statistics say.
//! - [`audit`]: reads the log and compares it with the rules and the replies.
//! - [`charts`]: the code for charts, which the pages share.
//! - [`report`]: the result, as text, JSON and a page; and the comparison of two results.
//! - [`live_page`]: what a load does now, for a browser, and the metrics for Prometheus.
//! - [`machine`]: the machine that runs the generator, and what this process takes of it.
//! - [`args`], [`setup`]: the options of the program, and what they say once they are checked.
//! - [`clients`], [`run`]: a load from its beginning to its audit.

pub mod args;
pub mod audit;
pub mod charts;
pub mod city;
pub mod clients;
pub mod clock;
pub mod engine;
pub mod faults;
pub mod import;
pub mod journey;
pub mod live;
pub mod live_page;
pub mod machine;
pub mod observer;
pub mod plan;
pub mod replies;
pub mod report;
pub mod run;
pub mod servers;
pub mod service;
pub mod setup;
pub mod tally;
pub mod telemetry;
pub mod web;

mod error;
#[cfg(test)]
mod structure;

pub use crate::error::LoadError;
