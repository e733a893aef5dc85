use super::phase::Phase;
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
    pub(super) fn first_phase(self) -> Phase {
        match self {
            Self::Append | Self::Import => Phase::Queue,
            Self::Decide | Self::Head | Self::Query | Self::Stream => Phase::Acquire,
        }
    }

    /// Returns the phases that the operation may have on a server of this role.
    pub(super) fn phases(self, role: Role) -> &'static [Phase] {
        match (self, role) {
            (Self::Append | Self::Decide | Self::Import, _) => {
                &[Phase::Queue, Phase::Acquire, Phase::Execute, Phase::Decode, Phase::Pause]
            }
            (_, Role::Primary) => &[Phase::Acquire, Phase::Execute, Phase::Decode, Phase::Pause],
            (_, Role::Replica) => {
                &[Phase::Acquire, Phase::WaitReplica, Phase::Execute, Phase::Decode, Phase::Pause]
            }
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
