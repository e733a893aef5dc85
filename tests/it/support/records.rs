//! A subscriber of `tracing` that keeps records in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// The log records of a test.
#[derive(Clone, Default)]
pub struct LogRecords(Arc<Mutex<Vec<LogRecord>>>);

/// A log record: its level, its target, and the texts of its fields. The message is a field.
#[derive(Clone, Debug)]
pub struct LogRecord {
    pub level: Level,
    pub target: String,
    pub fields: BTreeMap<&'static str, String>,
}

impl LogRecords {
    /// Collects the records of this thread until the guard is dropped.
    pub fn collect() -> (Self, DefaultGuard) {
        // As long as there is one subscriber only, `tracing` disables a record for all threads if
        // a thread without the subscriber is the first one that writes it.
        static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(LogRecords::default()));
        LazyLock::force(&OTHER);
        let records = Self::default();
        let guard = tracing::subscriber::set_default(records.clone());
        (records, guard)
    }

    /// Returns the records so far.
    pub fn all(&self) -> Vec<LogRecord> {
        self.0.lock().unwrap().clone()
    }

    /// Returns the records so far that have this message.
    pub fn of(&self, message: &str) -> Vec<LogRecord> {
        self.all().into_iter().filter(|record| record.field("message") == message).collect()
    }
}

impl LogRecord {
    /// Returns the text of a field, or an empty one if the record does not have it.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

impl Subscriber for LogRecords {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("eddyline")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = FieldTexts::default();
        event.record(&mut fields);
        let (level, target) = (*event.metadata().level(), event.metadata().target().to_owned());
        self.0.lock().unwrap().push(LogRecord { level, target, fields: fields.0 });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct FieldTexts(BTreeMap<&'static str, String>);

impl Visit for FieldTexts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
