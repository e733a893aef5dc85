use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use super::node::Node;

/// What an object must hold, as `jsonb`'s `@>` defines it.
///
/// `@>` lets an array contain a scalar, but only at the top level of a value, which in a payload is
/// an object. Within an object a scalar holds an equal scalar and nothing else.
#[derive(Clone, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Containment(BTreeMap<String, Node>);

/// A JSON object, decoded one level deep. Of equal keys the last counts, as it does in `jsonb`.
pub(super) type Level<'a> = BTreeMap<String, &'a RawValue>;

impl Containment {
    pub(crate) fn new(key: String, node: Node) -> Result<Self, String> {
        check_text("key", &key)?;
        Ok(Self(BTreeMap::from([(key, node)])))
    }

    /// Demands nothing: every payload holds it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Demands one scalar at the top level, or nothing.
    pub(super) fn is_single(&self) -> bool {
        self.0.len() < 2 && self.0.values().all(Node::is_scalar)
    }

    /// Returns what is demanded, by the key that it is to be found under.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(key, node)| (key.as_str(), node))
    }

    /// Returns how many scalars are demanded.
    pub(super) fn scalars(&self) -> usize {
        self.0.values().map(Node::scalars).sum()
    }

    /// Demands what both demand, or names the key under which they exclude each other.
    pub(crate) fn merge(&self, other: &Self) -> Result<Self, String> {
        let mut merged = self.clone();
        for (key, node) in &other.0 {
            let both = match (merged.0.get(key), node) {
                (None, _) => node.clone(),
                (Some(Node::Array(one)), Node::Array(other)) => Node::Array(one.merge(other)),
                (Some(Node::Object(one)), Node::Object(other)) => Node::Object(one.merge(other)?),
                (Some(one), other) if one == other => continue,
                _ => return Err(format!("predicates demand different values under {key:?}")),
            };
            merged.0.insert(key.clone(), both);
        }
        Ok(merged)
    }

    /// Returns whether each object that holds `other` holds this as well.
    pub(crate) fn is_part_of(&self, other: &Self) -> bool {
        self.0
            .iter()
            .all(|(key, part)| other.0.get(key).is_some_and(|whole| part.is_part_of(whole)))
    }

    /// Returns a name for each scalar demanded, with its path, which begins with the one given.
    pub(super) fn leaves(&self, path: &str) -> Vec<String> {
        let leaves =
            |(key, node): (&String, &Node)| node.leaves(&format!("{path}.{}", quoted(key)));
        self.0.iter().flat_map(leaves).collect()
    }

    /// Returns whether a JSON object holds this.
    pub(crate) fn is_held_by(&self, object: &str) -> bool {
        let Ok(level) = serde_json::from_str::<Level<'_>>(object) else {
            return false;
        };
        self.0
            .iter()
            .all(|(key, node)| level.get(key).is_some_and(|value| node.is_held_by(value.get())))
    }

    /// Renders the JSON object that `@>` takes.
    pub(crate) fn to_json(&self) -> String {
        let fields: Vec<_> = self
            .0
            .iter()
            .map(|(key, node)| format!("{}:{}", quoted(key), node.to_json()))
            .collect();
        format!("{{{}}}", fields.join(","))
    }
}

impl FromIterator<(String, Node)> for Containment {
    fn from_iter<I: IntoIterator<Item = (String, Node)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

/// Shows keys; values may be personal and are left out.
impl fmt::Debug for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Renders a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

pub(super) fn check_text(what: &str, text: &str) -> Result<(), String> {
    match text {
        "" => Err(format!("has an empty {what}")),
        nul if nul.contains('\0') => {
            Err(format!("has a {what} that holds U+0000, which PostgreSQL cannot store"))
        }
        _ => Ok(()),
    }
}
