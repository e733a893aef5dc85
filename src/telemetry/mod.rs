//! Metrics and traces: one guard per operation, which records its outcome once.

#[cfg(not(feature = "telemetry"))]
mod disabled;
#[cfg(feature = "telemetry")]
mod instruments;
#[cfg(feature = "telemetry")]
mod retry;

#[cfg(not(feature = "telemetry"))]
pub use self::disabled::Telemetry;
#[cfg(not(feature = "telemetry"))]
pub(crate) use self::disabled::{Operation, RetryCall};
#[cfg(feature = "telemetry")]
pub(crate) use self::instruments::Operation;
#[cfg(feature = "telemetry")]
pub use self::instruments::Telemetry;
#[cfg(feature = "telemetry")]
pub(crate) use self::retry::RetryCall;

/// The name of an operation of a store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OperationName {
    Append,
    Decide,
    Head,
    Import,
    Query,
    Stream,
}

impl OperationName {
    #[cfg(feature = "telemetry")]
    fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Decide => "decide",
            Self::Head => "head",
            Self::Import => "import",
            Self::Query => "query",
            Self::Stream => "stream",
        }
    }

    #[cfg(feature = "telemetry")]
    fn span(self) -> &'static str {
        match self {
            Self::Append => "eventstore.append",
            Self::Decide => "eventstore.decide",
            Self::Head => "eventstore.head",
            Self::Import => "eventstore.import",
            Self::Query => "eventstore.query",
            Self::Stream => "eventstore.stream",
        }
    }
}
