use serde::Serialize;
use serde_json::value::RawValue;

use super::containment::{Containment, Fields, check_text, push_quoted};
use super::elements::Elements;
use crate::json::{self, Decimal};
use crate::limits::MAX_FILTER_TERMS;

/// A JSON value that a payload must contain, under a key or in an array.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Node {
    Array(Elements),
    Bool(bool),
    Null,
    Number(Decimal),
    Object(Containment),
    String(String),
}

impl Node {
    /// Serializes a value and checks it, or returns why a predicate cannot have it.
    pub(super) fn from_value(value: &impl Serialize) -> Result<Self, String> {
        let text = json::to_text(value)?;
        // Most values are strings without escapes, which need no parser.
        if let Some(string) = without_quotes(&text)
            && !string.contains('\\')
        {
            check_text("string", string)?;
            return Ok(Self::String(string.to_owned()));
        }
        json::check_field(&text)?;
        Self::from_json(&text, &mut { MAX_FILTER_TERMS })
    }

    /// Decodes a JSON text with at most `left` values, and counts them off.
    fn from_json(text: &str, left: &mut usize) -> Result<Self, String> {
        *left = left
            .checked_sub(1)
            .ok_or_else(|| format!("holds more than {MAX_FILTER_TERMS} values"))?;
        match text.as_bytes().first() {
            Some(b'{') => Self::object_from_json(text, left),
            Some(b'[') => Self::array_from_json(text, left),
            Some(b'"') => {
                let string: String = serde_json::from_str(text).map_err(invalid)?;
                check_text("string", &string)?;
                Ok(Self::String(string))
            }
            Some(b't') => Ok(Self::Bool(true)),
            Some(b'f') => Ok(Self::Bool(false)),
            Some(b'n') => Ok(Self::Null),
            _ => Decimal::parse(text)
                .map(Self::Number)
                .ok_or_else(|| "is a number out of PostgreSQL's range".to_owned()),
        }
    }

    fn object_from_json(text: &str, left: &mut usize) -> Result<Self, String> {
        let fields: Fields<'_> = serde_json::from_str(text).map_err(invalid)?;
        if fields.is_empty() {
            return Err("holds an empty object, which would match any object".to_owned());
        }
        let fields = fields.into_iter().map(|(key, value)| {
            check_text("key", &key)?;
            Ok((key, Self::from_json(value.get(), left)?))
        });
        Ok(Self::Object(fields.collect::<Result<_, String>>()?))
    }

    fn array_from_json(text: &str, left: &mut usize) -> Result<Self, String> {
        let values: Vec<&RawValue> = serde_json::from_str(text).map_err(invalid)?;
        if values.is_empty() {
            return Err("holds an empty array, which would match any array".to_owned());
        }
        let elements = values.iter().map(|value| Self::from_json(value.get(), left));
        Ok(Self::Array(Elements::new(elements.collect::<Result<_, _>>()?)))
    }

    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// Returns the number of scalars at any depth.
    pub(super) fn scalar_count(&self) -> usize {
        match self {
            Self::Array(elements) => elements.iter().map(Self::scalar_count).sum(),
            Self::Object(object) => object.scalar_count(),
            _ => 1,
        }
    }

    /// Returns whether each value that contains `other` contains this one as well.
    pub(super) fn is_implied_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Array(part), Self::Array(whole)) => part.is_implied_by(whole),
            (Self::Object(part), Self::Object(whole)) => part.is_implied_by(whole),
            (part, whole) => part == whole,
        }
    }

    /// Returns the path of each scalar, with the scalar at its end.
    pub(super) fn leaf_paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.push_leaf_paths(&mut String::new(), &mut paths);
        paths
    }

    pub(super) fn push_leaf_paths(&self, prefix: &mut String, paths: &mut Vec<String>) {
        let length = prefix.len();
        match self {
            Self::Array(elements) => {
                prefix.push_str("[]");
                elements.iter().for_each(|one| one.push_leaf_paths(prefix, paths));
            }
            Self::Object(object) => object.push_leaf_paths(prefix, paths),
            scalar => {
                prefix.push(':');
                scalar.push_json(prefix);
                paths.push(prefix.clone());
            }
        }
        prefix.truncate(length);
    }

    /// Returns whether a JSON value contains this one.
    pub(super) fn is_contained_in(&self, value: &str) -> bool {
        match self {
            Self::Array(elements) => value.starts_with('[') && elements.is_contained_in(value),
            Self::Bool(true) => value == "true",
            Self::Bool(false) => value == "false",
            Self::Null => value == "null",
            Self::Number(number) => Decimal::parse(value).as_ref() == Some(number),
            Self::Object(object) => value.starts_with('{') && object.is_contained_in(value),
            Self::String(string) => is_string(value, string),
        }
    }

    /// Returns the JSON value.
    pub(super) fn to_json(&self) -> String {
        let mut json = String::new();
        self.push_json(&mut json);
        json
    }

    /// Appends the JSON value to a text.
    pub(super) fn push_json(&self, json: &mut String) {
        match self {
            Self::Array(elements) => elements.push_json(json),
            Self::Bool(true) => json.push_str("true"),
            Self::Bool(false) => json.push_str("false"),
            Self::Null => json.push_str("null"),
            Self::Number(number) => json.push_str(&number.to_string()),
            Self::Object(object) => object.push_json(json),
            Self::String(string) => push_quoted(string, json),
        }
    }
}

/// Returns whether a JSON value is this string.
fn is_string(value: &str, string: &str) -> bool {
    without_quotes(value).is_some_and(|literal| match literal.contains('\\') {
        true => serde_json::from_str::<String>(value).is_ok_and(|value| value == string),
        false => literal == string,
    })
}

/// Returns the literal between the quotes of a JSON string. Returns `None` for other values.
fn without_quotes(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

fn invalid(fault: serde_json::Error) -> String {
    format!("is not valid JSON: {fault}")
}
