//! The dashboard of the event store: operations, statements, retries, replicas and pools.

mod failures;
mod operations;
mod performance;
mod pools;
mod replicas;
mod retries;

use crate::model::{Dashboard, Row};

/// Returns the dashboard.
pub fn dashboard() -> Dashboard {
    let mut replicas_and_pools = replicas::panels();
    replicas_and_pools.extend(pools::panels());
    Dashboard {
        uid: "eddyline-event-store",
        title: "Event store",
        description: "What the event store does for its callers, how long it takes, what fails, \
            and the state of its replicas and connections. The most important rows come first.",
        announced: OUTCOMES,
        stores: OUTCOMES,
        rows: vec![
            row("Core operations", 3, operations::core()),
            row("Performance", 3, performance::panels()),
            row("Errors", 3, failures::errors()),
            row("Context", 2, failures::context()),
            row("Business logic", 2, operations::business_logic()),
            row("Retry", 3, retries::panels()),
            row("Replicas and pools", 3, replicas_and_pools),
        ],
    }
}

fn row(title: &'static str, columns: usize, panels: Vec<crate::model::Panel>) -> Row {
    Row { title, columns, panels }
}

/// The operations, by their outcome.
const OUTCOMES: &str = "eventstore_operation_outcomes_total";
/// The time from the call of an operation to its result.
const DURATION: &str = "eventstore_operation_duration_seconds";
