//! The options of the report.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

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
