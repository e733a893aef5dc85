use serde::Serialize;

use super::containment::{Containment, Level, check_text, quoted};
use super::elements::Elements;
use crate::json::{self, Decimal};
use crate::limits::MAX_FILTER_TERMS;

/// A value that a payload must hold under a key or in an array.
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
    pub(crate) fn from_value(value: &impl Serialize) -> Result<Self, String> {
        let text = json::to_text(value)?;
        // A string in which nothing is escaped is what most values are.
        if let Some(string) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'))
            && !string.contains('\\')
        {
            check_text("string", string)?;
            return Ok(Self::String(string.to_owned()));
        }
        json::check_object(&format!("{{\"\":{text}}}"))?;
        Self::from_json(&text, &mut { MAX_FILTER_TERMS })
    }

    /// Reads JSON that holds at most so many values as are left.
    fn from_json(text: &str, left: &mut usize) -> Result<Self, String> {
        let invalid = |fault: serde_json::Error| format!("is not valid JSON: {fault}");
        *left = left
            .checked_sub(1)
            .ok_or_else(|| format!("holds more than {MAX_FILTER_TERMS} values"))?;
        match text.as_bytes().first() {
            Some(b'{') => {
                let level: Level<'_> = serde_json::from_str(text).map_err(invalid)?;
                if level.is_empty() {
                    return Err("holds an empty object, which would match any object".to_owned());
                }
                let fields = level.into_iter().map(|(key, value)| {
                    check_text("key", &key)?;
                    Ok((key, Self::from_json(value.get(), left)?))
                });
                Ok(Self::Object(fields.collect::<Result<_, String>>()?))
            }
            Some(b'[') => {
                let values: Vec<&serde_json::value::RawValue> =
                    serde_json::from_str(text).map_err(invalid)?;
                if values.is_empty() {
                    return Err("holds an empty array, which would match any array".to_owned());
                }
                let elements = values.iter().map(|value| Self::from_json(value.get(), left));
                Ok(Self::Array(Elements::new(elements.collect::<Result<_, _>>()?)))
            }
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

    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// Returns how many scalars are demanded.
    pub(super) fn scalars(&self) -> usize {
        match self {
            Self::Array(elements) => elements.iter().map(Self::scalars).sum(),
            Self::Object(object) => object.scalars(),
            _ => 1,
        }
    }

    /// Returns whether each value that holds `other` holds this as well.
    pub(super) fn is_part_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Array(part), Self::Array(whole)) => part.is_part_of(whole),
            (Self::Object(part), Self::Object(whole)) => part.is_part_of(whole),
            (part, whole) => part == whole,
        }
    }

    /// Returns a name for each scalar demanded, with its path, which begins with the one given.
    pub(super) fn leaves(&self, path: &str) -> Vec<String> {
        match self {
            Self::Array(elements) => {
                let path = format!("{path}[]");
                elements.iter().flat_map(|one| one.leaves(&path)).collect()
            }
            Self::Object(object) => object.leaves(path),
            scalar => vec![format!("{path}:{}", scalar.to_json())],
        }
    }

    /// Returns whether a JSON value holds this.
    pub(super) fn is_held_by(&self, value: &str) -> bool {
        match self {
            Self::Array(elements) => value.starts_with('[') && elements.is_held_by(value),
            Self::Bool(true) => value == "true",
            Self::Bool(false) => value == "false",
            Self::Null => value == "null",
            Self::Number(number) => Decimal::parse(value).as_ref() == Some(number),
            Self::Object(object) => value.starts_with('{') && object.is_held_by(value),
            Self::String(string) => is_string(value, string),
        }
    }

    pub(super) fn to_json(&self) -> String {
        match self {
            Self::Array(elements) => elements.to_json(),
            Self::Bool(value) => value.to_string(),
            Self::Null => "null".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Object(object) => object.to_json(),
            Self::String(string) => quoted(string),
        }
    }
}

/// Returns whether a JSON value is this string.
fn is_string(value: &str, string: &str) -> bool {
    let spelled = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    spelled.is_some_and(|spelled| match spelled.contains('\\') {
        true => serde_json::from_str::<String>(value).is_ok_and(|value| value == string),
        false => spelled == string,
    })
}
