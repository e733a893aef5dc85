//! Retries: which failures are retried, how often, after which pauses and until when.
//!
//! A [`Store`](crate::Store) retries by itself, as [`Config::retry`](crate::Config::retry) says. A
//! [`Retry`] retries any other operation under a [`RetryPolicy`].
//!
//! ```
//! use std::time::Duration;
//!
//! use eddyline::retry::{Retry, RetryBudget};
//! use eddyline::{Error, RetryPolicy};
//!
//! # async fn run() -> Result<(), Error> {
//! let policy = RetryPolicy::builder()
//!     .attempts(5)
//!     .deadline(Duration::from_secs(3))
//!     .budget(RetryBudget::new(100, 0.2)?)
//!     .build()?;
//! let retried = Retry::new(&policy, async || Ok::<_, Error>(7)).await;
//! assert_eq!(retried.attempts(), 1);
//! assert_eq!(retried.into_result()?, 7);
//! # Ok(())
//! # }
//! ```

mod backoff;
mod budget;
mod builder;
mod env;
mod future;
mod hooks;
mod outcome;
mod policy;
mod setting;
mod state;
mod timeout;

pub use self::backoff::{Backoff, Jitter};
pub use self::budget::RetryBudget;
pub use self::builder::RetryPolicyBuilder;
pub use self::future::Retry;
pub use self::hooks::{AsPlanned, ByClass, ByClassify, Hooks, Retrying, Silent};
pub use self::outcome::{AttemptError, Retried, RetryOutcome};
pub use self::policy::RetryPolicy;
