//! Settings of a policy: validation, defaults and environment variables.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use eddyline::retry::{Jitter, RetryBudget, RetryPolicyBuilder};
use eddyline::{Error, RetryPolicy};

use super::ms;

/// Returns the name of the invalid setting and the reason.
fn refused(result: Result<RetryPolicy, Error>) -> (&'static str, String) {
    match result.map(|policy| panic!("{policy:?}")) {
        Err(Error::InvalidConfig { setting, reason }) => (setting, reason.into_owned()),
        other => panic!("{other:?}"),
    }
}

fn from<const N: usize>(variables: [(&str, &str); N]) -> Result<RetryPolicy, Error> {
    let variables = HashMap::from(variables);
    RetryPolicy::from_lookup(|name| variables.get(name).map(OsString::from))
}

/// Returns the debug output of a policy, for comparisons.
fn shown(policy: &RetryPolicy) -> String {
    format!("{policy:?}")
}

#[test]
fn an_invalid_setting_is_refused_and_named() {
    let second = Duration::from_secs(1);
    type Set = fn(RetryPolicyBuilder) -> RetryPolicyBuilder;
    let wrong: [(Set, &str, &str); 13] = [
        (|policy| policy.attempts(0), "attempts", "is 0, the minimum is 1"),
        (
            |policy| policy.multiplier(0.99),
            "multiplier",
            "is 0.99, allowed are finite numbers from 1",
        ),
        (
            |policy| policy.multiplier(-2.0),
            "multiplier",
            "is -2, allowed are finite numbers from 1",
        ),
        (
            |policy| policy.multiplier(f64::NAN),
            "multiplier",
            "is NaN, allowed are finite numbers from 1",
        ),
        (
            |policy| policy.multiplier(f64::INFINITY),
            "multiplier",
            "is inf, allowed are finite numbers from 1",
        ),
        (|policy| policy.max_delay(Duration::ZERO), "max_delay", "is 0, it must be more than 0"),
        (
            |policy| policy.base_delay(ms(20)).max_delay(ms(19)),
            "max_delay",
            "is 19ms, allowed is from the base delay, 20ms",
        ),
        (
            |policy| policy.attempt_timeout(Duration::ZERO),
            "attempt_timeout",
            "is 0, it must be more than 0",
        ),
        (|policy| policy.deadline(Duration::ZERO), "deadline", "is 0, it must be more than 0"),
        (
            |policy| policy.attempt_timeout(ms(1_001)).deadline(ms(1_000)),
            "attempt_timeout",
            "is 1.001s, allowed is up to the deadline, 1s",
        ),
        (
            |policy| policy.escalate_after(0),
            "escalate_after",
            "is 0, allowed are at least 1 and fewer than the attempts, 4294967295",
        ),
        (
            |policy| policy.attempts(5).escalate_after(5),
            "escalate_after",
            "is 5, allowed are at least 1 and fewer than the attempts, 5",
        ),
        (
            |policy| policy.escalate_after(u32::MAX),
            "escalate_after",
            "is 4294967295, allowed are at least 1 and fewer than the attempts, 4294967295",
        ),
    ];

    for (set, setting, reason) in wrong {
        let error = refused(set(RetryPolicy::builder()).build());

        assert_eq!(error, (setting, reason.to_owned()));
    }
    RetryPolicy::builder().attempt_timeout(second).deadline(second).build().unwrap();
}

#[test]
fn an_invalid_budget_is_refused() {
    for (tokens, ratio, complaint) in [
        (0, 0.1, "budget: has 0 tokens, the minimum is 1"),
        (1, -0.1, "budget ratio: is -0.1, allowed are finite numbers from 0"),
        (1, f64::NAN, "budget ratio: is NaN, allowed are finite numbers from 0"),
        (1, f64::INFINITY, "budget ratio: is inf, allowed are finite numbers from 0"),
    ] {
        let error = RetryBudget::new(tokens, ratio).unwrap_err();

        assert_eq!(error.to_string(), format!("invalid configuration: {complaint}"));
    }
    RetryBudget::new(u32::MAX, f64::MAX).unwrap();
}

/// A setting must not conflict with a default that the caller has not chosen.
#[test]
fn defaults_adapt_to_explicit_settings() {
    let built = |set: fn(RetryPolicyBuilder) -> RetryPolicyBuilder| {
        set(RetryPolicy::builder()).build().unwrap()
    };

    let hasty = built(|policy| policy.deadline(Duration::from_secs(5)));
    assert_eq!(hasty.attempt_timeout(), Some(Duration::from_secs(5)));
    let patient = built(|policy| policy.attempt_timeout(Duration::from_secs(60)));
    assert_eq!(patient.deadline(), Some(Duration::from_secs(60)));
    let unlimited = built(|policy| policy.no_deadline());
    assert_eq!(unlimited.attempt_timeout(), Some(Duration::from_secs(10)));
    let slow = built(|policy| policy.base_delay(Duration::from_secs(3)).jitter(Jitter::None));
    assert_eq!(slow.max_delay(), Duration::from_secs(3));
    assert_eq!(slow.backoff().next(), Some(Duration::from_secs(3)));
    let quick = built(|policy| policy.max_delay(ms(4)).jitter(Jitter::None));
    assert!(quick.backoff().eq([ms(4); 7]));
    let immediate = built(|policy| policy.base_delay(Duration::ZERO));
    assert!(immediate.backoff().eq([Duration::ZERO; 7]));
    assert_eq!(built(|policy| policy.attempts(3)).escalate_after(), Some(2));
    assert_eq!(built(|policy| policy.attempts(2)).escalate_after(), None);
    assert_eq!(built(|policy| policy.escalate_after(7)).attempts(), 8);
    assert_eq!(built(|policy| policy.escalate_after(8)).attempts(), 9);
    assert_eq!(built(|policy| policy.escalate_after(u32::MAX - 1)).attempts(), u32::MAX);
}

#[test]
fn the_default_policy_is_as_documented() {
    let policy = RetryPolicy::default();

    assert_eq!(policy.attempts(), 8);
    assert_eq!(policy.max_delay(), Duration::from_secs(1));
    assert_eq!(policy.attempt_timeout(), Some(Duration::from_secs(10)));
    assert_eq!(policy.deadline(), Some(Duration::from_secs(30)));
    assert_eq!(policy.escalate_after(), Some(2));
    assert_eq!(policy.budget().unwrap().tokens(), 100);
    assert_eq!(shown(&policy), shown(&RetryPolicy::builder().build().unwrap()));
    assert_eq!(shown(&policy), shown(&RetryPolicy::from_lookup(|_| None).unwrap()));
}

#[test]
fn the_policy_never_has_no_limits() {
    let policy = RetryPolicy::never();

    assert_eq!(policy.attempts(), 1);
    assert_eq!((policy.attempt_timeout(), policy.deadline()), (None, None));
    assert_eq!(policy.escalate_after(), None);
    assert!(policy.budget().is_none());
}

#[test]
fn every_setting_is_read_from_the_environment() {
    let policy = from([
        ("EDDYLINE_MAX_RETRIES", "9"),
        ("EDDYLINE_RETRY_BASE_DELAY", "5ms"),
        ("EDDYLINE_RETRY_MAX_DELAY", " 1.5s "),
        ("EDDYLINE_RETRY_MULTIPLIER", "3"),
        ("EDDYLINE_RETRY_JITTER", "equal"),
        ("EDDYLINE_RETRY_ATTEMPT_TIMEOUT", "250ms"),
        ("EDDYLINE_RETRY_DEADLINE", "2m"),
        ("EDDYLINE_RETRY_BUDGET", "7"),
        ("EDDYLINE_RETRY_BUDGET_RATIO", "0.5"),
        ("EDDYLINE_RETRY_ESCALATE_AFTER", "4"),
    ]);

    let expected = RetryPolicy::builder()
        .attempts(10)
        .base_delay(ms(5))
        .max_delay(ms(1_500))
        .multiplier(3.0)
        .jitter(Jitter::Equal)
        .attempt_timeout(ms(250))
        .deadline(Duration::from_secs(120))
        .budget(RetryBudget::new(7, 0.5).unwrap())
        .escalate_after(4)
        .build();
    assert_eq!(shown(&policy.unwrap()), shown(&expected.unwrap()));
}

#[test]
fn optional_settings_can_be_off_in_the_environment() {
    let policy = from([
        ("EDDYLINE_RETRY_ATTEMPT_TIMEOUT", "off"),
        ("EDDYLINE_RETRY_DEADLINE", "off"),
        ("EDDYLINE_RETRY_BUDGET", "off"),
        ("EDDYLINE_RETRY_ESCALATE_AFTER", "off"),
    ]);

    let expected =
        RetryPolicy::builder().no_attempt_timeout().no_deadline().no_budget().no_escalation();
    assert_eq!(shown(&policy.unwrap()), shown(&expected.build().unwrap()));
}

#[test]
fn a_variable_with_the_prefix_takes_precedence() {
    let common = [("MAX_RETRIES", "4"), ("RETRY_BASE_DELAY", "7ms"), ("RETRY_MAX_DELAY", "9ms")];
    let ours = [("EDDYLINE_MAX_RETRIES", "1"), ("EDDYLINE_RETRY_MAX_DELAY", "8ms")];

    let alone = from(common).unwrap();
    let both = from([common[0], common[1], common[2], ours[0], ours[1]]).unwrap();
    let emptied = from([common[0], ("EDDYLINE_MAX_RETRIES", "")]).unwrap();

    assert_eq!((alone.attempts(), alone.max_delay()), (5, ms(9)));
    assert_eq!((both.attempts(), both.max_delay()), (2, ms(8)));
    assert_eq!(emptied.attempts(), 5);
}

/// A variable must not conflict with a default that the user has not chosen.
#[test]
fn defaults_adapt_to_variables() {
    assert_eq!(from([("MAX_RETRIES", "0")]).unwrap().attempts(), 1);
    assert_eq!(from([("MAX_RETRIES", "1")]).unwrap().escalate_after(), None);
    assert_eq!(from([("MAX_RETRIES", "4294967294")]).unwrap().attempts(), u32::MAX);
    let hasty = from([("EDDYLINE_RETRY_DEADLINE", "5s")]).unwrap();
    assert_eq!(hasty.attempt_timeout(), Some(Duration::from_secs(5)));
    let slow = from([("RETRY_BASE_DELAY", "3s")]).unwrap();
    assert_eq!(slow.max_delay(), Duration::from_secs(3));
    let generous = from([("EDDYLINE_RETRY_BUDGET_RATIO", "0.9")]).unwrap();
    assert_eq!(generous.budget().unwrap().tokens(), 100);
}

#[test]
fn an_invalid_variable_is_named() {
    let from_zero = "allowed are durations from 0, like \"250ms\" and \"1.5s\"";
    let positive = "allowed are durations of more than 0, like \"250ms\" and \"1.5s\"";
    for (variable, text, reason) in [
        ("EDDYLINE_MAX_RETRIES", "-1", "is \"-1\", allowed are 0 to 4294967294"),
        ("MAX_RETRIES", "many", "is \"many\", allowed are 0 to 4294967294"),
        ("MAX_RETRIES", "4294967295", "is \"4294967295\", allowed are 0 to 4294967294"),
        ("RETRY_BASE_DELAY", "10", &format!("is \"10\", {from_zero}")),
        ("EDDYLINE_RETRY_BASE_DELAY", "-10ms", &format!("is \"-10ms\", {from_zero}")),
        (
            "EDDYLINE_RETRY_MAX_DELAY",
            "99999999999999999999s",
            &format!("is \"99999999999999999999s\", {positive}"),
        ),
        ("RETRY_MAX_DELAY", "off", &format!("is \"off\", {positive}")),
        ("RETRY_MAX_DELAY", "0s", "is 0, it must be more than 0"),
        ("EDDYLINE_RETRY_DEADLINE", "never", &format!("is \"never\", {positive}, and \"off\"")),
        (
            "EDDYLINE_RETRY_MULTIPLIER",
            "two",
            "is \"two\", allowed are finite numbers from 1, like \"1.5\"",
        ),
        ("EDDYLINE_RETRY_MULTIPLIER", "NaN", "is NaN, allowed are finite numbers from 1"),
        ("EDDYLINE_RETRY_MULTIPLIER", "1e999", "is inf, allowed are finite numbers from 1"),
        (
            "EDDYLINE_RETRY_JITTER",
            "some",
            "is \"some\", allowed are \"none\", \"equal\" and \"full\"",
        ),
        ("EDDYLINE_RETRY_BUDGET", "0", "has 0 tokens, the minimum is 1"),
        (
            "EDDYLINE_RETRY_BUDGET",
            "1.5",
            "is \"1.5\", allowed are whole numbers from 1 to 4294967295, and \"off\"",
        ),
        ("EDDYLINE_RETRY_BUDGET_RATIO", "-1", "is -1, allowed are finite numbers from 0"),
        (
            "EDDYLINE_RETRY_ESCALATE_AFTER",
            "0",
            "is 0, allowed are at least 1 and fewer than the attempts, 4294967295",
        ),
    ] {
        let (setting, error) = refused(from([(variable, text)]));

        assert_eq!((setting, error.as_str()), (variable, reason));
    }
}

#[test]
fn contradicting_variables_are_named() {
    for (one, other, named) in [
        (("RETRY_BASE_DELAY", "2s"), ("RETRY_MAX_DELAY", "1s"), "RETRY_MAX_DELAY"),
        (
            ("EDDYLINE_RETRY_DEADLINE", "1s"),
            ("EDDYLINE_RETRY_ATTEMPT_TIMEOUT", "2s"),
            "EDDYLINE_RETRY_ATTEMPT_TIMEOUT",
        ),
        (
            ("MAX_RETRIES", "2"),
            ("EDDYLINE_RETRY_ESCALATE_AFTER", "3"),
            "EDDYLINE_RETRY_ESCALATE_AFTER",
        ),
        (
            ("EDDYLINE_RETRY_BUDGET", "off"),
            ("EDDYLINE_RETRY_BUDGET_RATIO", "1"),
            "EDDYLINE_RETRY_BUDGET_RATIO",
        ),
    ] {
        assert_eq!(refused(from([one, other])).0, named);
    }
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    let policy = RetryPolicy::from_lookup(|name| {
        (name == "EDDYLINE_RETRY_DEADLINE").then(|| OsString::from_vec(vec![0x31, 0xff, 0x73]))
    });

    let error = refused(policy);

    assert_eq!(error, ("EDDYLINE_RETRY_DEADLINE", "is not UTF-8".to_owned()));
}

#[test]
fn from_env_reads_the_environment_of_the_process() {
    let set = std::env::vars_os().any(|(name, _)| {
        name.to_string_lossy().contains("RETRY_") || name.to_string_lossy().contains("RETRIES")
    });

    let policy = RetryPolicy::from_env();

    assert!(set || shown(&policy.unwrap()) == shown(&RetryPolicy::default()));
}
