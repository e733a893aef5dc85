use super::phase::OperationPhase;
use crate::Role;

/// The name of an operation of a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OperationName {
    Append,
    /// An attempt of a decision under the log's lock. Other attempts are a query and an append.
    Decide,
    Head,
    Import,
    Query,
    Stream,
}

#[cfg_attr(not(feature = "telemetry"), expect(dead_code))]
impl OperationName {
    /// Returns the operations of a store that works on servers of this role.
    pub(super) fn of_role(role: Role) -> &'static [Self] {
        match role {
            Role::Primary => {
                &[Self::Append, Self::Decide, Self::Head, Self::Import, Self::Query, Self::Stream]
            }
            Role::Replica => &[Self::Head, Self::Query, Self::Stream],
        }
    }

    /// Returns the phase that the operation begins with.
    pub(super) fn first_phase(self) -> OperationPhase {
        match self {
            Self::Append | Self::Import => OperationPhase::Queue,
            Self::Decide | Self::Head | Self::Query | Self::Stream => OperationPhase::Acquire,
        }
    }

    /// Returns the phases that the operation may have on a server of this role.
    pub(super) fn phases(self, role: Role) -> &'static [OperationPhase] {
        match (self, role) {
            (Self::Append | Self::Decide | Self::Import, _) => &[
                OperationPhase::Queue,
                OperationPhase::Acquire,
                OperationPhase::Execute,
                OperationPhase::Decode,
                OperationPhase::Pause,
            ],
            (_, Role::Primary) => &[
                OperationPhase::Acquire,
                OperationPhase::Execute,
                OperationPhase::Decode,
                OperationPhase::Pause,
            ],
            (_, Role::Replica) => &[
                OperationPhase::Acquire,
                OperationPhase::WaitReplica,
                OperationPhase::Execute,
                OperationPhase::Decode,
                OperationPhase::Pause,
            ],
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Decide => "decide",
            Self::Head => "head",
            Self::Import => "import",
            Self::Query => "query",
            Self::Stream => "stream",
        }
    }

    /// Returns the name of the operation's span.
    pub(super) fn span(self) -> &'static str {
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
