use crate::Error;

/// Returns the name of an error in metrics and traces, if the server has not sent a code.
pub(super) fn error_type(error: &Error) -> &'static str {
    match error {
        Error::Conflict { .. } => "Conflict",
        Error::ConnectionLost { .. } => "ConnectionLost",
        Error::Database { .. } => "Database",
        Error::Decode { .. } => "Decode",
        Error::DecisionTimedOut { .. } => "DecisionTimedOut",
        Error::DuplicateEvent { .. } => "DuplicateEvent",
        Error::InvalidAppend { .. } => "InvalidAppend",
        Error::InvalidBookmark { .. } => "InvalidBookmark",
        Error::InvalidConfig { .. } => "InvalidConfig",
        Error::InvalidEvent { .. } => "InvalidEvent",
        Error::InvalidFilter { .. } => "InvalidFilter",
        Error::InvalidQuery { .. } => "InvalidQuery",
        Error::OtherLog { .. } => "OtherLog",
        Error::NoReplica { .. } => "NoReplica",
        Error::OutcomeUnknown { .. } => "OutcomeUnknown",
        Error::Payload { .. } => "Payload",
        Error::PoolExhausted { .. } => "PoolExhausted",
        Error::PositionAhead { .. } => "PositionAhead",
        Error::PositionLost { .. } => "PositionLost",
        Error::QueueFull { .. } => "QueueFull",
        Error::ReplicaBehind { .. } => "ReplicaBehind",
        Error::SchemaDamaged { .. } => "SchemaDamaged",
        Error::SchemaMissing { .. } => "SchemaMissing",
        Error::SchemaVersion { .. } => "SchemaVersion",
        Error::StalenessUnknown { .. } => "StalenessUnknown",
        Error::TimedOut { .. } => "TimedOut",
        Error::Unreachable { .. } => "Unreachable",
        Error::UnsuitableRole { .. } => "UnsuitableRole",
        Error::UnsuitableServer { .. } => "UnsuitableServer",
    }
}
