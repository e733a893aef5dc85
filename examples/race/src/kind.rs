//! The kinds of work that make a race.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::boundary::FilterKind;
use crate::fact::{Ending, Form, Isolation, Server, Stranger, Way};
use crate::protocol::ProtocolName;

/// The kinds of work. A race in which one of them did not occur proves nothing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Kind {
    /// A decision was accepted.
    Decision(FilterKind),
    /// A decision of several events was accepted.
    DecisionOfMany,
    /// A decision that was left to the store ended.
    Left(Ending),
    /// A decision on a private boundary was accepted.
    PrivateDecision,
    /// An append was refused by its condition.
    Conflict,
    /// An append was dropped before it was answered.
    Abandoned,
    /// An event was appended without condition.
    Unconditional,
    /// Several events were appended without condition.
    UnconditionalMany,
    /// Something was appended, or refused, on the condition that nothing came in between.
    OnEverything,
    /// A decision in a single_store log was accepted, or refused if it says so, after this stranger's append.
    Calm(Stranger, bool),
    /// A decision was accepted that a store took which had just connected.
    FreshStore,
    /// A worker's process was stopped for a while.
    Frozen,
    /// Several events were imported.
    Import,
    /// An import that was given up half-way was run again.
    ImportAgain,
    /// Plain SQL inserted.
    Insert(Isolation, Form),
    /// A tailing reader was answered.
    Tail(Way, Server),
}

impl Kind {
    /// Lists the kinds that belong to a race of this protocol on these servers.
    pub fn expected(protocol: ProtocolName, servers: &[Server], processes: usize) -> Vec<Self> {
        let of_the_store = match protocol {
            ProtocolName::Eddyline => Self::of_the_store(),
            ProtocolName::Predecessor => Vec::new(),
        };
        let frozen = (processes > 1).then_some(Self::Frozen);
        let left = of_the_store.into_iter().chain(frozen);
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
        let tails = Way::ALL
            .into_iter()
            .flat_map(|way| servers.iter().map(move |&server| Self::Tail(way, server)));
        decisions.into_iter().chain(left).chain(plain).chain(inserts).chain(tails).collect()
    }

    /// Lists the kinds that only the store can do.
    fn of_the_store() -> Vec<Self> {
        let single_store =
            Stranger::ALL.into_iter().flat_map(|it| [Self::Calm(it, false), Self::Calm(it, true)]);
        let others = [Self::OnEverything, Self::FreshStore, Self::Import, Self::ImportAgain];
        Ending::ALL.map(Self::Left).into_iter().chain(others).chain(single_store).collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decision(filter) => write!(f, "decisions by {}", filter.name()),
            Self::DecisionOfMany => f.write_str("decisions of several events"),
            Self::Left(ending) => write!(f, "decisions left to the store, {}", ending.name()),
            Self::PrivateDecision => f.write_str("decisions on private boundaries"),
            Self::Conflict => f.write_str("conflicts"),
            Self::Abandoned => f.write_str("appends abandoned half-way"),
            Self::Unconditional => f.write_str("unconditional appends of one event"),
            Self::UnconditionalMany => f.write_str("unconditional appends of several events"),
            Self::OnEverything => f.write_str("appends and conflicts on everything"),
            Self::Calm(stranger, is_conflict) => {
                let ending = if *is_conflict { "conflicts" } else { "decisions" };
                write!(f, "{ending} in a single_store log, after {}", stranger.name())
            }
            Self::FreshStore => f.write_str("decisions of stores that had just connected"),
            Self::Frozen => f.write_str("workers stopped for a while"),
            Self::Import => f.write_str("imports"),
            Self::ImportAgain => f.write_str("imports run again"),
            Self::Insert(isolation, form) => {
                write!(f, "{} inserts, {}", isolation.sql().to_lowercase(), form.name())
            }
            Self::Tail(way, server) => write!(f, "{} reads of the {server}", way.name()),
        }
    }
}
