//! Backoff schedules.

use std::time::Duration;

use eddyline::RetryPolicy;
use eddyline::retry::{Backoff, Jitter, RetryPolicyBuilder};
use proptest::prelude::*;

use super::ms;

fn pauses(policy: RetryPolicyBuilder) -> Vec<Duration> {
    policy.no_escalation().build().unwrap().backoff().collect()
}

#[test]
fn the_default_schedule_is_as_documented() {
    let standard = pauses(RetryPolicy::builder().jitter(Jitter::None));

    assert_eq!(standard, [10, 20, 40, 80, 160, 320, 640].map(ms));
    assert_eq!(standard.iter().sum::<Duration>(), ms(1_270));
}

#[test]
fn a_single_attempt_has_no_pauses() {
    assert_eq!(RetryPolicy::never().backoff().next(), None);
}

#[test]
fn pauses_without_a_seed_differ_between_calls() {
    let policy = RetryPolicy::builder().attempts(100).build().unwrap();

    let (one, other): (Vec<_>, Vec<_>) = (policy.backoff().collect(), policy.backoff().collect());

    assert_ne!(one, other);
}

#[test]
fn full_jitter_is_half_of_the_pause_on_average() {
    let policy = RetryPolicy::builder().attempts(10_001).base_delay(ms(100)).max_delay(ms(100));
    let backoff = policy.build().unwrap().backoff().seed(7);

    let mean = backoff.sum::<Duration>() / 10_000;

    assert!((ms(49)..ms(51)).contains(&mean), "{mean:?}");
}

#[test]
fn the_longest_delays_do_not_overflow() {
    let mut policy = RetryPolicy::builder().attempts(u32::MAX).multiplier(f64::MAX);
    for base in [Duration::from_nanos(1), Duration::MAX / 3, Duration::MAX] {
        for jitter in [Jitter::None, Jitter::Equal, Jitter::Full] {
            policy = policy.base_delay(base).max_delay(Duration::MAX).jitter(jitter);
            let backoff = policy.clone().build().unwrap().backoff().seed(1);

            assert_eq!(backoff.len(), u32::MAX as usize - 1);
            assert!(backoff.take(3).count() == 3);
        }
    }
}

/// Generates a base delay and a cap that is not below it, up to the durations that an `f64` of
/// seconds represents exactly.
fn range() -> impl Strategy<Value = (Duration, Duration)> {
    let length = prop_oneof![0..10_000_000_000_u64, 0..1_000_000_000_000_000_u64]
        .prop_map(Duration::from_nanos);
    (length.clone(), length).prop_filter_map("a cap above nothing", |(one, other)| {
        let (base, cap) = (one.min(other), one.max(other));
        (!cap.is_zero()).then_some((base, cap))
    })
}

fn multiplier() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0), 1.0..4.0, 1.0..f64::MAX]
}

fn backoff(
    attempts: u32,
    (base, cap): (Duration, Duration),
    multiplier: f64,
    jitter: Jitter,
) -> Backoff {
    let policy = RetryPolicy::builder().attempts(attempts).base_delay(base).max_delay(cap);
    policy.multiplier(multiplier).jitter(jitter).no_escalation().build().unwrap().backoff()
}

proptest! {
    /// Without jitter the pauses ascend from the base to the cap.
    #[test]
    fn pauses_grow_to_the_cap_and_no_further(
        attempts in 1..=1_000_u32,
        range in range(),
        multiplier in multiplier(),
    ) {
        let pauses: Vec<_> = backoff(attempts, range, multiplier, Jitter::None).collect();

        prop_assert_eq!(pauses.len(), attempts as usize - 1);
        prop_assert!(pauses.is_sorted());
        prop_assert_eq!(pauses.first(), (attempts > 1).then_some(&range.0));
        prop_assert!(pauses.last().is_none_or(|pause| *pause <= range.1));
    }

    /// The pause after n pauses is base × multiplierⁿ, to the nanosecond, or the cap if that is
    /// less.
    #[test]
    fn pauses_are_exact(base in 0..=1_000_000_u64, cap in 1_000_000..=u64::from(u32::MAX), by in 1..=5_u64) {
        let range = (Duration::from_micros(base), Duration::from_micros(cap));

        let pauses = backoff(100, range, by as f64, Jitter::None);

        for (before, pause) in pauses.enumerate() {
            let product = u128::from(base).saturating_mul(u128::from(by).saturating_pow(before as u32));
            let expected = product.min(u128::from(cap)) as u64;
            prop_assert_eq!(pause, Duration::from_micros(expected), "after {}", before);
        }
    }

    /// Full jitter is between zero and the exact pause, equal jitter between half of it and all of
    /// it. Neither changes the number of pauses.
    #[test]
    fn jitter_stays_within_its_bounds(
        attempts in 1..=1_000_u32,
        range in range(),
        multiplier in multiplier(),
        seed: u64,
    ) {
        let exact = || backoff(attempts, range, multiplier, Jitter::None);
        let full = backoff(attempts, range, multiplier, Jitter::Full).seed(seed);
        let equal = backoff(attempts, range, multiplier, Jitter::Equal).seed(seed);

        prop_assert_eq!((full.len(), equal.len()), (exact().len(), exact().len()));
        for (pause, most) in full.zip(exact()) {
            prop_assert!(pause <= most, "{:?} of {:?}", pause, most);
        }
        for (pause, most) in equal.zip(exact()) {
            prop_assert!(pause <= most && pause >= most / 2, "{:?} of {:?}", pause, most);
        }
    }

    /// The same seed yields the same pauses.
    #[test]
    fn a_seed_repeats_its_pauses(range in range(), multiplier in multiplier(), seed: u64) {
        let seeded = || backoff(50, range, multiplier, Jitter::Full).seed(seed);

        prop_assert!(seeded().eq(seeded()));
    }
}
