use futures_util::future::{join_all, try_join};
use local_postgres::Server;
use tokio_postgres::NoTls;

use super::mark::MarkIndex;
use super::{Director, Fault};
use crate::LoadError;
use crate::servers::{ServerName, add_replica};

/// A promotion of a replica.
#[derive(Clone, Copy, Debug)]
struct Promotion {
    /// The number of the replica.
    replica: u16,
    /// The index of the replica that commits of the new primary wait for.
    next: Option<usize>,
    /// Whether the former primary was killed. Otherwise it is shut down.
    is_failover: bool,
}

impl Director {
    /// Shuts the primary down, which sends all events to the replicas, and promotes a replica.
    pub(super) async fn switch_over(&self, fault: &Fault, replica: u16, next: Option<usize>) {
        if !self.wait_until(fault.at).await {
            return;
        }
        let _order = self.order.write().await;
        if self.has_stopped() {
            return;
        }
        let mark = self.begin(fault);
        let outcome = self.promote(Promotion { replica, next, is_failover: false }).await;
        if self.record(mark, outcome) {
            self.end(mark);
        }
    }

    /// Kills the primary, and promotes a replica later. If a stop is requested in between, starts
    /// the primary again.
    pub(super) async fn fail_over(
        &self,
        kill: &Fault,
        fault: &Fault,
        replica: u16,
        next: Option<usize>,
    ) {
        let Some(killed) = self.kill_primary(kill).await else { return };
        if !self.wait_until(fault.at).await {
            let started = self.embedded.primary().start().await.map_err(LoadError::Cluster);
            if self.record(killed, started) {
                self.end(killed);
            }
            return;
        }
        let _order = self.order.write().await;
        let mark = self.begin(fault);
        let outcome = self.promote(Promotion { replica, next, is_failover: true }).await;
        if self.record(mark, outcome) {
            self.end(mark);
            self.end(killed);
        }
    }

    async fn kill_primary(&self, kill: &Fault) -> Option<MarkIndex> {
        if !self.wait_until(kill.at).await {
            return None;
        }
        let _order = self.order.read().await;
        if self.has_stopped() {
            return None;
        }
        let mark = self.begin(kill);
        let killed = self.embedded.primary().kill().await.map_err(LoadError::Cluster);
        // A primary that may be alive must not meet a second one.
        self.record(mark, killed).then_some(mark)
    }

    async fn promote(&self, promotion: Promotion) -> Result<(), LoadError> {
        let roles = self.embedded.roles();
        let (old, name) = (roles.primary(), ServerName::Replica(promotion.replica));
        // Missing if an earlier promotion has failed.
        let new = roles.index(name).ok_or(LoadError::NoServer(name))?;
        let others: Vec<_> =
            roles.replicas().map(|(_, index)| index).filter(|index| *index != new).collect();
        // The store needs another replica before its only one can be removed.
        let is_removed_first = !others.is_empty();
        if is_removed_first {
            self.remove_from_reader(name)?;
        }
        self.hand_over(old, new, promotion.is_failover).await.map_err(LoadError::Cluster)?;
        self.embedded.change_roles(|roles| roles.promote(promotion.replica));
        self.follow_all(old, new, &others, promotion.is_failover).await?;
        if let Some(next) = promotion.next {
            self.embedded.wait_for_commits_of(next).await.map_err(LoadError::Cluster)?;
        }
        add_replica(&self.reader, &self.embedded.reader_url(old)).await?;
        self.embedded.change_roles(|roles| roles.add_replica(old));
        match is_removed_first {
            true => Ok(()),
            false => self.remove_from_reader(name),
        }
    }

    fn remove_from_reader(&self, name: ServerName) -> Result<(), LoadError> {
        self.reader.remove_replica(&name.to_string()).map_err(LoadError::Store)
    }

    /// Ends the old primary, and makes a replica accept writes. If that fails, starts the old
    /// primary again.
    async fn hand_over(
        &self,
        old: usize,
        new: usize,
        is_failover: bool,
    ) -> Result<(), local_postgres::Error> {
        let (old, promoted) = (self.embedded.server(old), self.embedded.server(new));
        let promotion = async {
            self.embedded.wait_for_no_commits(new).await?;
            if !is_failover {
                promoted.catch_up_with(old).await?;
                // It ends after its standbys have received all that it has written.
                old.stop().await?;
            }
            promoted.promote().await
        };
        match promotion.await {
            Err(error) if !promoted.is_primary() => {
                old.start().await?;
                Err(error)
            }
            outcome => outcome,
        }
    }

    /// Makes all other servers standbys of the new primary.
    async fn follow_all(
        &self,
        old: usize,
        new: usize,
        others: &[usize],
        is_failover: bool,
    ) -> Result<(), LoadError> {
        let server = |index| self.embedded.server(index);
        let primary = server(new);
        let followers = others.iter().map(|&index| follow(server(index), primary, is_failover));
        let returned = async {
            let (old, set) = (server(old), self.embedded.wait_for_no_commits(old));
            set.await.map_err(LoadError::Cluster)?;
            let following = async {
                match is_failover {
                    // It may have WAL that the new primary lacks.
                    true => old.rebuild(primary).await,
                    false => old.follow(primary).await,
                }
            };
            following.await.map_err(LoadError::Cluster)
        };
        let followed = async { join_all(followers).await.into_iter().collect::<Result<_, _>>() };
        let ((), ()) = try_join(followed, returned).await?;
        Ok(())
    }
}

/// Makes a standby follow the new primary.
async fn follow(standby: &Server, primary: &Server, is_failover: bool) -> Result<(), LoadError> {
    // A killed primary may have sent this standby more than the promoted one.
    if is_failover {
        standby.stop_streaming().await.map_err(LoadError::Cluster)?;
        let (received, promoted) = (received(standby).await?, received(primary).await?);
        if received > promoted {
            return standby.rebuild(primary).await.map_err(LoadError::Cluster);
        }
    }
    standby.follow(primary).await.map_err(LoadError::Cluster)
}

/// Returns the position in the WAL up to which a server has received it as a standby.
async fn received(server: &Server) -> Result<i64, LoadError> {
    let failed = |source| LoadError::Sql { action: "tell what it has received", source };
    let (client, connection) =
        tokio_postgres::connect(&server.url("postgres"), NoTls).await.map_err(failed)?;
    tokio::spawn(connection);
    let text =
        "SELECT (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::int8";
    client.query_one(text, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)
}
