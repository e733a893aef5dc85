//! The options of the mix.

use clap::Args;
use serde::Serialize;

/// The options of the mix.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Mix, in percent")]
pub struct MixArguments {
    /// Shares of lending and returning, of circulation, and of reader management among the commands
    #[arg(long, value_name = "L,C,R", default_value = "70,25,5", env = "LIBRARY_MIX")]
    #[arg(value_delimiter = ',', allow_hyphen_values = true)]
    pub mix: Vec<f64>,

    /// Share of queries among all operations
    #[arg(long, value_name = "P", default_value_t = 20.0, env = "LIBRARY_QUERIES")]
    #[arg(allow_negative_numbers = true)]
    pub queries: f64,

    /// Share of lists among the queries. They read a large part of the log
    #[arg(long, value_name = "P", default_value_t = 0.5, env = "LIBRARY_LISTS")]
    #[arg(allow_negative_numbers = true)]
    pub lists: f64,

    /// Share of commands that are sent again and change nothing
    #[arg(long, value_name = "P", default_value_t = 5.0, env = "LIBRARY_IDEMPOTENT")]
    #[arg(allow_negative_numbers = true)]
    pub idempotent: f64,

    /// Share of commands that the rules forbid, by honest mistakes
    #[arg(long, value_name = "P", default_value_t = 8.0, env = "LIBRARY_REJECTED")]
    #[arg(allow_negative_numbers = true)]
    pub rejected: f64,

    /// Share of commands that lose a round: they decide again, because two clients act for one
    /// reader or want the same copy at the same time
    #[arg(long, value_name = "P", default_value_t = 2.0, env = "LIBRARY_LOST_ROUNDS")]
    #[arg(allow_negative_numbers = true)]
    pub lost_rounds: f64,
}
