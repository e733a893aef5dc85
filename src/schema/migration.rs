use postgres_types::Type;
use tokio_postgres::{IsolationLevel, Transaction};

use super::check::{LogLocation, decode_all, has_table};
use super::differences::{self, Difference};
use super::unknown_version;
use crate::error::Phase;
use crate::log_name::LogName;
use crate::pool::Session;
use crate::server::Server;
use crate::sql::{self, Inspection, InspectionRow, LogStatus, SequenceState};
use crate::{Error, Role};

/// Creates, upgrades or repairs a log in one transaction, and gives roles their rights. The columns
/// that a table of versions lacks are added before that, in a transaction of their own.
pub(super) async fn migrate(
    session: &mut Session,
    log: &LogName,
    grants: &[String],
) -> Result<(), Error> {
    let server = session.server().clone();
    let migration = Migration::begin(session, &server, log).await?;
    migration.run(sql::NO_TIMEOUTS).await?;
    migration.run(&sql::add_identity(log)).await?;
    migration.commit().await?;

    let migration = Migration::begin(session, &server, log).await?;
    migration.run(sql::NO_TIMEOUTS).await?;
    migration.run(&sql::prepare(log)).await?;
    migration.run_all().await?;
    for grant in grants {
        migration.run(grant).await?;
    }
    migration.commit().await
}

struct Migration<'a> {
    transaction: Transaction<'a>,
    server: &'a Server,
    log: &'a LogName,
}

impl<'a> Migration<'a> {
    /// Begins a transaction. If the future is dropped, the connection is closed, and the
    /// transaction is rolled back. At READ COMMITTED, each statement sees all that was committed
    /// before it.
    async fn begin(
        session: &'a mut Session,
        server: &'a Server,
        log: &'a LogName,
    ) -> Result<Self, Error> {
        let settings = session.local_settings();
        let transaction = session.client_mut().build_transaction();
        let transaction = transaction.isolation_level(IsolationLevel::ReadCommitted).start().await;
        let transaction =
            transaction.map_err(|error| server.error(error, server.at(Phase::Read)))?;
        let migration = Self { transaction, server, log };
        if let Some(settings) = settings {
            migration.run(&settings).await?;
        }
        Ok(migration)
    }

    async fn commit(self) -> Result<(), Error> {
        let server = self.server;
        let committed = self.transaction.commit().await;
        committed.map_err(|error| server.error(error, server.at(Phase::Read)))
    }

    /// Inspects the log, and makes the changes that are needed.
    async fn run_all(&self) -> Result<(), Error> {
        let versions = self.status(Role::Replica).await?;
        let version = versions.version;
        if let Some(newer) = version.filter(|version| *version > sql::VERSION) {
            return Err(unknown_version(self.log, newer));
        }
        let has_newer = versions.newest_version > Some(sql::VERSION);
        let found = self.inspect().await?;
        let is_new = !has_table(&found);
        if is_new {
            self.run(&sql::create_table(self.log)).await?;
        } else if version == Some(sql::VERSION)
            && differences::of_objects(self.log, &found, has_newer).is_empty()
            && self.sequence_difference(&found).await?.is_none()
        {
            return Ok(());
        } else {
            self.run(&sql::lock_table(self.log)).await?;
        }
        if let Some(settings) = sql::settings(self.log, version.filter(|_| !is_new)) {
            self.run(&settings).await?;
        }
        self.repair(has_newer).await?;
        if is_new || version != Some(sql::VERSION) {
            self.run(&sql::set_version(self.log, is_new)).await?;
        }
        Ok(())
    }

    async fn repair(&self, has_newer: bool) -> Result<(), Error> {
        if let Some(rename) = sql::rename(self.log, &self.inspect().await?) {
            self.run(&rename).await?;
        }
        let differences = differences::of_objects(self.log, &self.inspect().await?, has_newer);
        if !differences.iter().all(Difference::is_repaired_by_migration) {
            return self.location().refuse_damage(differences);
        }
        for difference in &differences {
            let Difference::Object { object, found } = difference else { continue };
            let remove = object.remove.as_deref().filter(|_| found.is_some());
            for statements in [remove, object.repair.as_deref()].into_iter().flatten() {
                self.run(statements).await?;
            }
        }
        self.advance_sequence().await?;
        let found = self.inspect().await?;
        let mut differences = differences::of_objects(self.log, &found, has_newer);
        differences.extend(self.sequence_difference(&found).await?);
        self.location().refuse_damage(differences)
    }

    /// Sets the sequence to the head if it is behind. The table is locked, so no position is given
    /// meanwhile.
    async fn advance_sequence(&self) -> Result<(), Error> {
        let Some(numbers) = self.status(Role::Primary).await?.sequence else { return Ok(()) };
        match differences::of_numbers(self.log, numbers) {
            Some(Difference::SequenceBehind { numbers: SequenceState { head, .. }, .. }) => {
                self.run(&sql::set_sequence(self.log, head)).await
            }
            Some(Difference::SequenceExhausted { .. }) => {
                self.run(&sql::widen_sequence(self.log)).await?;
                self.run(&sql::set_sequence(self.log, numbers.head)).await
            }
            _ => Ok(()),
        }
    }

    /// Compares the sequence with the head, unless the role lacks the right to read them.
    async fn sequence_difference(
        &self,
        found: &[InspectionRow],
    ) -> Result<Option<Difference>, Error> {
        let lacks = |found: &InspectionRow| matches!(found, InspectionRow::MissingRight { .. });
        if found.iter().any(lacks) {
            return Ok(None);
        }
        let numbers = self.status(Role::Primary).await?.sequence;
        Ok(numbers.and_then(|numbers| differences::of_numbers(self.log, numbers)))
    }

    async fn inspect(&self) -> Result<Vec<InspectionRow>, Error> {
        let inspection = Inspection::new(self.log);
        let rows = self.transaction.query_typed(sql::INSPECTION, &inspection.params()).await;
        rows.and_then(|rows| decode_all(&rows)).map_err(|error| self.failed(error))
    }

    async fn status(&self, role: Role) -> Result<LogStatus, Error> {
        let statement = sql::log_status(self.log, role);
        let params = [(&self.log.log() as &(dyn postgres_types::ToSql + Sync), Type::TEXT)];
        let rows = self.transaction.query_typed(&statement, &params).await;
        let status = rows.and_then(|rows| rows.first().map(LogStatus::decode).transpose());
        Ok(status.map_err(|error| self.failed(error))?.unwrap_or_default())
    }

    async fn run(&self, statements: &str) -> Result<(), Error> {
        self.transaction.batch_execute(statements).await.map_err(|error| self.failed(error))
    }

    fn location(&self) -> LogLocation<'_> {
        LogLocation { server: self.server.to_string(), log: self.log }
    }

    fn failed(&self, error: tokio_postgres::Error) -> Error {
        self.server.error(error, self.server.at(Phase::Read))
    }
}
