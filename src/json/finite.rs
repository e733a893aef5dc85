//! A look for numbers that JSON does not have.
//!
//! `serde_json` writes NaN and the infinities as null. By its text alone such a null cannot be told
//! from one that was meant, so the value is walked through once more.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

/// Returns whether no float in the value is NaN or an infinity.
pub(super) fn is_finite(value: &impl Serialize) -> bool {
    // What else is wrong with a value is for the serializer to tell that writes it.
    !matches!(value.serialize(Walk), Err(EncodeFault::NotFinite))
}

#[derive(Debug)]
enum EncodeFault {
    NotFinite,
    Other,
}

impl fmt::Display for EncodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not to be serialised")
    }
}

impl std::error::Error for EncodeFault {}

impl ser::Error for EncodeFault {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }
}

/// A serializer that writes nothing.
#[derive(Clone, Copy)]
struct Walk;

type Walked = Result<(), EncodeFault>;

fn check(is_finite: bool) -> Walked {
    if is_finite { Ok(()) } else { Err(EncodeFault::NotFinite) }
}

macro_rules! pass {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _: $type) -> Walked { Ok(()) })*
    };
}

impl Serializer for Walk {
    type Ok = ();
    type Error = EncodeFault;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    pass! {
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

    fn serialize_f32(self, value: f32) -> Walked {
        check(value.is_finite())
    }

    fn serialize_f64(self, value: f64) -> Walked {
        check(value.is_finite())
    }

    fn serialize_none(self) -> Walked {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Walked {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Walked {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Walked {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Walked {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Walked {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, EncodeFault> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, EncodeFault> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, EncodeFault> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, EncodeFault> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, EncodeFault> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, EncodeFault> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, EncodeFault> {
        Ok(self)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Walked {
        Ok(())
    }
}

macro_rules! walk {
    ($($compound:ident: $method:ident($($key:ty)?)),* $(,)?) => {
        $(impl ser::$compound for Walk {
            type Ok = ();
            type Error = EncodeFault;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $key,)? value: &T) -> Walked {
                value.serialize(*self)
            }

            fn end(self) -> Walked {
                Ok(())
            }
        })*
    };
}

walk! {
    SerializeSeq: serialize_element(),
    SerializeStruct: serialize_field(&'static str),
    SerializeStructVariant: serialize_field(&'static str),
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(),
}

impl ser::SerializeMap for Walk {
    type Ok = ();
    type Error = EncodeFault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Walked {
        key.serialize(*self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Walked {
        value.serialize(*self)
    }

    fn end(self) -> Walked {
        Ok(())
    }
}
