use std::iter::Peekable;
use std::time::Duration;

use super::round::Round;
use super::{Engine, Executor, Limit, LimitStep};
use crate::plan::{Arrivals, Intention, Schedule, Shape};
use crate::{LoadError, clock};

/// How the highest rate is looked for.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// The first rate, in operations per second.
    pub start_rate: f64,
    /// The longest allowed 99th percentile of the latency of commands from their intended start.
    pub goal: Duration,
    /// How long each rate is tried.
    pub window: Duration,
    /// How often the limit is looked for.
    pub rounds: u32,
    /// How arrivals are spread.
    pub arrivals: Arrivals,
    /// The seed of the arrivals.
    pub seed: u64,
}

impl<C: Executor> Engine<C> {
    /// Looks for the highest rate that keeps a goal. `show` is called after each window.
    ///
    /// A rate keeps the goal if the 99th percentile of the latency of commands is within it, at
    /// least 95 % of the rate is achieved, and no operation fails. Between two rates, the engine
    /// waits until nothing is running. A request to end early or the end of the intentions ends
    /// the search, with what was found until then.
    ///
    /// # Errors
    ///
    /// If a client panics, or the start rate or the window is not allowed for a [`Schedule`].
    pub async fn find_limit(
        &self,
        intentions: impl Iterator<Item = Intention> + Send,
        settings: &LimitSettings,
        mut show: impl FnMut(&LimitStep),
    ) -> Result<Limit, LoadError> {
        let mut intentions = intentions.peekable();
        let mut limit = Limit {
            goal_ms: settings.goal.as_secs_f64() * 1_000.0,
            window_seconds: settings.window.as_secs_f64(),
            rounds: Vec::new(),
        };
        let mut seed = settings.seed;
        for _ in 0..settings.rounds {
            let mut round = match limit.rounds.last() {
                Some(last) => Round::after(last),
                None => Round::first(settings.start_rate),
            };
            while let Some(rate) = round.rate() {
                seed = seed.wrapping_add(1);
                let Some(step) = self.try_rate(rate, seed, &mut intentions, settings).await? else {
                    limit.rounds.push(round.into_found());
                    return Ok(limit);
                };
                show(&step);
                round.add(step);
            }
            limit.rounds.push(round.into_found());
        }
        Ok(limit)
    }

    /// Tries a rate for one window. Returns `None` if the window is cut short by a request to end
    /// early or the end of the intentions.
    async fn try_rate(
        &self,
        rate: f64,
        seed: u64,
        intentions: &mut Peekable<impl Iterator<Item = Intention> + Send>,
        settings: &LimitSettings,
    ) -> Result<Option<LimitStep>, LoadError> {
        let LimitSettings { goal, window, arrivals, .. } = *settings;
        let schedule = Schedule::new(Shape::Constant, rate, window, arrivals, seed);
        let schedule = schedule.map_err(LoadError::Schedule)?;
        self.tally.lap();
        let ending = self.open(schedule.assign(intentions.by_ref()), clock::now()).await?;
        if ending.is_stopped || intentions.peek().is_none() {
            return Ok(None);
        }
        let lap = self.tally.lap();
        // The last operations begin at the end of the window and may take as long as the goal.
        let took = ending.took.saturating_sub(goal).max(window).as_secs_f64();
        let due_rate = lap.due as f64 / window.as_secs_f64();
        let achieved = lap.done as f64 / took;
        let is_kept = lap.latency.count > 0
            && lap.latency.p99 <= goal.as_secs_f64() * 1_000.0
            && achieved >= LOWEST_SHARE * due_rate
            && lap.errors == 0;
        Ok(Some(LimitStep { asked: rate, achieved, p99_ms: lap.latency.p99, is_kept }))
    }
}

/// The share of a rate that must be achieved.
const LOWEST_SHARE: f64 = 0.95;
