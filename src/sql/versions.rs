use super::objects::{ObjectKind, SchemaObject};
use crate::log_name::LogName;

/// A column of `eddyline_schema` with a part of a log's identity.
struct IdentityColumn {
    name: &'static str,
    /// The name of the type in the catalogs.
    type_name: &'static str,
    default: &'static str,
}

/// The identity of a log, and its epochs (Lemma 8). Each column is `NOT NULL`.
///
/// - `log_id`: the identity of the log.
/// - `epoch`: the current epoch.
/// - `epoch_server`: the incarnation of the server that appends in the epoch; empty if that is to
///   be decided by the next append, which then begins an epoch.
/// - `ended_epochs`, `ends`: the former epochs, and the head at which each of them ended.
const COLUMNS: [IdentityColumn; 5] = [
    IdentityColumn { name: "log_id", type_name: "uuid", default: "gen_random_uuid()" },
    IdentityColumn { name: "epoch", type_name: "uuid", default: "gen_random_uuid()" },
    IdentityColumn { name: "epoch_server", type_name: "text", default: "''" },
    IdentityColumn { name: "ended_epochs", type_name: "uuid[]", default: "'{}'" },
    IdentityColumn { name: "ends", type_name: "bigint[]", default: "'{}'" },
];

/// The assignments that give a log a new identity.
pub(super) const RENEW_IDENTITY: &str = ", log_id = DEFAULT, epoch = DEFAULT,
             epoch_server = DEFAULT, ended_epochs = DEFAULT, ends = DEFAULT";

/// Returns the names of the columns.
pub(super) fn column_names() -> Vec<&'static str> {
    COLUMNS.iter().map(|column| column.name).collect()
}

/// Renders the columns for `CREATE TABLE`.
pub(super) fn columns() -> String {
    let columns = COLUMNS.iter().map(IdentityColumn::definition);
    columns.collect::<Vec<_>>().join(",\n                     ")
}

/// Renders the condition that the table of versions exists, but not all of the columns.
pub(super) fn are_missing(log: &LogName) -> String {
    let names: Vec<_> = COLUMNS.iter().map(|column| format!("'{}'", column.name)).collect();
    let (schema, names, count) = (log.schema(), names.join(", "), COLUMNS.len());
    let table = format!("to_regclass('\"{schema}\".eddyline_schema')");
    format!(
        "{table} IS NOT NULL AND {count} > (SELECT count(*) FROM pg_attribute
             WHERE attrelid = {table} AND attname IN ({names}) AND NOT attisdropped)"
    )
}

/// Renders the actions of `ALTER TABLE` that add the columns which are missing.
pub(super) fn add_columns() -> String {
    let columns =
        COLUMNS.iter().map(|one| format!("ADD COLUMN IF NOT EXISTS {}", one.definition()));
    columns.collect::<Vec<_>>().join(",\n                     ")
}

/// Lists the columns. All logs of a schema share them.
pub(super) fn objects(log: &LogName) -> Vec<SchemaObject> {
    COLUMNS.iter().map(|column| column.object(log)).collect()
}

impl IdentityColumn {
    fn definition(&self) -> String {
        let Self { name, type_name, default } = self;
        format!("{name} {type_name} NOT NULL DEFAULT {default}")
    }

    fn object(&self, log: &LogName) -> SchemaObject {
        let Self { name, type_name, default } = self;
        let table = format!("\"{}\".eddyline_schema", log.schema());
        // Each row gets a value of its own.
        let repair = format!(
            "ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {};
             ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {default};
             UPDATE {table} SET {name} = DEFAULT WHERE {name} IS NULL;
             ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL",
            self.definition()
        );
        SchemaObject {
            kind: ObjectKind::IdentityColumn,
            name: (*name).to_owned(),
            state: format!("{type_name} NOT NULL with a default"),
            repair: Some(repair),
            remove: None,
            is_shared: true,
        }
    }
}
