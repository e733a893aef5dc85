use std::time::Duration;

use super::script::Step;
use super::{Action, CheckedScript, Fault, ScriptError};
use crate::servers::{Roles, ServerName};

/// A check of a script, fault by fault, with the roles that the servers have at each of them.
pub(super) struct ScriptCheck {
    roles: Roles,
    duration: Duration,
    steps: Vec<Step>,
    /// The disturbances so far that no promotion has ended, with the indexes of their servers.
    disturbances: Vec<(Fault, usize)>,
    /// The promotions so far, each with the number of its former primary.
    promotions: Vec<(Fault, u16)>,
}

impl ScriptCheck {
    pub(super) fn new(replicas: u16, duration: Duration) -> Self {
        let (steps, disturbances, promotions) = Default::default();
        Self { roles: Roles::new(replicas), duration, steps, disturbances, promotions }
    }

    /// Adds the next fault, if it can be carried out.
    pub(super) fn add(&mut self, fault: Fault) -> Result<(), ScriptError> {
        let duration = self.duration;
        if fault.at >= duration || end(&fault) > duration {
            return Err(ScriptError::AfterTheEnd { fault, duration });
        }
        let server = self.server(&fault)?;
        match (fault.action, fault.server) {
            (Action::Promote, ServerName::Replica(replica)) => self.promote(fault, replica, server),
            _ => self.disturb(fault, server),
        }
    }

    /// Returns the index of the server of a fault.
    fn server(&self, fault: &Fault) -> Result<usize, ScriptError> {
        if let Some(index) = self.roles.index(fault.server) {
            return Ok(index);
        }
        let fault = fault.clone();
        let same = |(promotion, _): &&(Fault, u16)| promotion.server == fault.server;
        if let Some((promotion, former)) = self.promotions.iter().find(same) {
            let (promotion, former) = (promotion.clone(), *former);
            return Err(ScriptError::Promoted { fault, promotion, former });
        }
        let replicas = self.roles.replicas().map(|(number, _)| ServerName::Replica(number));
        let servers = [ServerName::Primary].into_iter().chain(replicas).collect();
        Err(ScriptError::NoServer { fault, servers })
    }

    fn disturb(&mut self, fault: Fault, server: usize) -> Result<(), ScriptError> {
        let others = self.disturbances.iter().filter(|(_, index)| *index == server);
        if let Some(earlier) = overlapping(others, &fault) {
            return Err(ScriptError::Overlap { fault, earlier });
        }
        self.disturbances.push((fault.clone(), server));
        self.steps.push(Step::Disturbance { fault, server });
        Ok(())
    }

    /// Adds a promotion, which concerns all servers. The primary may have been killed before.
    fn promote(&mut self, fault: Fault, replica: u16, server: usize) -> Result<(), ScriptError> {
        let primary = self.roles.primary();
        let kill = self.disturbances.iter().position(|(earlier, server)| {
            let is_killed = earlier.action == Action::Kill && *server == primary;
            is_killed && end(earlier) > fault.at && earlier.at < fault.at
        });
        let kill = kill.map(|index| self.disturbances.remove(index).0);
        if let Some(earlier) = overlapping(self.disturbances.iter(), &fault) {
            return Err(ScriptError::Overlap { fault, earlier });
        }
        if let Some(kill) = &kill {
            let is_kill = |step: &Step| match step {
                Step::Disturbance { fault, .. } => fault == kill,
                Step::Promotion { .. } => false,
            };
            self.steps.retain(|step| !is_kill(step));
        }
        if let Some(former) = self.roles.promote(replica) {
            let number = self.roles.add_replica(former);
            self.promotions.push((fault.clone(), number));
        }
        self.steps.push(Step::Promotion { fault, kill, replica, server, next: None });
        Ok(())
    }

    /// Returns the steps of the script.
    pub(super) fn into_script(self) -> CheckedScript {
        let mut steps = self.steps;
        for number in 0..steps.len() {
            let following = next_failover(&steps[number + 1..]);
            if let Step::Promotion { next, .. } = &mut steps[number] {
                *next = following;
            }
        }
        CheckedScript { steps }
    }
}

/// Returns when a fault is undone.
fn end(fault: &Fault) -> Duration {
    fault.at + fault.hold.unwrap_or_default()
}

/// Returns an earlier disturbance that has not been undone when a fault begins.
fn overlapping<'a>(
    earlier: impl IntoIterator<Item = &'a (Fault, usize)>,
    fault: &Fault,
) -> Option<Fault> {
    let mut earlier = earlier.into_iter().map(|(earlier, _)| earlier);
    earlier.find(|earlier| end(earlier) > fault.at || earlier.at == fault.at).cloned()
}

/// Returns the index of the first replica that is promoted after its primary was killed.
pub(super) fn next_failover(steps: &[Step]) -> Option<usize> {
    steps.iter().find_map(|step| match step {
        Step::Promotion { kill: Some(_), server, .. } => Some(*server),
        Step::Promotion { kill: None, .. } | Step::Disturbance { .. } => None,
    })
}
