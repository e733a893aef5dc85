use std::ffi::OsString;
use std::time::Duration;

use jiff::SignedDuration;

use super::budget::{STANDARD_RATIO, STANDARD_TOKENS};
use super::setting::{Invalid, Setting};
use super::{Jitter, RetryBudget, RetryPolicy, RetryPolicyBuilder};
use crate::Error;

/// A source of environment variables.
type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads a policy from the variables.
pub fn read(variables: Variables<'_>) -> Result<RetryPolicy, Error> {
    builder(variables).and_then(RetryPolicyBuilder::check).map_err(|invalid| {
        // The invalid setting was set by a variable.
        let name = variable(variables, invalid.setting)
            .map_or(invalid.setting.variables()[0], |(name, _)| name);
        invalid.named(name)
    })
}

fn builder(variables: Variables<'_>) -> Result<RetryPolicyBuilder, Invalid> {
    let mut builder = RetryPolicy::builder();
    if let Some(retries) = value(variables, Setting::Attempts, retries)? {
        builder = builder.attempts(retries + 1);
    }
    if let Some(delay) = value(variables, Setting::BaseDelay, duration("from 0"))? {
        builder = builder.base_delay(delay);
    }
    if let Some(delay) = value(variables, Setting::MaxDelay, duration(POSITIVE))? {
        builder = builder.max_delay(delay);
    }
    if let Some(multiplier) = value(variables, Setting::Multiplier, number(1))? {
        builder = builder.multiplier(multiplier);
    }
    if let Some(jitter) = value(variables, Setting::Jitter, jitter)? {
        builder = builder.jitter(jitter);
    }
    builder = match value(variables, Setting::AttemptTimeout, or_off(duration(POSITIVE)))? {
        Some(Some(timeout)) => builder.attempt_timeout(timeout),
        Some(None) => builder.no_attempt_timeout(),
        None => builder,
    };
    builder = match value(variables, Setting::Deadline, or_off(duration(POSITIVE)))? {
        Some(Some(deadline)) => builder.deadline(deadline),
        Some(None) => builder.no_deadline(),
        None => builder,
    };
    builder = match value(variables, Setting::EscalateAfter, or_off(whole))? {
        Some(Some(rounds)) => builder.escalate_after(rounds),
        Some(None) => builder.no_escalation(),
        None => builder,
    };
    budget(variables, builder)
}

fn budget(
    variables: Variables<'_>,
    builder: RetryPolicyBuilder,
) -> Result<RetryPolicyBuilder, Invalid> {
    let tokens = value(variables, Setting::Budget, or_off(whole))?;
    let ratio = value(variables, Setting::BudgetRatio, number(0))?;
    Ok(match (tokens, ratio) {
        (None, None) => builder,
        (Some(None), None) => builder.no_budget(),
        (Some(None), Some(_)) => {
            return Err(Setting::BudgetRatio.invalid("is set, but the budget is off"));
        }
        (tokens, ratio) => builder.budget(RetryBudget::check(
            tokens.flatten().unwrap_or(STANDARD_TOKENS),
            ratio.unwrap_or(STANDARD_RATIO),
        )?),
    })
}

/// Returns the first variable of a setting that is set and not empty.
fn variable(variables: Variables<'_>, setting: Setting) -> Option<(&'static str, OsString)> {
    let mut set = setting.variables().iter().filter_map(|name| Some((*name, variables(name)?)));
    set.find(|(_, text)| !text.is_empty())
}

fn value<T>(
    variables: Variables<'_>,
    setting: Setting,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Invalid> {
    let Some((_, text)) = variable(variables, setting) else { return Ok(None) };
    let text = text.to_str().ok_or_else(|| setting.invalid("is not UTF-8"))?;
    parse(text.trim()).map(Some).map_err(|reason| setting.invalid(reason))
}

fn or_off<T>(
    parse: impl Fn(&str) -> Result<T, String>,
) -> impl Fn(&str) -> Result<Option<T>, String> {
    move |text| match text {
        "off" => Ok(None),
        text => parse(text).map(Some).map_err(|reason| format!("{reason}, and \"off\"")),
    }
}

fn retries(text: &str) -> Result<u32, String> {
    // The first attempt is not a retry, and the number of attempts is a `u32`.
    let retries = text.parse().ok().filter(|retries| *retries < u32::MAX);
    retries.ok_or_else(|| format!("is {text:?}, allowed are 0 to {}", u32::MAX - 1))
}

fn whole(text: &str) -> Result<u32, String> {
    let reason = || format!("is {text:?}, allowed are whole numbers from 1 to {}", u32::MAX);
    text.parse().map_err(|_| reason())
}

fn number(least: u8) -> impl Fn(&str) -> Result<f64, String> {
    move |text| {
        let reason =
            || format!("is {text:?}, allowed are finite numbers from {least}, like \"1.5\"");
        text.parse().map_err(|_| reason())
    }
}

fn duration(range: &str) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        let parsed = text.parse::<SignedDuration>().ok();
        let duration = parsed.and_then(|duration| Duration::try_from(duration).ok());
        duration.ok_or_else(|| {
            format!("is {text:?}, allowed are durations {range}, like \"250ms\" and \"1.5s\"")
        })
    }
}

fn jitter(text: &str) -> Result<Jitter, String> {
    match text {
        "equal" => Ok(Jitter::Equal),
        "full" => Ok(Jitter::Full),
        "none" => Ok(Jitter::None),
        _ => Err(format!("is {text:?}, allowed are \"none\", \"equal\" and \"full\"")),
    }
}

const POSITIVE: &str = "of more than 0";
