use std::sync::Arc;

use super::ReplicaSet;
use super::choice::choose;
use super::server::{FallbackReason, GivenRead, WatchedServer};
use super::tried::Tried;
use crate::{Fallback, SequenceNumber};

impl ReplicaSet {
    /// Chooses a server that is known to be healthy, and to have reached the position if one is
    /// given.
    pub(super) fn choose(
        &self,
        position: Option<SequenceNumber>,
        tried: &Tried,
    ) -> Option<GivenRead> {
        let servers = self.servers();
        let (mut up, mut spare) = (Vec::new(), Vec::new());
        let (mut trial, mut spare_trial) = (None, None);
        for server in servers.iter().filter(|server| !tried.contains(server)) {
            self.ensure_watched(server);
            let known = server.known();
            let is_fresh = position.is_none_or(|position| {
                let head = known.head().filter(|head| head.position() >= position);
                head.is_some_and(|head| !tried.lacks_epoch(server, head))
            });
            match server.is_spare() {
                _ if !is_fresh => {}
                false if known.is_up() => up.push(server),
                true if known.is_up() => spare.push(server),
                false if known.wants_trial() => trial = trial.or(Some(server)),
                true if known.wants_trial() => spare_trial = spare_trial.or(Some(server)),
                _ => {}
            }
        }
        if let Some(given) = trial.and_then(|server| self.give(server).into_trial()) {
            return Some(given);
        }
        if let Some(server) = lightest(&up).or_else(|| lightest(&spare)) {
            return Some(self.give(server));
        }
        spare_trial.and_then(|server| self.give(server).into_trial())
    }

    /// Chooses among the servers that should be left out. One that refuses costs less time than one
    /// that does not answer.
    pub(super) fn least_bad(&self, tried: &Tried) -> Option<GivenRead> {
        let servers = self.servers();
        let left = || {
            let left = servers.iter().filter(|server| !tried.contains(server));
            left.filter(|server| !server.known().is_excluded())
        };
        let symptom = |server: &Arc<WatchedServer>| server.known().health.symptom();
        let least = left().map(symptom).min()?;
        let bad: Vec<_> = left().filter(|server| symptom(server) <= least).collect();
        lightest(&bad).map(|server| self.give(server))
    }

    /// Chooses the primary, if it is configured as the last resort for this reason.
    pub(super) fn fall_back(&self, reason: FallbackReason, tried: &Tried) -> Option<GivenRead> {
        let (primary, fallback) = self.primary.as_ref()?;
        let is_allowed = match reason {
            FallbackReason::Behind => *fallback == Fallback::WhenBehind,
            FallbackReason::Unreachable => {
                *fallback != Fallback::Never && self.is_unreachable(tried)
            }
        };
        if !is_allowed || tried.contains(primary) {
            return None;
        }
        self.ensure_watched(primary);
        let is_up = primary.known().is_up();
        let given = self.give(primary).falling_back(reason);
        match is_up {
            true => Some(given),
            false => given.into_trial(),
        }
    }

    /// Returns whether a read that waits for the answer of a server could be asked elsewhere.
    pub(super) fn has_other(&self, than: &Arc<WatchedServer>, tried: &Tried) -> bool {
        let is_other = |server: &Arc<WatchedServer>| {
            let known = server.known();
            !Arc::ptr_eq(server, than) && (known.is_up() || known.wants_trial())
        };
        let may_fall_back = || {
            self.primary.as_ref().is_some_and(|(primary, fallback)| {
                *fallback != Fallback::Never && is_other(primary)
            })
        };
        self.servers().iter().any(|server| !tried.contains(server) && is_other(server))
            || self.is_unreachable(tried) && may_fall_back()
    }

    /// Returns whether no replica can be reached.
    fn is_unreachable(&self, tried: &Tried) -> bool {
        self.servers().iter().all(|server| tried.shows_unreachable(server))
    }

    fn give(&self, server: &Arc<WatchedServer>) -> GivenRead {
        GivenRead::new(server.clone(), self.board.clone())
    }
}

fn lightest<'a>(servers: &[&'a Arc<WatchedServer>]) -> Option<&'a Arc<WatchedServer>> {
    let loads: Vec<_> = servers.iter().map(|server| server.load()).collect();
    choose(&loads, fastrand::f64).map(|index| servers[index])
}
