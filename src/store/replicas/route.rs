use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Instant, timeout};

use super::choice::choose;
use super::server::{GivenRead, WatchedServer};
use super::{ReplicaSet, ServerState};
use crate::pool::OnFailure;
use crate::sql::BoundCheck;
use crate::store::deadline::{AttemptDeadline, timed_out};
use crate::store::read_request::{Answered, ReadRequest, lost};
use crate::{Bookmark, Error, RetryPolicy, SequenceNumber};

/// The servers that a read has tried, with the last failure.
#[derive(Default)]
struct Tried {
    servers: Vec<Arc<WatchedServer>>,
    failure: Option<Error>,
    /// Servers that do not know the epoch of the position, with their own.
    behind: Vec<(Arc<WatchedServer>, Bookmark)>,
}

impl Tried {
    fn contains(&self, server: &Arc<WatchedServer>) -> bool {
        self.servers.iter().any(|tried| Arc::ptr_eq(tried, server))
    }

    /// Returns whether a server with this head has shown in the same epoch that it does not know
    /// the epoch of the position, whatever its head is.
    fn lacks_epoch(&self, server: &Arc<WatchedServer>, head: Option<Bookmark>) -> bool {
        let epoch = head.and_then(Bookmark::epoch);
        self.behind.iter().any(|(one, seen)| Arc::ptr_eq(one, server) && seen.epoch() == epoch)
    }
}

impl ReplicaSet {
    /// Reads from the server that suits best, and from others if it fails.
    /// SAFETY.md, G7.
    pub(in crate::store) async fn read(
        &self,
        request: &ReadRequest<'_>,
        deadline: &mut AttemptDeadline,
        retry: &RetryPolicy,
    ) -> Result<Answered, Error> {
        match request.position() {
            SequenceNumber::ZERO => self.read_any(request, *deadline).await,
            position => self.read_at(position, request, deadline, retry).await,
        }
    }

    /// Reads from any server.
    async fn read_any(
        &self,
        request: &ReadRequest<'_>,
        deadline: AttemptDeadline,
    ) -> Result<Answered, Error> {
        let (began, mut tried) = (Instant::now(), Tried::default());
        while let Some(given) = self.choose(None, &tried).or_else(|| self.least_bad(&tried)) {
            if let Some(answered) = self.attempt(given, request, deadline, &mut tried).await? {
                return Ok(answered);
            }
        }
        Err(tried.failure.unwrap_or_else(|| timed_out(&self.first_server(), began.elapsed())))
    }

    /// Reads from a server that has reached a position. Waits for one.
    async fn read_at(
        &self,
        position: SequenceNumber,
        request: &ReadRequest<'_>,
        deadline: &mut AttemptDeadline,
        retry: &RetryPolicy,
    ) -> Result<Answered, Error> {
        let (began, mut tried) = (Instant::now(), Tried::default());
        let mut changes = self.board.changes();
        let mut waiter = None;
        loop {
            deadline.check(&self.first_server())?;
            let mut chosen = self.choose(Some(position), &tried);
            if chosen.is_none() && waiter.is_none() {
                let (added, is_only) = self.board.waiters.add(position);
                self.servers().iter().for_each(|server| server.watch.wake());
                waiter = Some(added);
                // A server may have reached the position before this read was added. If no other
                // read waits, it is worth a try whether one has reached it since it was observed.
                chosen = self.choose(Some(position), &tried);
                if chosen.is_none() && is_only {
                    chosen = self.choose(None, &tried);
                }
            }
            if let Some(given) = chosen {
                match self.attempt(given, request, *deadline, &mut tried).await? {
                    Some(answered) => return Ok(answered),
                    None => continue,
                }
            }
            if let Some(failure) = tried.failure.take_if(|_| tried.servers.len() == self.len()) {
                return Err(failure);
            }
            let waiting = waiter.as_mut().expect("the read was added");
            tokio::select! {
                () = waiting.reached() => waiter = None,
                _ = changes.changed() => tried = Tried::default(),
                () = tokio::time::sleep_until(began + self.wait) => {
                    let (waited, replicas) = (began.elapsed(), self.statuses());
                    return Err(Error::ReplicaBehind { position, waited, replicas });
                }
            }
            // The wait for the position is limited by `replica_timeout`.
            deadline.restart(retry);
        }
    }

    /// Chooses a server that is known to be healthy, and to have reached the position if one is
    /// given.
    fn choose(&self, position: Option<SequenceNumber>, tried: &Tried) -> Option<GivenRead> {
        let servers = self.servers();
        let (mut up, mut spare) = (Vec::new(), Vec::new());
        let (mut trial, mut spare_trial) = (None, None);
        for server in servers.iter().filter(|server| !tried.contains(server)) {
            self.ensure_watched(server);
            let known = server.known();
            let head = known.head();
            let is_fresh = position.is_none_or(|position| {
                head.is_some_and(|head| head.position() >= position)
                    && !tried.lacks_epoch(server, head)
            });
            match server.is_spare() {
                _ if !is_fresh => {}
                false if known.health.is_up() => up.push(server),
                true if known.health.is_up() => spare.push(server),
                false if known.health.wants_trial() => trial = trial.or(Some(server)),
                true if known.health.wants_trial() => spare_trial = spare_trial.or(Some(server)),
                _ => {}
            }
        }
        let give = |server: &Arc<WatchedServer>| GivenRead::new(server.clone(), self.board.clone());
        if let Some(given) = trial.and_then(|server| give(server).into_trial()) {
            return Some(given);
        }
        if let Some(server) = lightest(&up).or_else(|| lightest(&spare)) {
            return Some(give(&server));
        }
        spare_trial.and_then(|server| give(server).into_trial())
    }

    /// Chooses among the servers that should be left out.
    fn least_bad(&self, tried: &Tried) -> Option<GivenRead> {
        let servers = self.servers();
        let badness = |server: &Arc<WatchedServer>| server.known().badness();
        let left = || servers.iter().filter(|server| !tried.contains(server));
        let least = left().map(badness).min()?;
        let bad: Vec<_> = left().filter(|server| badness(server) <= least).collect();
        lightest(&bad).map(|server| GivenRead::new(server, self.board.clone()))
    }

    /// Returns whether a read that waits for the answer of a server could be asked elsewhere.
    fn has_other(&self, than: &Arc<WatchedServer>, tried: &Tried) -> bool {
        let servers = self.servers();
        let mut others = servers.iter().filter(|server| !Arc::ptr_eq(server, than));
        others.any(|server| !tried.contains(server) && server.known().health.is_up())
    }

    /// Reads from a server. Fails if no other server could help. Returns `None` if another one
    /// should be asked, or if the server has not reached the position.
    async fn attempt(
        &self,
        mut given: GivenRead,
        request: &ReadRequest<'_>,
        deadline: AttemptDeadline,
        tried: &mut Tried,
    ) -> Result<Option<Answered>, Error> {
        let server = given.server.clone();
        let answered = self.answer(&server, request, deadline, tried).await;
        match answered {
            Some(Ok(mut answered)) => {
                let head = answered.answer.head();
                given.answered(ServerState::new(head, answered.answer.in_recovery()));
                match answered.check {
                    BoundCheck::Reached => {
                        answered.answer.hold(given);
                        return Ok(Some(answered));
                    }
                    BoundCheck::Lost { position, ended } => {
                        return Err(lost(server.pool.server(), position, ended));
                    }
                    BoundCheck::Behind if head.position() >= request.position() => {
                        tried.behind.push((server, head));
                    }
                    BoundCheck::Behind => {}
                }
                return Ok(None);
            }
            Some(Err(error)) => {
                given.failed(&error);
                if !error.is_of_server() || deadline.has_passed() {
                    return Err(error);
                }
                tried.failure = Some(error);
            }
            None => {}
        }
        tried.servers.push(server);
        Ok(None)
    }

    /// Waits for the answer of a server. If it takes long, asks the watcher whether the server is
    /// alive. Returns `None` if it is not, and another server is.
    async fn answer(
        &self,
        server: &Arc<WatchedServer>,
        request: &ReadRequest<'_>,
        deadline: AttemptDeadline,
        tried: &Tried,
    ) -> Option<Result<Answered, Error>> {
        let mut changes = self.board.changes();
        let on_failure = match self.len() {
            1 => OnFailure::Repeat,
            _ => OnFailure::Return,
        };
        let progress = AtomicU64::new(0);
        let mut answer = pin!(request.send(&server.pool, on_failure, deadline, &progress));
        let patience = server.known().patience();
        if let Ok(answer) = timeout(patience, &mut answer).await {
            return Some(answer);
        }
        let _concern = server.watch.concern();
        let mut seen = progress.load(Ordering::Relaxed);
        loop {
            let is_out = server.known().health.is_out();
            if is_out && self.has_other(server, tried) {
                // An answer whose rows arrive is not given up.
                match progress.load(Ordering::Relaxed) {
                    current if current == seen => return None,
                    current => seen = current,
                }
            }
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                _ = changes.changed() => {}
                () = tokio::time::sleep(patience), if is_out => {}
            }
        }
    }
}

fn lightest(servers: &[&Arc<WatchedServer>]) -> Option<Arc<WatchedServer>> {
    let loads: Vec<_> = servers.iter().map(|server| server.load()).collect();
    choose(&loads, fastrand::f64).map(|index| servers[index].clone())
}
