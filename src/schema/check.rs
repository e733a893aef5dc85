use futures_util::future::join;
use postgres_types::Type;
use tokio_postgres::Row;

use super::differences::{self, Difference};
use super::unknown;
use crate::error::MIGRATE;
use crate::error::Phase;
use crate::log_name::{LogName, check_identifier};
use crate::pool::Session;
use crate::sql::{self, Inspection, InspectionRow, LogStatus};
use crate::{Error, Role, SequenceNumber};

/// Checks in one round trip that a log is as this crate's migration makes it, and that the role may use
/// it. Returns the head of a log that is to be appended to.
///
/// A migration that ends meanwhile may look like a damage, since catalogs are read partly by a snapshot
/// and partly as they are. So damage is believed when it is found twice.
pub(crate) async fn check(session: &Session, log: &LogName) -> Result<SequenceNumber, Error> {
    match look(session, log).await {
        Err(Error::SchemaDamaged { .. }) => look(session, log).await,
        outcome => outcome,
    }
}

/// Where the log stands is asked before what is there of it, so that a migration which ends in between
/// has created all that its version needs.
async fn look(session: &Session, log: &LogName) -> Result<SequenceNumber, Error> {
    let (server, client) = (session.server(), session.client());
    let failed = |error| server.error(error, server.at(Phase::Read));
    let (standing, inspection) = (sql::log_status(log, server.role), Inspection::new(log));
    let params = [(&log.log() as &(dyn postgres_types::ToSql + Sync), Type::TEXT)];
    let (standing, found) = join(
        client.query_typed(&standing, &params),
        client.query_typed(sql::INSPECTION, &inspection.params()),
    )
    .await;
    let found = decode_all(&found.map_err(failed)?).map_err(failed)?;

    let place = Where { server: server.to_string(), log };
    place.check_existence(&found)?;
    place.check_rights(&found, server.role)?;
    let standing = standing.and_then(|rows| rows.first().map(LogStatus::decode).transpose());
    let standing = match standing {
        Ok(standing) => standing,
        Err(error) => {
            // What it asked for is missing. If it is not, the failure has another reason.
            place.check_faults(place.faults(&found, None, server.role))?;
            return Err(failed(error));
        }
    };
    let version = standing.as_ref().and_then(|standing| standing.version);
    if let Some(version) = version.filter(|version| *version != sql::VERSION) {
        return Err(unknown(log, version));
    }
    place.check_faults(place.faults(&found, standing.as_ref(), server.role))?;
    let numbers = standing.and_then(|standing| standing.sequence);
    Ok(numbers.map_or(SequenceNumber::ZERO, |numbers| numbers.head))
}

pub(super) fn decode_all(rows: &[Row]) -> Result<Vec<InspectionRow>, tokio_postgres::Error> {
    rows.iter().map(InspectionRow::decode).collect()
}

/// The log of an error, and the server on which it is.
pub(super) struct Where<'a> {
    pub(super) server: String,
    pub(super) log: &'a LogName,
}

impl Where<'_> {
    fn check_existence(&self, found: &[InspectionRow]) -> Result<(), Error> {
        if is_there(found) {
            return Ok(());
        }
        Err(Error::SchemaMissing { server: self.server.clone(), log: self.log.to_string() })
    }

    /// Refuses a role that cannot use the log, or to which the log shows a part of its events only: an
    /// append would be judged without the others.
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

    fn faults(
        &self,
        found: &[InspectionRow],
        standing: Option<&LogStatus>,
        role: Role,
    ) -> Vec<Difference> {
        let log = self.log;
        let newest = standing.and_then(|standing| standing.newest_version);
        let mut faults = match role {
            Role::Primary => differences::of_objects(log, found, newest > Some(sql::VERSION)),
            Role::Replica => differences::of_columns(log, found),
        };
        let has_versions = found.iter().any(|found| matches!(found, InspectionRow::Versions));
        if !has_versions || standing.is_some_and(|standing| standing.version.is_none()) {
            faults.push(Difference::Unversioned);
        }
        let numbers = standing.and_then(|standing| standing.sequence);
        faults.extend(numbers.and_then(|numbers| differences::of_numbers(log, numbers)));
        faults
    }

    /// Refuses a log that has faults.
    pub(super) fn check_faults(&self, faults: Vec<Difference>) -> Result<(), Error> {
        if faults.is_empty() {
            return Ok(());
        }
        let remedy = if faults.iter().all(Difference::is_repaired_by_migration) {
            MIGRATE
        } else {
            "restore it by hand, or from a backup: eddyline::Schema::migrate cannot"
        };
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        Err(Error::SchemaDamaged {
            server: self.server.clone(),
            log: self.log.to_string(),
            reason: faults.join("; "),
            remedy,
        })
    }
}

/// Says how a role gets the rights that it needs on a server. The settings of
/// [`Schema`](crate::Schema) do not take every name: a role of another name becomes a member of one that
/// they take.
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

/// Returns whether the log's table, or a view in its place, is there.
pub(super) fn is_there(found: &[InspectionRow]) -> bool {
    found
        .iter()
        .any(|found| matches!(found, InspectionRow::Object { kind: sql::ObjectKind::Table, .. }))
}
