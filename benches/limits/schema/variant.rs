//! The unchanged log and its variants.

/// A variant that differs from the unchanged log in one part.
pub struct Variant {
    pub name: &'static str,
    pub what: &'static str,
    /// The column that the variant lacks.
    pub lacks: Option<&'static str>,
    /// The statements that change the empty log, and those that change the filled log with its
    /// indexes. `{log}` stands for the log's name.
    pub before: &'static str,
    pub after: &'static str,
}

impl Variant {
    /// Returns the name of the table.
    pub fn table(&self) -> String {
        format!("schema_{}", self.name.replace('-', "_"))
    }

    /// Returns the columns without the generated sequence number.
    pub fn columns(&self) -> Vec<&'static str> {
        let has = |column: &&str| Some(*column) != self.lacks;
        COLUMNS.into_iter().filter(has).collect()
    }
}

const COLUMNS: [&str; 6] =
    ["event_id", "occurred_at", "recorded_at", "event_type", "payload", "metadata"];

const fn before(name: &'static str, what: &'static str, change: &'static str) -> Variant {
    Variant { name, what, lacks: None, before: change, after: "" }
}

const fn after(name: &'static str, what: &'static str, change: &'static str) -> Variant {
    Variant { name, what, lacks: None, before: "", after: change }
}

const fn without(
    name: &'static str,
    what: &'static str,
    lacks: &'static str,
    change: &'static str,
) -> Variant {
    Variant { name, what, lacks: Some(lacks), before: change, after: "" }
}

/// All variants. The first one is the unchanged log.
pub const VARIANTS: [Variant; 15] = [
    before("as-is", "as it is", ""),
    before("no-payload-index", "without the index on the payload", "DROP INDEX {log}_payload_idx"),
    after(
        "payload-fastupdate",
        "with a pending list of the index on the payload",
        "ALTER INDEX {log}_payload_idx SET (fastupdate = on)",
    ),
    before(
        "no-type-index",
        "without the index on type and number",
        "DROP INDEX {log}_event_type_idx",
    ),
    before(
        "type-alone-index",
        "with an index on the type alone in place of that on type and number",
        "DROP INDEX {log}_event_type_idx;
         CREATE INDEX {log}_event_type_alone_idx ON {log} (event_type)",
    ),
    before("no-time-index", "without the BRIN on the time", "DROP INDEX {log}_occurred_at_idx"),
    before(
        "time-btree",
        "with a B-tree on the time in place of the BRIN",
        "DROP INDEX {log}_occurred_at_idx;
         CREATE INDEX {log}_occurred_at_btree_idx ON {log} (occurred_at)",
    ),
    before(
        "no-unique-id",
        "without the uniqueness of ids and its index",
        "ALTER TABLE {log} DROP CONSTRAINT {log}_event_id_key",
    ),
    before(
        "no-triggers",
        "without triggers",
        "DROP TRIGGER {log}_lock_log ON {log};
         DROP TRIGGER {log}_refuse_number ON {log};
         DROP TRIGGER {log}_refuse_change ON {log}",
    ),
    before(
        "no-number-trigger",
        "without the trigger on each number",
        "DROP TRIGGER {log}_refuse_number ON {log}",
    ),
    before(
        "no-checks",
        "without checks",
        "ALTER TABLE {log} DROP CONSTRAINT {log}_event_type_check,
             DROP CONSTRAINT {log}_occurred_at_check, DROP CONSTRAINT {log}_recorded_at_check,
             DROP CONSTRAINT {log}_payload_check, DROP CONSTRAINT {log}_metadata_check",
    ),
    without(
        "no-event-id",
        "without ids and their index",
        "event_id",
        "ALTER TABLE {log} DROP COLUMN event_id",
    ),
    without(
        "no-occurred-at",
        "without the time and its index",
        "occurred_at",
        "ALTER TABLE {log} DROP COLUMN occurred_at",
    ),
    without(
        "no-recorded-at",
        "without the time of recording",
        "recorded_at",
        "ALTER TABLE {log} DROP COLUMN recorded_at",
    ),
    without(
        "no-metadata",
        "without metadata",
        "metadata",
        "ALTER TABLE {log} DROP COLUMN metadata",
    ),
];
