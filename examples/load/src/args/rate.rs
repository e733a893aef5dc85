//! The options of the rate.

use clap::{Args, ValueEnum};
use serde::Serialize;

/// The options of the rate.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Rate")]
pub struct RateOptions {
    /// Duration of the load, in seconds
    #[arg(long, value_name = "N", default_value_t = 90, env = "LIBRARY_SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub seconds: u64,

    /// Operations per second: the average of a day, the end of a ramp, or the start of the search
    /// for the limit
    #[arg(long, value_name = "N", default_value_t = 150.0, env = "LIBRARY_RATE")]
    #[arg(allow_negative_numbers = true)]
    pub rate: f64,

    /// How the rate changes: a compressed day, the same rate all the time, or a ramp
    #[arg(long, value_enum, default_value_t = RateShape::Day, env = "LIBRARY_SHAPE")]
    pub shape: RateShape,

    /// The rate at which a ramp begins, in operations per second
    #[arg(long, value_name = "N", default_value_t = 1.0, env = "LIBRARY_RAMP_FROM")]
    #[arg(allow_negative_numbers = true)]
    pub ramp_from: f64,

    /// When operations begin: at random (Poisson), as users do, or evenly spaced
    #[arg(long, value_enum, default_value_t = Spacing::Poisson, env = "LIBRARY_ARRIVALS")]
    pub arrivals: Spacing,

    /// Run a closed loop: each client begins the next operation when one has ended. Its latencies
    /// leave out the time that users would wait
    #[arg(long, env = "LIBRARY_CLOSED", conflicts_with = "find_limit")]
    pub closed: bool,

    /// Find the highest rate at which the 99th percentile of the latency of commands is at most
    /// --goal-ms. The rate is raised until it misses this goal twice in a row
    #[arg(long, env = "LIBRARY_FIND_LIMIT")]
    pub find_limit: bool,

    /// The goal of --find-limit, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50.0, env = "LIBRARY_GOAL_MS")]
    #[arg(allow_negative_numbers = true)]
    pub goal_ms: f64,

    /// How long --find-limit tries each rate, in seconds
    #[arg(long, value_name = "N", default_value_t = 5, env = "LIBRARY_WINDOW_SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub window_seconds: u64,

    /// How many times --find-limit searches. The result is the median
    #[arg(long, value_name = "N", default_value_t = 3, env = "LIBRARY_ROUNDS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// The number of clients: so many intentions run at the same time, others wait in a queue
    #[arg(long, value_name = "N", default_value_t = 32, env = "LIBRARY_CLIENTS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub clients: u32,

    /// An operation that begins this much after its time is counted as late, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100, env = "LIBRARY_LATE_MS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub late_ms: u64,
}

/// How the rate changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RateShape {
    /// The same rate all the time
    Constant,
    /// A day: morning rush, lunch dip, evening returns, quiet night
    Day,
    /// A rate that grows evenly
    Ramp,
}

/// When operations begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// Evenly spaced
    Even,
    /// At random, independent of each other
    Poisson,
}
