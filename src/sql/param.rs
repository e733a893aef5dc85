use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::error::BoxError;
use crate::event::EARLIEST;

/// The value of a parameter.
#[derive(Debug)]
pub(crate) enum Param<'a> {
    BigInt(i64),
    BigInts(Cow<'a, [i64]>),
    Jsonbs(Vec<Jsonb<'a>>),
    /// NULL of a type.
    Null(Type),
    NullableBigInts(Vec<Option<i64>>),
    NullableJsonbs(Vec<Option<Jsonb<'a>>>),
    NullableTexts(Vec<Option<&'a str>>),
    NullableTimeBounds(Vec<Option<TimeBound>>),
    Text(&'a str),
    Texts(Vec<&'a str>),
    TimeBound(TimeBound),
    Times(Vec<Time>),
    Uuid(Uuid),
    Uuids(Vec<Uuid>),
}

impl Param<'_> {
    pub(super) fn sql_type(&self) -> Type {
        match self {
            Self::BigInt(_) => Type::INT8,
            Self::BigInts(_) | Self::NullableBigInts(_) => Type::INT8_ARRAY,
            Self::Jsonbs(_) | Self::NullableJsonbs(_) => Type::JSONB_ARRAY,
            Self::Null(ty) => ty.clone(),
            Self::NullableTexts(_) | Self::Texts(_) => Type::TEXT_ARRAY,
            Self::NullableTimeBounds(_) | Self::Times(_) => Type::TIMESTAMPTZ_ARRAY,
            Self::Text(_) => Type::TEXT,
            Self::TimeBound(_) => Type::TIMESTAMPTZ,
            Self::Uuid(_) => Type::UUID,
            Self::Uuids(_) => Type::UUID_ARRAY,
        }
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        match self {
            Self::BigInt(number) => number.to_sql(ty, out),
            Self::BigInts(numbers) => numbers.as_ref().to_sql(ty, out),
            Self::Jsonbs(texts) => texts.to_sql(ty, out),
            Self::Null(_) => Ok(IsNull::Yes),
            Self::NullableBigInts(numbers) => numbers.to_sql(ty, out),
            Self::NullableJsonbs(texts) => texts.to_sql(ty, out),
            Self::NullableTexts(texts) => texts.to_sql(ty, out),
            Self::NullableTimeBounds(bounds) => bounds.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Texts(texts) => texts.to_sql(ty, out),
            Self::TimeBound(bound) => bound.to_sql(ty, out),
            Self::Times(times) => times.to_sql(ty, out),
            Self::Uuid(uuid) => uuid.to_sql(ty, out),
            Self::Uuids(uuids) => uuids.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A `timestamptz` in the range of jiff's calendar.
#[derive(Debug)]
pub(crate) struct Time(pub(super) Timestamp);

/// The binary form counts microseconds since the year 2000.
const MICROSECONDS_TO_2000: i64 = 946_684_800_000_000;

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        out.put_i64(self.0.as_microsecond() - MICROSECONDS_TO_2000);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Time {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        // The lowest and the highest integer are the infinities. Both lie outside of jiff's
        // calendar.
        let microseconds = i64::from_sql(&Type::INT8, raw)?.saturating_add(MICROSECONDS_TO_2000);
        Ok(Self(Timestamp::from_microsecond(microseconds)?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

/// A time that bounds a period, as a `timestamptz`. A time before the range of `timestamptz` is
/// sent as `-infinity`, since it is before every event.
#[derive(Debug)]
pub(crate) struct TimeBound(pub(super) Timestamp);

impl ToSql for TimeBound {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        if self.0 < EARLIEST {
            return i64::MIN.to_sql(&Type::INT8, out);
        }
        Time(self.0).to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

/// A `jsonb` as JSON text. The binary form is a version number before the text.
#[derive(Debug)]
pub(crate) struct Jsonb<'a>(pub(super) &'a str);

impl ToSql for Jsonb<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        out.put_u8(JSONB_VERSION);
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Jsonb<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        match raw.split_first() {
            Some((&JSONB_VERSION, text)) => Ok(Self(std::str::from_utf8(text)?)),
            _ => Err("unknown version of the binary form of jsonb".into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }
}

const JSONB_VERSION: u8 = 1;
