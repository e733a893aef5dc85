//! The clients of a load.

use std::sync::Arc;
use std::time::Duration;

use console::{Stop, print_stderr};

use crate::LoadError;
use crate::engine::{Engine, Limit, LimitStep};
use crate::journey::Journey;
use crate::live;
use crate::setup::Mode;
use crate::tally::Tally;

/// Runs the clients until the load ends or `stop` is set. Returns the highest rate, if it was
/// looked for.
///
/// # Errors
///
/// [`LoadError::Client`] if a client panics.
pub async fn run_clients(
    mode: &Mode,
    journey: Journey,
    clients: u32,
    tally: &Arc<Tally>,
    stop: &Stop,
) -> Result<Option<Limit>, LoadError> {
    let engine = Engine::new(journey, clients, Arc::clone(tally), stop.clone());
    let shown_until = Stop::default();
    let rates = match mode {
        Mode::Open(plan) => plan.rates(RATE_WINDOW),
        Mode::Closed { .. } | Mode::Limit { .. } => Vec::new(),
    };
    let asked = |time: Duration| rates.get(time.as_secs() as usize).copied();
    let load = async {
        let limit = run(mode, &engine).await;
        shown_until.set();
        limit
    };
    let duration = mode.planned_duration();
    let (limit, ()) = tokio::join!(load, live::show(tally, duration, asked, &shown_until));
    limit
}

async fn run(mode: &Mode, engine: &Engine<Journey>) -> Result<Option<Limit>, LoadError> {
    let start = engine.tally.settings().start;
    match mode {
        Mode::Closed { intentions, duration } => {
            engine.closed(intentions.draw(), *duration).await?;
            Ok(None)
        }
        Mode::Limit { intentions, settings } => {
            let show = |step: &LimitStep| {
                let LimitStep { asked, achieved, p99_ms, is_kept, .. } = step;
                let verdict = if *is_kept { "keeps the goal" } else { "does not keep it" };
                print_stderr(&format!(
                    "{asked:.0}/s: {achieved:.0}/s achieved, p99 {p99_ms:.1} ms, {verdict}"
                ));
            };
            let limit = engine.find_limit(intentions.draw(), settings, show).await?;
            Ok(Some(limit))
        }
        Mode::Open(plan) => {
            engine.open(plan.planned(), start).await?;
            Ok(None)
        }
    }
}

const RATE_WINDOW: Duration = Duration::from_secs(1);
