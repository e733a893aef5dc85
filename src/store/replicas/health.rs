use std::time::Duration;

use tokio::time::Instant;

/// The health of a server, as its watcher and the reads on it have found it.
///
/// A server is left out after a failure. Once the pause has passed and the server has answered its
/// watcher, it gets one read. If that read succeeds, it gets all others again.
#[derive(Clone, Debug)]
pub(super) struct Health {
    state: HealthState,
    /// How long the server is left out the next time.
    pause: Duration,
    /// When the pause is the shortest again, if nothing fails before.
    steady_at: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum HealthState {
    Up,
    HalfOpen { since: Instant, has_trial: bool },
    Out { since: Instant, until: Instant, symptom: Symptom },
}

/// What a server was left out for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Symptom {
    /// A read failed, and the watcher is still answered.
    Read,
    /// The server refuses connections or statements.
    Refusal,
    /// The server does not answer.
    Silence,
}

impl Health {
    /// Returns the health of a server that has answered.
    pub(super) fn up(now: Instant) -> Self {
        Self { state: HealthState::Up, pause: MIN_PAUSE, steady_at: now }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == HealthState::Up
    }

    /// Returns whether reads in flight should be asked again at another server.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.state, HealthState::Out { .. })
    }

    /// Returns whether the server may get the read that decides whether it is taken back.
    pub(super) fn wants_trial(&self) -> bool {
        matches!(self.state, HealthState::HalfOpen { has_trial: false, .. })
    }

    /// Returns what the server was left out for, if it is left out.
    pub(super) fn symptom(&self) -> Option<Symptom> {
        match self.state {
            HealthState::Out { symptom, .. } => Some(symptom),
            HealthState::HalfOpen { .. } | HealthState::Up => None,
        }
    }

    /// Returns the end of the pause, if the server is left out.
    pub(super) fn out_until(&self) -> Option<Instant> {
        match self.state {
            HealthState::Out { until, .. } => Some(until),
            HealthState::HalfOpen { .. } | HealthState::Up => None,
        }
    }

    /// Records that the server has answered its watcher.
    pub(super) fn observed(&mut self, now: Instant) {
        match &mut self.state {
            HealthState::Out { until, .. } if *until <= now => {
                self.state = HealthState::HalfOpen { since: now, has_trial: false };
            }
            HealthState::Out { symptom, .. } => *symptom = Symptom::Read,
            HealthState::HalfOpen { .. } | HealthState::Up => {}
        }
    }

    /// Records that the server does not answer its watcher. After the first time for a while, the
    /// late answer takes the server back, without a pause.
    pub(super) fn silent(&mut self, now: Instant) {
        if self.is_up() && self.steady_at <= now {
            let symptom = Symptom::Silence;
            self.state = HealthState::Out { since: now, until: now, symptom };
            (self.pause, self.steady_at) = (MIN_PAUSE, now + STEADY);
            return;
        }
        self.leave(now, Symptom::Silence);
    }

    /// Records that the watcher can make no connection, or that the server refuses its statement.
    pub(super) fn refused(&mut self, now: Instant) {
        self.leave(now, Symptom::Refusal);
    }

    /// Records that a read failed, or had no answer in time. The pause is the shortest, since
    /// another read may succeed. Whether the server is ill is what its watcher finds out.
    pub(super) fn read_failed(&mut self, now: Instant) {
        if self.is_up() {
            let (until, symptom) = (now + MIN_PAUSE, Symptom::Read);
            self.state = HealthState::Out { since: now, until, symptom };
        }
    }

    /// Records the success of a read that began at this time. A read from before a failure says
    /// nothing about the time after it.
    pub(super) fn read_succeeded(&mut self, began: Instant, now: Instant) {
        match self.state {
            HealthState::HalfOpen { since, .. } | HealthState::Out { since, .. }
                if began >= since =>
            {
                (self.state, self.steady_at) = (HealthState::Up, now + STEADY);
            }
            _ => {}
        }
    }

    /// Begins the read that decides whether the server is taken back. Returns false if the server
    /// does not want one.
    pub(super) fn start_trial(&mut self) -> bool {
        let wants_trial = self.wants_trial();
        if let HealthState::HalfOpen { has_trial, .. } = &mut self.state {
            *has_trial = true;
        }
        wants_trial
    }

    /// Records that the deciding read failed.
    pub(super) fn trial_failed(&mut self, now: Instant) {
        if matches!(self.state, HealthState::HalfOpen { .. }) {
            self.leave(now, Symptom::Read);
        }
    }

    /// Records that the deciding read was abandoned by its caller.
    pub(super) fn trial_abandoned(&mut self) {
        if let HealthState::HalfOpen { has_trial, .. } = &mut self.state {
            *has_trial = false;
        }
    }

    /// Leaves the server out for a pause. The next pause is twice as long, unless the server has
    /// been up for a while before.
    fn leave(&mut self, now: Instant, symptom: Symptom) {
        if let HealthState::Out { since, until, .. } = self.state
            && now < until
        {
            self.state = HealthState::Out { since, until, symptom };
            return;
        }
        if self.is_up() && self.steady_at <= now {
            self.pause = MIN_PAUSE;
        }
        let since = match self.state {
            HealthState::Out { since, .. } => since,
            HealthState::HalfOpen { .. } | HealthState::Up => now,
        };
        self.state = HealthState::Out { since, until: now + self.pause, symptom };
        self.pause = MAX_PAUSE.min(2 * self.pause);
    }
}

/// The shortest time for which a server is left out.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The longest time after which a server is tried again.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How long a server has to be up until its next pause is the shortest.
const STEADY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Measured {
        Observed,
        ReadFailed,
        ReadSucceeded,
        Refused,
        Silent,
        TrialAbandoned,
        TrialFailed,
        TrialStarted,
    }

    fn events() -> impl Strategy<Value = Vec<(u64, Measured)>> {
        use Measured::*;
        let event = prop::sample::select(vec![
            Observed,
            ReadFailed,
            ReadSucceeded,
            Refused,
            Silent,
            TrialAbandoned,
            TrialFailed,
            TrialStarted,
        ]);
        prop::collection::vec((0..40_000_u64, event), 1..60)
    }

    fn apply(health: &mut Health, event: Measured, now: Instant) {
        match event {
            Measured::Observed => health.observed(now),
            Measured::ReadFailed => health.read_failed(now),
            Measured::ReadSucceeded => health.read_succeeded(now, now),
            Measured::Refused => health.refused(now),
            Measured::Silent => health.silent(now),
            Measured::TrialAbandoned => health.trial_abandoned(),
            Measured::TrialFailed => health.trial_failed(now),
            Measured::TrialStarted => drop(health.start_trial()),
        }
    }

    proptest! {
        /// A server that was left out gets a read only after its pause and an answer to its
        /// watcher, and all reads only after a read succeeded.
        #[test]
        fn a_server_is_taken_back_step_by_step(events in events()) {
            let mut now = Instant::now();
            let mut health = Health::up(now);
            for (pause, event) in events {
                now += Duration::from_millis(pause);
                let before = health.clone();
                apply(&mut health, event, now);

                if before.is_out() && health.wants_trial() {
                    prop_assert!(matches!(event, Measured::Observed));
                    prop_assert!(before.out_until().unwrap() <= now);
                }
                if !before.is_up() && health.is_up() {
                    prop_assert!(matches!(event, Measured::ReadSucceeded));
                }
                if before.wants_trial() && !health.wants_trial() && !health.is_up() {
                    let begun = matches!(event, Measured::TrialStarted);
                    prop_assert!(begun || health.is_out(), "{event:?}");
                }
            }
        }

        /// Pauses are between the shortest and the longest, or none after the first silence.
        #[test]
        fn a_pause_has_limits(events in events()) {
            let mut now = Instant::now();
            let mut health = Health::up(now);
            for (pause, event) in events {
                now += Duration::from_millis(pause);
                let before = health.out_until();
                apply(&mut health, event, now);

                if let Some(until) = health.out_until().filter(|until| Some(*until) != before) {
                    let pause = until - now;
                    let is_allowed = (MIN_PAUSE..=MAX_PAUSE).contains(&pause);
                    prop_assert!(is_allowed || pause.is_zero() && matches!(event, Measured::Silent));
                }
            }
        }

        /// While nothing but failures of the watcher and of trials happens, each pause is twice as
        /// long as the one before, up to the longest.
        #[test]
        fn pauses_double(failures in prop::collection::vec(any::<bool>(), 1..12)) {
            let mut now = Instant::now();
            let mut health = Health::up(now);
            let mut expected = MIN_PAUSE;
            for is_trial in failures {
                match is_trial && health.is_out() {
                    true => {
                        health.observed(now);
                        prop_assert!(health.start_trial());
                        health.trial_failed(now);
                    }
                    false => health.refused(now),
                }
                let until = health.out_until().unwrap();
                prop_assert_eq!(until - now, expected);
                expected = MAX_PAUSE.min(2 * expected);
                now = until;
            }
        }
    }

    #[test]
    fn a_late_answer_takes_a_server_back_once_and_later_only_after_a_pause() {
        let start = Instant::now();
        let mut health = Health::up(start);

        health.silent(start);
        health.observed(start + Duration::from_millis(30));
        assert!(health.wants_trial());
        health.read_succeeded(start + Duration::from_millis(31), start + Duration::from_millis(32));
        assert!(health.is_up());
        let again = start + Duration::from_secs(1);
        health.silent(again);
        health.observed(again + MIN_PAUSE / 2);
        assert!(health.is_out());
        health.observed(again + MIN_PAUSE);
        assert!(health.wants_trial());
    }

    #[test]
    fn a_pause_is_the_shortest_again_after_the_server_was_up_for_a_while() {
        let start = Instant::now();
        let mut health = Health::up(start);
        health.refused(start);
        health.refused(start + MIN_PAUSE);
        assert_eq!(health.out_until(), Some(start + 3 * MIN_PAUSE));
        let back = start + 3 * MIN_PAUSE;
        health.observed(back);
        health.read_succeeded(back, back);

        let later = back + STEADY;
        health.refused(later);

        assert_eq!(health.out_until(), Some(later + MIN_PAUSE));
    }

    #[test]
    fn a_read_from_before_a_failure_does_not_take_the_server_back() {
        let start = Instant::now();
        let mut health = Health::up(start);
        let failure = start + Duration::from_millis(5);
        health.read_failed(failure);

        health.read_succeeded(start, failure + Duration::from_millis(1));

        assert!(health.is_out());
        health.read_succeeded(failure, failure + Duration::from_millis(1));
        assert!(health.is_up());
    }
}
