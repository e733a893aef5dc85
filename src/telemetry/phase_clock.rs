use std::time::{Duration, Instant};

use super::phase::OperationPhase;

/// The times of an operation's phases.
pub(super) struct PhaseClock {
    started: Instant,
    current: OperationPhase,
    since: Instant,
    times: [Duration; OperationPhase::ALL.len()],
    /// The phases that the operation was in, which may have taken no measurable time.
    entered: [bool; OperationPhase::ALL.len()],
}

impl PhaseClock {
    pub(super) fn start(phase: OperationPhase) -> Self {
        let now = Instant::now();
        let mut entered = [false; OperationPhase::ALL.len()];
        entered[phase as usize] = true;
        Self { started: now, current: phase, since: now, times: Default::default(), entered }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Ends the current phase and begins another one.
    pub(super) fn enter(&mut self, phase: OperationPhase) {
        if self.current == phase {
            return;
        }
        let now = Instant::now();
        self.times[self.current as usize] += now - self.since;
        self.entered[phase as usize] = true;
        (self.current, self.since) = (phase, now);
    }

    /// Ends the current phase. Returns the duration of the operation.
    pub(super) fn stop(&mut self) -> Duration {
        let now = Instant::now();
        self.times[self.current as usize] += now - self.since;
        self.since = now;
        now - self.started
    }

    /// Returns the phases that the operation was in, with their times.
    pub(super) fn times(&self) -> impl Iterator<Item = (OperationPhase, Duration)> {
        let times = OperationPhase::ALL.into_iter().filter(|phase| self.entered[*phase as usize]);
        times.map(|phase| (phase, self.times[phase as usize]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_phases_add_up_to_the_duration(
            phases in prop::collection::vec(prop::sample::select(&OperationPhase::ALL[..]), 1..20),
        ) {
            let mut clock = PhaseClock::start(phases[0]);
            phases.iter().for_each(|phase| clock.enter(*phase));

            let duration = clock.stop();

            let times: Vec<_> = clock.times().collect();
            prop_assert_eq!(times.iter().map(|(_, time)| *time).sum::<Duration>(), duration);
            for phase in OperationPhase::ALL {
                let is_listed = times.iter().any(|(listed, _)| *listed == phase);
                prop_assert_eq!(is_listed, phases.contains(&phase));
            }
        }
    }
}
