//! The kinds of operation of a race.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::boundary::FilterKind;
use crate::message::{Ending, Form, InterveningWrite, Isolation, Server, TailMethod};
use crate::protocol::ProtocolName;

/// A kind of operation. A race in which one of the expected kinds did not occur proves nothing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Kind {
    /// An accepted decision.
    Decision(FilterKind),
    /// An accepted decision with several events.
    DecisionOfMany,
    /// A decision by the store's `decide`.
    StoreDecision(Ending),
    /// An accepted decision on a private boundary.
    PrivateDecision,
    /// An append that failed with a conflict.
    Conflict,
    /// An append that was dropped before it was answered.
    Abandoned,
    /// An append of one event without a condition.
    Unconditional,
    /// An append of several events without a condition.
    UnconditionalMany,
    /// An append, or a conflict, on the condition that no event at all was appended since a
    /// position.
    OnEverything,
    /// A decision in the single-store log after this intervening write. It was accepted, or failed
    /// with a conflict if the flag is set.
    SingleStore(InterveningWrite, bool),
    /// An accepted decision by a newly connected store.
    FreshStore,
    /// A worker process was stopped for a while.
    Frozen,
    /// An import of several events.
    Import,
    /// An import that was repeated after an abandoned or failed attempt.
    RepeatedImport,
    /// An insert by plain SQL.
    Insert(Isolation, Form),
    /// A successful read by a tailing reader.
    Tail(TailMethod, Server),
}

impl Kind {
    /// Returns the kinds that a race must include, for the given protocol and servers.
    pub fn expected(protocol: ProtocolName, servers: &[Server], processes: usize) -> Vec<Self> {
        let store_only = match protocol {
            ProtocolName::Eddyline => Self::store_only(),
            ProtocolName::Predecessor => Vec::new(),
        };
        let frozen = (processes > 1).then_some(Self::Frozen);
        let store_only = store_only.into_iter().chain(frozen);
        let decisions = FilterKind::ALL.map(Self::Decision);
        let plain = [
            Self::DecisionOfMany,
            Self::PrivateDecision,
            Self::Conflict,
            Self::Abandoned,
            Self::Unconditional,
            Self::UnconditionalMany,
        ];
        let inserts = Isolation::ALL
            .into_iter()
            .flat_map(|isolation| Form::ALL.map(|form| Self::Insert(isolation, form)));
        let tails = TailMethod::ALL
            .into_iter()
            .flat_map(|method| servers.iter().map(move |&server| Self::Tail(method, server)));
        decisions.into_iter().chain(store_only).chain(plain).chain(inserts).chain(tails).collect()
    }

    /// Returns the kinds that only the store supports.
    fn store_only() -> Vec<Self> {
        let single_store = InterveningWrite::ALL
            .into_iter()
            .flat_map(|it| [Self::SingleStore(it, false), Self::SingleStore(it, true)]);
        let others = [Self::OnEverything, Self::FreshStore, Self::Import, Self::RepeatedImport];
        Ending::ALL.map(Self::StoreDecision).into_iter().chain(others).chain(single_store).collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decision(filter) => write!(f, "decisions by {}", filter.name()),
            Self::DecisionOfMany => f.write_str("decisions of several events"),
            Self::StoreDecision(ending) => {
                write!(f, "decisions by Store::decide, {}", ending.name())
            }
            Self::PrivateDecision => f.write_str("decisions on private boundaries"),
            Self::Conflict => f.write_str("conflicts"),
            Self::Abandoned => f.write_str("abandoned appends"),
            Self::Unconditional => f.write_str("unconditional appends of one event"),
            Self::UnconditionalMany => f.write_str("unconditional appends of several events"),
            Self::OnEverything => f.write_str("appends and conflicts on the whole log"),
            Self::SingleStore(write, is_conflict) => {
                let ending = if *is_conflict { "conflicts" } else { "decisions" };
                write!(f, "{ending} in the single-store log, after {}", write.name())
            }
            Self::FreshStore => f.write_str("decisions by newly connected stores"),
            Self::Frozen => f.write_str("stopped worker processes"),
            Self::Import => f.write_str("imports"),
            Self::RepeatedImport => f.write_str("repeated imports"),
            Self::Insert(isolation, form) => {
                write!(f, "{} inserts, {}", isolation.sql().to_lowercase(), form.name())
            }
            Self::Tail(method, server) => write!(f, "{} reads of the {server}", method.name()),
        }
    }
}
