use futures_util::future::join3;
use postgres_types::Type;
use tokio_postgres::Row;
use uuid::Uuid;

use super::differences::{self, Difference};
use super::unknown_version;
use crate::error::MIGRATE;
use crate::error::Phase;
use crate::log_name::{LogName, check_identifier};
use crate::pool::Session;
use crate::sql::{self, Inspection, InspectionRow, LogStatus};
use crate::{Bookmark, Error, Role};

/// Checks in one round trip that a log has the objects that this crate's migration creates, and
/// that the role has the rights to use it. Returns the log's identity and, from the primary, its
/// head.
///
/// A migration that commits during the check may look like damage, because some catalog functions
/// read by the statement's snapshot and others read the latest state. So damage is reported only if
/// a second check finds damage as well.
pub(crate) async fn check(session: &Session, log: &LogName) -> Result<(Uuid, Bookmark), Error> {
    match check_once(session, log).await {
        Err(Error::SchemaDamaged { .. }) => check_once(session, log).await,
        outcome => outcome,
    }
}

/// Checks the log once. The version is read before the objects. If a migration commits in between,
/// the objects are at least those of the version that was read.
async fn check_once(session: &Session, log: &LogName) -> Result<(Uuid, Bookmark), Error> {
    let (server, client) = (session.server(), session.client());
    let failed = |error| server.error(error, server.at(Phase::Read));
    let (status, inspection) = (sql::log_status(log, server.role), Inspection::new(log));
    let params = [(&log.log() as &(dyn postgres_types::ToSql + Sync), Type::TEXT)];
    let identity = sql::identity(log, server.role);
    let (status, found, identity) = join3(
        client.query_typed(&status, &params),
        client.query_typed(sql::INSPECTION, &inspection.params()),
        client.query_typed(&identity, &[]),
    )
    .await;
    let found = decode_all(&found.map_err(failed)?).map_err(failed)?;

    let location = LogLocation { server: server.to_string(), log };
    location.check_existence(&found)?;
    location.check_rights(&found, server.role)?;
    let status = status.and_then(|rows| rows.first().map(LogStatus::decode).transpose());
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            // Usually an object that the statement names is missing. If none is, return its error.
            location.refuse_damage(location.differences(&found, None, server.role))?;
            return Err(failed(error));
        }
    };
    let version = status.as_ref().and_then(|status| status.version);
    if let Some(version) = version.filter(|version| *version != sql::VERSION) {
        return Err(unknown_version(log, version));
    }
    location.refuse_damage(location.differences(&found, status.as_ref(), server.role))?;
    let identity = identity.map_err(failed)?;
    let identity = identity.first().map(sql::decode_identity).transpose().map_err(failed)?;
    identity.ok_or_else(|| server.unversioned())
}

pub(super) fn decode_all(rows: &[Row]) -> Result<Vec<InspectionRow>, tokio_postgres::Error> {
    rows.iter().map(InspectionRow::decode).collect()
}

/// A log and its server, as errors name them.
pub(super) struct LogLocation<'a> {
    pub(super) server: String,
    pub(super) log: &'a LogName,
}

impl LogLocation<'_> {
    fn check_existence(&self, found: &[InspectionRow]) -> Result<(), Error> {
        if has_table(found) {
            return Ok(());
        }
        Err(Error::SchemaMissing { server: self.server.clone(), log: self.log.to_string() })
    }

    /// Refuses a role that lacks a right, or from which row-level security hides events: its
    /// appends would be checked without the hidden events.
    fn check_rights(&self, found: &[InspectionRow], role: Role) -> Result<(), Error> {
        for found in found {
            let (role, reason) = match found {
                InspectionRow::RowSecurity { role } => (
                    role,
                    format!(
                        "row-level security may hide events of {} from it: run ALTER ROLE {} \
                         BYPASSRLS, or run ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
                        self.log,
                        sql::quoted(role),
                        self.log.table()
                    ),
                ),
                InspectionRow::MissingRight { right, role: name, to_append } => {
                    let remedy = match (to_append, role) {
                        (true, Role::Replica) => continue,
                        (true, Role::Primary) => {
                            grant(role, name) + ", or connect a Store<ReadOnly>"
                        }
                        (false, role) => grant(role, name),
                    };
                    (name, format!("it lacks {right}: {remedy}"))
                }
                _ => continue,
            };
            return Err(Error::UnsuitableRole {
                server: self.server.clone(),
                role: role.clone(),
                reason,
            });
        }
        Ok(())
    }

    fn differences(
        &self,
        found: &[InspectionRow],
        status: Option<&LogStatus>,
        role: Role,
    ) -> Vec<Difference> {
        let log = self.log;
        let newest = status.and_then(|status| status.newest_version);
        let mut differences = match role {
            Role::Primary => differences::of_objects(log, found, newest > Some(sql::VERSION)),
            Role::Replica => differences::of_columns(log, found),
        };
        let has_versions = found.iter().any(|found| matches!(found, InspectionRow::Versions));
        if !has_versions || status.is_some_and(|status| status.version.is_none()) {
            differences.push(Difference::Unversioned);
        }
        let numbers = status.and_then(|status| status.sequence);
        differences.extend(numbers.and_then(|numbers| differences::of_numbers(log, numbers)));
        differences
    }

    /// Refuses a log that has differences.
    pub(super) fn refuse_damage(&self, differences: Vec<Difference>) -> Result<(), Error> {
        if differences.is_empty() {
            return Ok(());
        }
        let damaged = |reason: String, remedy| Error::SchemaDamaged {
            server: self.server.clone(),
            log: self.log.to_string(),
            reason,
            remedy,
        };
        if let Some(columns) = differences::missing_columns(self.log, &differences) {
            let reason = format!("its table is not that of a log, since it has no {columns}");
            return Err(damaged(reason, OTHER_TABLE));
        }
        let remedy = if differences.iter().all(Difference::is_repaired_by_migration) {
            MIGRATE
        } else {
            "restore it by hand, or from a backup: eddyline::Schema::migrate cannot"
        };
        let differences: Vec<_> = differences.iter().map(ToString::to_string).collect();
        Err(damaged(differences.join("; "), remedy))
    }
}

/// The remedy for a table that has another purpose.
const OTHER_TABLE: &str = "choose another name by eddyline::Config::log or Config::schema";

/// Returns the advice on how to give a role the rights that it lacks on a server. The settings of
/// [`Schema`](crate::Schema) do not accept every name: a role with another name has to become a
/// member of a role that they accept.
fn grant(server: Role, role: &str) -> String {
    let (setting, group) = match server {
        Role::Primary => ("Schema::writer_role", "library_writer"),
        Role::Replica => ("Schema::reader_role or Schema::writer_role", "library_reader"),
    };
    let migrate = "run eddyline::Schema::migrate as the owner of the log, with";
    match check_identifier(setting, role) {
        Ok(_) => format!("{migrate} the role as {setting}"),
        Err(_) => {
            let role = sql::quoted(role);
            format!(
                "{migrate} a role such as {group} as {setting}, and run GRANT {group} TO {role}"
            )
        }
    }
}

/// Returns whether the log's table exists, or a view instead of it.
pub(super) fn has_table(found: &[InspectionRow]) -> bool {
    found
        .iter()
        .any(|found| matches!(found, InspectionRow::Object { kind: sql::ObjectKind::Table, .. }))
}
