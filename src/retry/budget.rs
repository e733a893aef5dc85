use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::setting::{Invalid, Setting};
use crate::Error;

/// A limit on the share of retries among all calls that use it.
///
/// A maximum number of attempts limits one call, but not the load of a failing server. If each call
/// may have eight attempts, a server that fails under its load gets eight times that load, and
/// layers that retry above each other multiply it. Such a storm keeps the server down after its
/// cause has passed. A budget limits the *share* of retries instead. It holds tokens: each call
/// adds a fraction of a token, the ratio, and each retry takes a whole one. With a ratio of 0.2 the
/// server gets at most 1.2 times its normal load, plus the tokens that there were at the start. As
/// long as few calls fail, all of them may be retried.
///
/// The idea is that of Finagle's `RetryBudget` (also with a ratio of 0.2) and of the chapter
/// "Handling Overload" in Google's *Site Reliability Engineering* (with 0.1).
///
/// Clones share their tokens, and so do clones of the [`RetryPolicy`](super::RetryPolicy) that has
/// the budget. Share one budget among all calls to one server. A retry that finds no token is not
/// made; it does not wait for one. A decision that is repeated after a conflict takes no token,
/// since a conflict is a sign of work and not of an overloaded server. An append that is repeated
/// because its outcome is unknown takes no token either.
///
/// ```
/// use eddyline::retry::RetryBudget;
/// use eddyline::RetryPolicy;
///
/// let budget = RetryBudget::new(100, 0.2)?;
/// let reads = RetryPolicy::builder().budget(budget.clone()).build()?;
/// let decisions = RetryPolicy::builder().attempts(20).budget(budget).build()?;
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone)]
pub struct RetryBudget {
    bucket: Arc<Bucket>,
}

/// All values are in millionths of a token, so that usual ratios are whole numbers.
struct Bucket {
    balance: AtomicU64,
    capacity: u64,
    deposit: u64,
}

impl RetryBudget {
    /// Makes a budget that starts with this many tokens and never holds more. Each call adds
    /// `ratio` of a token, rounded to a millionth. A ratio of 0 adds nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if there are no tokens, or if the ratio is negative, infinite or
    /// not a number.
    pub fn new(tokens: u32, ratio: f64) -> Result<Self, Error> {
        Self::check(tokens, ratio).map_err(|invalid| {
            let name = invalid.setting.name();
            invalid.named(name)
        })
    }

    pub(super) fn check(tokens: u32, ratio: f64) -> Result<Self, Invalid> {
        if tokens == 0 {
            return Err(Setting::Budget.invalid("has 0 tokens, the minimum is 1"));
        }
        if !ratio.is_finite() || ratio < 0.0 {
            let reason = format!("is {ratio}, allowed are finite numbers from 0");
            return Err(Setting::BudgetRatio.invalid(reason));
        }
        Ok(Self::of(tokens, ratio))
    }

    /// Makes the budget of a policy that sets none.
    pub(super) fn standard() -> Self {
        Self::of(STANDARD_TOKENS, STANDARD_RATIO)
    }

    fn of(tokens: u32, ratio: f64) -> Self {
        let capacity = u64::from(tokens) * TOKEN;
        // The cast saturates.
        let deposit = (ratio * TOKEN as f64).round() as u64;
        Self { bucket: Arc::new(Bucket { balance: AtomicU64::new(capacity), capacity, deposit }) }
    }

    /// Returns how many retries the budget allows now.
    pub fn tokens(&self) -> u32 {
        let whole = self.bucket.balance.load(Ordering::Relaxed) / TOKEN;
        u32::try_from(whole).unwrap_or(u32::MAX)
    }

    /// Adds the share of a call.
    pub(super) fn deposit(&self) {
        let Bucket { balance, capacity, deposit } = &*self.bucket;
        let mut seen = balance.load(Ordering::Relaxed);
        // A full bucket is read but not written, so that its cache line stays shared between cores
        // while calls succeed.
        while seen < *capacity && *deposit > 0 {
            let more = seen.saturating_add(*deposit).min(*capacity);
            match balance.compare_exchange_weak(seen, more, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a token for a retry. Returns false if there is none.
    pub(super) fn withdraw(&self) -> bool {
        let take = |balance: u64| balance.checked_sub(TOKEN);
        self.bucket.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget")
            .field("tokens", &self.tokens())
            .field("capacity", &(self.bucket.capacity / TOKEN))
            .field("ratio", &(self.bucket.deposit as f64 / TOKEN as f64))
            .finish()
    }
}

const TOKEN: u64 = 1_000_000;

pub(super) const STANDARD_TOKENS: u32 = 100;
pub(super) const STANDARD_RATIO: f64 = 0.2;
