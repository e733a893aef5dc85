//! Trying again: how often, how long after, and when not to.

mod backoff;
mod budget;
mod builder;
mod env;
mod future;
mod hooks;
mod limit;
mod outcome;
mod policy;
mod setting;
mod state;

pub use self::backoff::{Backoff, Jitter};
pub use self::budget::RetryBudget;
pub use self::builder::RetryPolicyBuilder;
pub use self::future::Retry;
pub use self::hooks::{AsPlanned, ByClass, ByClassify, Hooks, Retrying, Silent};
pub use self::outcome::{AttemptError, Retried, RetryOutcome};
pub use self::policy::RetryPolicy;
