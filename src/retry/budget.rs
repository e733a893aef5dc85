use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::setting::{Invalid, Setting};
use crate::Error;

/// Limits how many retries there are beside first attempts, over all calls that share it.
///
/// A maximum count of attempts limits one call. It does not limit what a failing server gets: if
/// each call may try eight times, a server that fails under its load gets eight times that load,
/// and layers that retry above each other multiply. Such a storm keeps the server down after its
/// cause has passed. A budget limits the *share* of retries instead. It holds tokens: each call
/// pays in a fraction of a token, the ratio, and each retry takes a whole one. With a ratio of 0.2
/// the server gets, over any stretch of time, at most 1.2 times its normal load and what tokens
/// there were at the start; while few calls fail, all of them may be retried.
///
/// The idea is that of Finagle's `RetryBudget` (whose ratio is 0.2, too) and of the chapter
/// "Handling Overload" in Google's *Site Reliability Engineering* (with 0.1).
///
/// Clones share their tokens, and so do clones of the [`RetryPolicy`](super::RetryPolicy) that has
/// the budget. Share one among all that call one server. Nothing waits for tokens: a retry that
/// finds none is not made. A conflict that is decided anew takes none, since it is a sign of work,
/// not of a server in need, and nor does an append whose outcome is unknown.
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

/// All in millionths of a token, in which usual ratios are whole numbers.
struct Bucket {
    balance: AtomicU64,
    capacity: u64,
    deposit: u64,
}

impl RetryBudget {
    /// Makes a budget of so many tokens, which it starts with and never exceeds, to which each call
    /// adds `ratio` of a token, to the millionth. A ratio of 0 adds nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for no tokens, and for a ratio that is negative, infinite or not a
    /// number.
    pub fn new(tokens: u32, ratio: f64) -> Result<Self, Error> {
        Self::check(tokens, ratio).map_err(|invalid| {
            let name = invalid.setting.name();
            invalid.named(name)
        })
    }

    pub(super) fn check(tokens: u32, ratio: f64) -> Result<Self, Invalid> {
        if tokens == 0 {
            return Err(Setting::Budget.invalid("has 0 tokens, the least is 1"));
        }
        if !ratio.is_finite() || ratio < 0.0 {
            let reason = format!("is {ratio}, allowed are finite numbers from 0");
            return Err(Setting::BudgetRatio.invalid(reason));
        }
        Ok(Self::of(tokens, ratio))
    }

    /// The budget of policies that are given none.
    pub(super) fn standard() -> Self {
        Self::of(STANDARD_TOKENS, STANDARD_RATIO)
    }

    fn of(tokens: u32, ratio: f64) -> Self {
        let capacity = u64::from(tokens) * TOKEN;
        // Saturates where the ratio is beyond all capacities.
        let deposit = (ratio * TOKEN as f64).round() as u64;
        Self { bucket: Arc::new(Bucket { balance: AtomicU64::new(capacity), capacity, deposit }) }
    }

    /// Returns how many retries it would let happen now.
    pub fn tokens(&self) -> u32 {
        let whole = self.bucket.balance.load(Ordering::Relaxed) / TOKEN;
        u32::try_from(whole).unwrap_or(u32::MAX)
    }

    /// Pays in for a call.
    pub(super) fn deposit(&self) {
        let Bucket { balance, capacity, deposit } = &*self.bucket;
        let mut seen = balance.load(Ordering::Relaxed);
        // A full bucket is read and not written, so that calls which go well share a cache line
        // that nobody takes from them.
        while seen < *capacity && *deposit > 0 {
            let more = seen.saturating_add(*deposit).min(*capacity);
            match balance.compare_exchange_weak(seen, more, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a token for a retry. Returns false where there is none.
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
