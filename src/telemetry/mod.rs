//! Metrics and traces through OpenTelemetry, and what they are called.
//!
//! [`INSTRUMENTS`] lists every instrument. `docs/metrics.md` says of each what it includes and what
//! it leaves out.

mod catalog;
mod handler_kind;
mod handler_outcome;
mod levels;
mod operation_name;
mod phase;
mod request;

#[cfg(not(feature = "telemetry"))]
mod disabled;

#[cfg(feature = "telemetry")]
mod error_type;
#[cfg(feature = "telemetry")]
mod exchange;
#[cfg(feature = "telemetry")]
mod handler;
#[cfg(feature = "telemetry")]
mod instruments;
#[cfg(feature = "tracing")]
mod logs;
#[cfg(feature = "telemetry")]
mod observed;
#[cfg(feature = "telemetry")]
mod operation;
#[cfg(feature = "telemetry")]
mod phase_clock;
#[cfg(feature = "telemetry")]
mod pool;
#[cfg(feature = "telemetry")]
mod providers;
#[cfg(feature = "telemetry")]
mod retry;
#[cfg(feature = "telemetry")]
mod scope;
#[cfg(feature = "telemetry")]
mod series;
#[cfg(feature = "telemetry")]
mod server_series;
#[cfg(feature = "telemetry")]
mod shared_list;
#[cfg(feature = "telemetry")]
mod store;

pub use self::catalog::{INSTRUMENTS, Instrument, InstrumentKind};
pub use self::handler_kind::HandlerKind;
pub use self::handler_outcome::HandlerOutcome;
pub(crate) use self::levels::{Observable, PoolLevels, QueueLevel, ReplicaLevels};
pub(crate) use self::operation_name::OperationName;
pub(crate) use self::phase::OperationPhase;
pub(crate) use self::request::Request;

#[cfg(not(feature = "telemetry"))]
pub(crate) use self::disabled::{
    Exchange, Operation, OperationHandle, PoolTelemetry, RetryCall, StoreTelemetry,
};
#[cfg(not(feature = "telemetry"))]
pub use self::disabled::{Handler, Telemetry};
#[cfg(feature = "telemetry")]
pub(crate) use self::exchange::Exchange;
#[cfg(feature = "telemetry")]
pub use self::handler::Handler;
#[cfg(feature = "telemetry")]
pub(crate) use self::operation::{Operation, OperationHandle};
#[cfg(feature = "telemetry")]
pub(crate) use self::pool::PoolTelemetry;
#[cfg(feature = "telemetry")]
pub use self::providers::Telemetry;
#[cfg(feature = "telemetry")]
pub(crate) use self::retry::RetryCall;
#[cfg(feature = "telemetry")]
pub(crate) use self::store::StoreTelemetry;
