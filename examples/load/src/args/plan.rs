//! The options of the plan.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

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
