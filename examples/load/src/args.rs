//! The options of the program.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::Value;

/// Runs a lending library under load on eddyline, reports what came of it, and audits the log.
///
/// Each operation begins at its planned time, whether others have ended or not: an open loop.
/// Without addresses the program starts a PostgreSQL primary and streaming replicas in a
/// temporary folder, which is removed at the end. The exit code is 0 if the audit has no findings, 1
/// if it has some, and 2 if an option is wrong or the load, the audit or a report failed.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "load",
    version,
    args_conflicts_with_subcommands = true,
    args_override_self = true
)]
pub struct Arguments {
    /// What to do instead of running a load.
    #[command(subcommand)]
    pub command: Option<Action>,

    /// The options of a load.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// What to do instead of running a load.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Compare two reports that --json has written
    ///
    /// Shows for each figure the means of both loads, and their difference with a 95 % confidence
    /// interval.
    Compare {
        /// The report of the first load
        before: PathBuf,
        /// The report of the second load
        after: PathBuf,
    },
}

/// The options of a load.
#[derive(Args, Clone, Debug, Serialize)]
pub struct LoadOptions {
    /// The options of the city.
    #[command(flatten)]
    pub city: CityOptions,

    /// The options of the rate.
    #[command(flatten)]
    pub rate: RateOptions,

    /// The options of the mix.
    #[command(flatten)]
    pub mix: MixArguments,

    /// The options of the plan.
    #[command(flatten)]
    pub plan: PlanOptions,

    /// The options of the servers.
    #[command(flatten)]
    pub servers: ServerOptions,

    /// The options of the report.
    #[command(flatten)]
    pub report: ReportOptions,
}

/// The options of the city.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "City")]
pub struct CityOptions {
    /// Number of books in circulation at the start
    #[arg(long, value_name = "N", default_value_t = 62_000, env = "LIBRARY_BOOKS")]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub books: u32,

    /// Number of registered readers at the start
    #[arg(long, value_name = "N", default_value_t = 14_500, env = "LIBRARY_READERS")]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub readers: u32,

    /// Number of loans at the start. By default as many as readers, but at most half of the books
    #[arg(long, value_name = "N", env = "LIBRARY_LOANS")]
    pub loans: Option<u32>,

    /// How unequal the popularity of books is: the exponent of Zipf's law. 0 is equal
    #[arg(long, value_name = "S", default_value_t = 0.7, env = "LIBRARY_BOOK_SKEW")]
    #[arg(allow_negative_numbers = true)]
    pub book_skew: f64,

    /// How unequal the number of visits of readers is: the exponent of Zipf's law. 0 is equal
    #[arg(long, value_name = "S", default_value_t = 0.5, env = "LIBRARY_READER_SKEW")]
    #[arg(allow_negative_numbers = true)]
    pub reader_skew: f64,
}

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

/// The options of the plan.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Plan")]
pub struct PlanOptions {
    /// Seed of the plan; the same seed gives the same intentions
    #[arg(long, value_name = "N", default_value_t = 1, env = "LIBRARY_SEED")]
    pub seed: u64,

    /// File to which the plan is written before the load
    #[arg(long, value_name = "FILE", env = "LIBRARY_WRITE_PLAN")]
    #[arg(conflicts_with_all = ["closed", "find_limit", "plan"])]
    pub write_plan: Option<PathBuf>,

    /// File with a plan to carry out again, in place of the options of rate and mix
    #[arg(long, value_name = "FILE", env = "LIBRARY_PLAN", conflicts_with_all = ["closed", "find_limit"])]
    pub plan: Option<PathBuf>,

    /// A fault and its time since the start, such as `30s pause replica-1 for 5s`. Actions: pause,
    /// freeze, kill, slow, restart, promote. May be given several times
    #[arg(long, value_names = ["TIME", "ACTION", "SERVER"], num_args = 1..=5, conflicts_with = "primary")]
    pub at: Vec<String>,
}

/// The options of the servers.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Servers")]
pub struct ServerOptions {
    /// Number of replicas to start; without any, the primary answers the queries
    #[arg(long, value_name = "N", default_value_t = 2, env = "LIBRARY_REPLICAS")]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=8), conflicts_with = "primary")]
    pub replicas: u16,

    /// Address of the primary, such as postgres://user:password@host:5432/database
    #[arg(long, value_name = "URL", env = "LIBRARY_PRIMARY", hide_env_values = true)]
    #[arg(requires = "replica")]
    #[serde(skip)]
    pub primary: Option<String>,

    /// Address of a replica; may be given several times, and may be that of the primary. The
    /// environment variable contains one address per line
    #[arg(long, value_name = "URL", env = "LIBRARY_REPLICA", hide_env_values = true)]
    #[arg(requires = "primary", value_delimiter = '\n')]
    #[serde(skip)]
    pub replica: Vec<String>,

    /// Name of the log; an existing log is continued
    #[arg(long, value_name = "NAME", default_value = "library", env = "LIBRARY_LOG")]
    pub log: String,

    /// Folder of the PostgreSQL server programs
    #[arg(long, value_name = "DIR", env = "EDDYLINE_PG_BIN")]
    pub pg_bin: Option<PathBuf>,

    /// Answer everything at once without a server, to measure the generator itself
    #[arg(long, conflicts_with_all = ["primary", "at", "sabotage"])]
    pub no_store: bool,

    /// Break the store on purpose, to see that the audit finds it
    #[arg(long, value_enum)]
    pub sabotage: Option<crate::service::Sabotage>,
}

/// The options of the report.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Report")]
pub struct ReportOptions {
    /// File to which the report is written as JSON
    #[arg(long, value_name = "FILE", env = "LIBRARY_JSON")]
    pub json: Option<PathBuf>,

    /// File to which the report is written as a page for a browser. Without it, load-report.html,
    /// in the folder target if there is one
    #[arg(long, value_name = "FILE", env = "LIBRARY_HTML")]
    pub html: Option<PathBuf>,
}

impl LoadOptions {
    /// Returns the names and values of the options that have a value. The addresses are left out,
    /// since they can have passwords.
    pub fn named(&self) -> BTreeMap<String, String> {
        let groups = serde_json::to_value(self).unwrap_or_default();
        let groups = groups.as_object().into_iter().flat_map(|groups| groups.values());
        let options = groups.filter_map(Value::as_object).flatten();
        options.filter_map(|(name, value)| Some((name.replace('_', "-"), text(value)?))).collect()
    }
}

/// Returns the text of the value of an option. `None` if there is no value.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => Some(values.iter().filter_map(text).collect::<Vec<_>>().join(", ")),
        _ => Some(value.to_string()),
    }
}

impl PlanOptions {
    /// Returns the text of each fault. A fault begins with its time, and the shell may have split
    /// it into words.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = Vec::new();
        let mut before = "";
        for word in self.at.iter().flat_map(|text| text.split_whitespace()) {
            let is_time = word.starts_with(|first: char| first.is_ascii_digit());
            match faults.last_mut() {
                Some(fault) if !is_time || before == "for" => {
                    fault.push(' ');
                    fault.push_str(word);
                }
                _ => faults.push(word.to_owned()),
            }
            before = word;
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> LoadOptions {
        Arguments::parse_from([&["load"], arguments].concat()).load
    }

    #[test]
    fn arguments_are_declared_consistently() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn several_replicas_are_accepted() {
        let options = parse(&["--primary", "a", "--replica", "b", "--replica", "c"]);

        assert_eq!(options.servers.replica, ["b", "c"]);
    }

    #[test]
    fn an_address_with_spaces_is_one_address() {
        let replica = "host=replica-a port=5432 dbname=library";

        let options = parse(&["--primary", "a", "--replica", replica]);

        assert_eq!(options.servers.replica, [replica]);
    }

    #[test]
    fn faults_are_given_as_one_text_or_as_words() {
        let words = "--at 30s pause replica-1 for 5s --at 60s kill primary --seconds 90";
        let words = words.split(' ').collect::<Vec<_>>();
        let text = ["--at", "30s pause replica-1 for 5s", "--at", "60s kill primary"];

        for arguments in [&words[..], &text] {
            let faults = parse(arguments).plan.faults();

            assert_eq!(faults, ["30s pause replica-1 for 5s", "60s kill primary"]);
        }
    }

    #[test]
    fn the_named_options_have_no_addresses() {
        let options = parse(&["--primary", "postgres://a:secret@b/c", "--replica", "d"]).named();

        assert_eq!(options["mix"], "70.0, 25.0, 5.0");
        assert_eq!(options["shape"], "day");
        assert!(!options.contains_key("plan") && !options.contains_key("at"), "{options:?}");
        assert!(!options.values().any(|value| value.contains("secret")), "{options:?}");
    }
}
