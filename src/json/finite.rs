//! A check for NaN and infinities.
//!
//! `serde_json` writes them as null. The text does not show whether a null was such a number, so
//! the value is serialized once more, by a serializer that only checks its numbers.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

/// Returns whether no float in the value is NaN or an infinity.
pub(super) fn is_finite(value: &impl Serialize) -> bool {
    // serde_json reports all other errors.
    !matches!(value.serialize(FiniteCheck), Err(CheckError::NotFinite))
}

#[derive(Debug)]
enum CheckError {
    NotFinite,
    Other,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot be serialized")
    }
}

impl std::error::Error for CheckError {}

impl ser::Error for CheckError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }
}

/// A serializer that checks floats and writes nothing.
#[derive(Clone, Copy)]
struct FiniteCheck;

type CheckResult = Result<(), CheckError>;

fn check(is_finite: bool) -> CheckResult {
    if is_finite { Ok(()) } else { Err(CheckError::NotFinite) }
}

macro_rules! accept {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _: $type) -> CheckResult { Ok(()) })*
    };
}

impl Serializer for FiniteCheck {
    type Ok = ();
    type Error = CheckError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    accept! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_f32(self, value: f32) -> CheckResult {
        check(value.is_finite())
    }

    fn serialize_f64(self, value: f64) -> CheckResult {
        check(value.is_finite())
    }

    fn serialize_none(self) -> CheckResult {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> CheckResult {
        value.serialize(self)
    }

    fn serialize_unit(self) -> CheckResult {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> CheckResult {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> CheckResult {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> CheckResult {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, CheckError> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, CheckError> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, CheckError> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, CheckError> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, CheckError> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, CheckError> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, CheckError> {
        Ok(self)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> CheckResult {
        Ok(())
    }
}

macro_rules! check_compound {
    ($($compound:ident: $method:ident($($key:ty)?)),* $(,)?) => {
        $(impl ser::$compound for FiniteCheck {
            type Ok = ();
            type Error = CheckError;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $key,)? value: &T) -> CheckResult {
                value.serialize(*self)
            }

            fn end(self) -> CheckResult {
                Ok(())
            }
        })*
    };
}

check_compound! {
    SerializeSeq: serialize_element(),
    SerializeStruct: serialize_field(&'static str),
    SerializeStructVariant: serialize_field(&'static str),
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(),
}

impl ser::SerializeMap for FiniteCheck {
    type Ok = ();
    type Error = CheckError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> CheckResult {
        key.serialize(*self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> CheckResult {
        value.serialize(*self)
    }

    fn end(self) -> CheckResult {
        Ok(())
    }
}
