use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::ReplicaSet;
use super::server::WatchedServer;
use crate::store::deadline::AttemptDeadline;
use crate::store::read_request::{Answered, ReadRequest};
use crate::telemetry::OperationPhase;
use crate::{Bookmark, Error, RetryPolicy};

impl ReplicaSet {
    /// Reads from a server that shows every event which was committed up to `max_staleness` before
    /// this call. SAFETY.md, G7.
    pub(in crate::store) async fn read_within(
        &self,
        max_staleness: Duration,
        request: &ReadRequest<'_>,
        deadline: &mut AttemptDeadline,
        retry: &RetryPolicy,
        limit: Instant,
    ) -> Result<Answered, Error> {
        let since = Instant::now().checked_sub(max_staleness);
        loop {
            request.call.handle.enter(OperationPhase::WaitReplica);
            let head = self.primary_head(since, limit).await?;
            // The wait for the primary has a limit of its own.
            deadline.restart(retry);
            let is_bound = request.reading.bounds().contains(&head);
            let reading = request.reading.clone().at_least(head);
            let bounded = ReadRequest { reading: &reading, ..*request };
            match self.read(&bounded, deadline, retry, limit).await {
                // A failover has lost events since the primary was asked.
                Err(Error::PositionLost { position, .. })
                    if position == head.position() && !is_bound && Instant::now() < limit =>
                {
                    self.primary().expect("it was asked").forget_heads();
                }
                outcome => return outcome,
            }
        }
    }

    /// Fails without a primary, whose log those of the replicas are compared with.
    pub(in crate::store) fn check_primary(&self) -> Result<(), Error> {
        self.known_primary().map(drop)
    }

    fn known_primary(&self) -> Result<&Arc<WatchedServer>, Error> {
        self.primary().ok_or_else(|| {
            let reason = "the store has to know the primary: name it with Config::primary";
            Error::invalid_config("max_staleness", reason)
        })
    }

    /// Returns a head at or above every event that was committed before this time. Asks the primary
    /// if none is known.
    async fn primary_head(
        &self,
        since: Option<Instant>,
        limit: Instant,
    ) -> Result<Bookmark, Error> {
        let primary = self.known_primary()?;
        self.ensure_watched(primary);
        let mut heads = primary.heads();
        if let Some(head) = heads.borrow().covering(since) {
            return Ok(head);
        }
        primary.watch.demand();
        let asked = Instant::now();
        let known = heads.wait_for(|heads| heads.covering(since).is_some());
        let head = match timeout_at(limit, known).await {
            Ok(Ok(heads)) => heads.covering(since),
            Ok(Err(_)) | Err(_) => None,
        };
        head.ok_or_else(|| {
            let server = primary.pool.server().to_string();
            Error::StalenessUnknown { server, waited: asked.elapsed() }
        })
    }
}
