use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde_json::value::RawValue;

use super::node::Node;

/// An object that a payload must contain, as `jsonb`'s `@>` defines it. An empty one is contained
/// in each payload.
///
/// `@>` lets an array contain a scalar, but only at the top level of a value, and a payload is an
/// object there. Within an object a scalar contains an equal scalar and nothing else.
#[derive(Clone, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Containment(BTreeMap<String, Node>);

/// The fields of a JSON object, with their values as JSON text. The last one of equal keys counts,
/// as in `jsonb`.
pub(super) type Fields<'a> = BTreeMap<String, &'a RawValue>;

impl Containment {
    /// Makes an object with one field.
    pub(super) fn of_field(key: String, node: Node) -> Self {
        Self(BTreeMap::from([(key, node)]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the object is empty or has one field, which is a scalar.
    pub(super) fn is_scalar_field(&self) -> bool {
        self.0.len() < 2 && self.0.values().all(Node::is_scalar)
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(key, node)| (key.as_str(), node))
    }

    /// Returns the number of scalars at any depth.
    pub(super) fn scalar_count(&self) -> usize {
        self.0.values().map(Node::scalar_count).sum()
    }

    /// Returns the object that a payload must contain to contain both.
    ///
    /// # Errors
    ///
    /// No payload can contain both. The error names the key with different values.
    pub(super) fn merge(mut self, other: Self) -> Result<Self, String> {
        for (key, node) in other.0 {
            match self.0.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(node);
                }
                Entry::Occupied(mut entry) => {
                    let merged = match (entry.get(), node) {
                        (Node::Array(one), Node::Array(other)) => Node::Array(one.merge(&other)),
                        (Node::Object(one), Node::Object(other)) => {
                            Node::Object(one.clone().merge(other)?)
                        }
                        (one, other) if *one == other => continue,
                        _ => {
                            let key = entry.key();
                            return Err(format!(
                                "predicates require different values under {key:?}"
                            ));
                        }
                    };
                    entry.insert(merged);
                }
            }
        }
        Ok(self)
    }

    /// Returns whether each object that contains `other` contains this one as well.
    pub(super) fn is_implied_by(&self, other: &Self) -> bool {
        self.0
            .iter()
            .all(|(key, part)| other.0.get(key).is_some_and(|whole| part.is_implied_by(whole)))
    }

    /// Returns the path of each scalar, with the scalar at its end.
    pub(super) fn leaf_paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.push_leaf_paths(&mut String::new(), &mut paths);
        paths
    }

    pub(super) fn push_leaf_paths(&self, prefix: &mut String, paths: &mut Vec<String>) {
        let length = prefix.len();
        for (key, node) in &self.0 {
            prefix.push('.');
            push_quoted(key, prefix);
            node.push_leaf_paths(prefix, paths);
            prefix.truncate(length);
        }
    }

    /// Returns whether a JSON object contains this one.
    pub(super) fn is_contained_in(&self, object: &str) -> bool {
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(object) else {
            return false;
        };
        self.0.iter().all(|(key, node)| {
            fields.get(key).is_some_and(|value| node.is_contained_in(value.get()))
        })
    }

    /// Returns the JSON object.
    pub(super) fn to_json(&self) -> String {
        let mut json = String::new();
        self.push_json(&mut json);
        json
    }

    /// Appends the JSON object to a text.
    pub(super) fn push_json(&self, json: &mut String) {
        json.push('{');
        for (index, (key, node)) in self.0.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            push_quoted(key, json);
            json.push(':');
            node.push_json(json);
        }
        json.push('}');
    }
}

impl FromIterator<(String, Node)> for Containment {
    fn from_iter<I: IntoIterator<Item = (String, Node)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

/// Shows the keys. Values are left out, since they may be personal data.
impl fmt::Debug for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Appends a string to a JSON text.
pub(super) fn push_quoted(string: &str, json: &mut String) {
    let needs_escape = |byte| matches!(byte, 0..=0x1f | b'"' | b'\\');
    if string.bytes().any(needs_escape) {
        json.push_str(&serde_json::to_string(string).expect("a string is JSON"));
    } else {
        json.push('"');
        json.push_str(string);
        json.push('"');
    }
}

/// Checks a key or a string of a predicate. `what` names it in the error.
pub(super) fn check_text(what: &str, text: &str) -> Result<(), String> {
    match text {
        "" => Err(format!("has an empty {what}")),
        nul if nul.contains('\0') => {
            Err(format!("has a {what} with U+0000, which PostgreSQL cannot store"))
        }
        _ => Ok(()),
    }
}
