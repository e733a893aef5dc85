use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::json::{self, Decimal};

/// What a payload must hold: `jsonb`'s `@>` for objects of scalars and objects.
#[derive(Clone, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Containment(BTreeMap<String, Node>);

#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Node {
    Bool(bool),
    Null,
    Number(Decimal),
    Object(Containment),
    String(String),
}

/// A JSON object, decoded one level deep. Of equal keys the last counts, as it does in `jsonb`.
type Level<'a> = BTreeMap<String, &'a RawValue>;

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
        self.0.len() < 2 && !self.0.values().any(|node| matches!(node, Node::Object(_)))
    }

    /// Returns whether a scalar is demanded, at any depth.
    pub(super) fn has_scalar(&self) -> bool {
        self.0.values().any(Node::has_scalar)
    }

    /// Returns what is demanded, by the key that it is to be found under.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(key, node)| (key.as_str(), node))
    }

    /// Demands what both demand, or names the key under which they exclude each other.
    pub(crate) fn merge(&self, other: &Self) -> Result<Self, String> {
        let mut merged = self.clone();
        for (key, node) in &other.0 {
            let both = match (merged.0.get(key), node) {
                (None, _) => node.clone(),
                (Some(Node::Object(one)), Node::Object(other)) => Node::Object(one.merge(other)?),
                (Some(one), other) if one == other => continue,
                _ => return Err(format!("predicates demand different values under {key:?}")),
            };
            merged.0.insert(key.clone(), both);
        }
        Ok(merged)
    }

    /// Returns whether whatever holds `other` holds this as well.
    pub(crate) fn is_part_of(&self, other: &Self) -> bool {
        self.0.iter().all(|(key, node)| match (node, other.0.get(key)) {
            (Node::Object(part), Some(Node::Object(whole))) => part.is_part_of(whole),
            (node, whole) => Some(node) == whole,
        })
    }

    /// Returns a name for each scalar demanded, with its path.
    pub(crate) fn leaf_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (key, node) in &self.0 {
            match node {
                Node::Object(object) => {
                    let inner = object.leaf_names().into_iter();
                    names.extend(inner.map(|name| format!("{}.{name}", quoted(key))));
                }
                scalar => names.push(format!("{}:{}", quoted(key), scalar.to_json())),
            }
        }
        names
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

impl Node {
    fn has_scalar(&self) -> bool {
        match self {
            Self::Object(object) => object.has_scalar(),
            Self::Bool(_) | Self::Null | Self::Number(_) | Self::String(_) => true,
        }
    }

    pub(crate) fn from_value(value: &impl Serialize) -> Result<Self, String> {
        let text = serde_json::to_string(value)
            .map_err(|fault| format!("cannot be serialised: {fault}"))?;
        // A string in which nothing is escaped is what most values are.
        if let Some(string) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'))
            && !string.contains('\\')
        {
            check_text("string", string)?;
            return Ok(Self::String(string.to_owned()));
        }
        json::check_object(&format!("{{\"\":{text}}}"))?;
        Self::from_json(&text)
    }

    fn from_json(text: &str) -> Result<Self, String> {
        let invalid = |fault: serde_json::Error| format!("is not valid JSON: {fault}");
        match text.as_bytes().first() {
            Some(b'{') => {
                let level: Level<'_> = serde_json::from_str(text).map_err(invalid)?;
                if level.is_empty() {
                    return Err("is an empty object, which would match any object".to_owned());
                }
                let mut object = Containment::default();
                for (key, value) in level {
                    check_text("key", &key)?;
                    object.0.insert(key, Self::from_json(value.get())?);
                }
                Ok(Self::Object(object))
            }
            Some(b'"') => {
                let string: String = serde_json::from_str(text).map_err(invalid)?;
                check_text("string", &string)?;
                Ok(Self::String(string))
            }
            Some(b'[') => Err("is an array, which a predicate cannot be".to_owned()),
            Some(b't') => Ok(Self::Bool(true)),
            Some(b'f') => Ok(Self::Bool(false)),
            Some(b'n') => Ok(Self::Null),
            _ => Decimal::parse(text)
                .map(Self::Number)
                .ok_or_else(|| "is a number out of PostgreSQL's range".to_owned()),
        }
    }

    fn is_held_by(&self, value: &str) -> bool {
        match self {
            Self::Bool(true) => value == "true",
            Self::Bool(false) => value == "false",
            Self::Null => value == "null",
            Self::Number(number) => Decimal::parse(value).as_ref() == Some(number),
            Self::Object(object) => value.starts_with('{') && object.is_held_by(value),
            Self::String(string) => {
                value.starts_with('"')
                    && serde_json::from_str::<String>(value).is_ok_and(|value| value == *string)
            }
        }
    }

    pub(super) fn to_json(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Null => "null".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Object(object) => object.to_json(),
            Self::String(string) => quoted(string),
        }
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

fn check_text(what: &str, text: &str) -> Result<(), String> {
    match text {
        "" => Err(format!("has an empty {what}")),
        nul if nul.contains('\0') => {
            Err(format!("has a {what} that holds U+0000, which PostgreSQL cannot store"))
        }
        _ => Ok(()),
    }
}
