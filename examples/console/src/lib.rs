//! Shared code of the example programs and the benches: command line arguments, output, progress,
//! signals, files for the outcome, and the violations that checkers find.
//!
//! A closed pipe, a full disk or a signal is an ordinary event for these programs. None of them
//! keeps a program from completing its work and reporting the outcome.

mod arguments;
mod error_chain;
mod outcome;
mod output;
mod progress;
mod stop;
mod violations;

pub use arguments::parse_arguments;
pub use error_chain::error_chain;
pub use outcome::OutcomeFile;
pub use output::{print_stderr, print_stdout};
pub use progress::Progress;
pub use stop::Stop;
pub use violations::{Conclusion, Violations};
