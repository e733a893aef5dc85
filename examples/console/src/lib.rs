//! What the programs beside the crate share: how they read arguments, print, show progress, stop on
//! signals and write the outcome to a file.
//!
//! Nothing here ends the work of a program. A reader that closes its end of a pipe, a full disk and a
//! signal are ordinary: the program goes on to its outcome.

mod arguments;
mod line;
mod outcome;
mod output;
mod progress;
mod stop;

pub use arguments::arguments;
pub use line::in_one_line;
pub use outcome::OutcomeFile;
pub use output::{print, tell};
pub use progress::Progress;
pub use stop::Stop;
