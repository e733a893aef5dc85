//! The dashboard of the library example: its command and query handlers, and their retries.

mod decisions;
mod handlers;
mod performance;

use crate::model::{Dashboard, Row};

/// Returns the dashboard.
pub fn dashboard() -> Dashboard {
    let mut business_logic = handlers::business_logic();
    business_logic.extend(decisions::decisions());
    Dashboard {
        uid: "eddyline-library",
        title: "Library",
        description: "What the command and query handlers of the application do, how long they \
            take, and how their decisions end. The most important rows come first.",
        announced: HANDLERS,
        stores: "eventstore_operation_outcomes_total",
        rows: vec![
            Row { title: "Core operations", columns: 2, panels: handlers::core() },
            Row { title: "Performance", columns: 4, panels: performance::panels() },
            Row { title: "Errors", columns: 4, panels: handlers::errors() },
            Row { title: "Context", columns: 2, panels: handlers::context() },
            Row { title: "Business logic", columns: 4, panels: business_logic },
            Row { title: "Retry", columns: 3, panels: decisions::retries() },
        ],
    }
}

/// The calls of handlers, by their outcome.
const HANDLERS: &str = "eventstore_handler_outcomes_total";
/// The time from the call of a handler to its result.
const DURATION: &str = "eventstore_handler_duration_seconds";
