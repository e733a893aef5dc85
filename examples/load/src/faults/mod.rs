//! Faults at given times of a load.

mod director;
mod fault;
mod mark;
mod promotion;
mod script;
mod script_check;

pub use self::director::Director;
pub use self::fault::{Action, Fault, FaultError};
pub use self::mark::{Mark, Marks};
pub use self::script::{CheckedScript, Script, ScriptError};
