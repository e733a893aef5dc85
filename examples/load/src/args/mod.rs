//! The options of the program.

mod city;
mod mix;
mod plan;
mod rate;
mod report;
mod servers;
mod telemetry;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use serde_json::Value;

pub use self::city::CityOptions;
pub use self::mix::MixArguments;
pub use self::plan::PlanOptions;
pub use self::rate::{RateOptions, RateShape, Spacing};
pub use self::report::ReportOptions;
pub use self::servers::ServerOptions;
pub use self::telemetry::TelemetryOptions;

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

    /// The options of the telemetry.
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
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
