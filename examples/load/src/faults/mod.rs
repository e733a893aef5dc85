//! Faults at given times of a load.

use serde::{Deserialize, Serialize};

/// A fault that occurred during a load.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Mark {
    /// What was done, such as `kill primary`.
    pub text: String,
    /// When it was done, in seconds since the start of the load.
    pub at: f64,
    /// When it was undone, if it was.
    pub until: Option<f64>,
    /// The error, if it could not be done or undone.
    pub error: Option<String>,
}
