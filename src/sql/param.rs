use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::error::BoxError;
use crate::event::EARLIEST;

/// A statement's text and the values of its parameters, `$1` first.
pub(crate) struct Statement<'a> {
    pub(crate) text: String,
    pub(crate) params: Vec<Param<'a>>,
}

impl Statement<'_> {
    /// Returns the parameters with their types, as a statement that is not prepared needs them.
    pub(crate) fn typed_params(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.params.iter().map(|param| (param as &(dyn ToSql + Sync), param.sql_type())).collect()
    }
}

/// A value bound to a parameter.
#[derive(Debug)]
pub(crate) enum Param<'a> {
    BigInt(i64),
    BigInts(Vec<i64>),
    Jsonbs(Vec<&'a str>),
    /// An absent value of a type.
    Null(Type),
    NullableBigInts(Vec<Option<i64>>),
    NullableJsonbs(Vec<Option<&'a str>>),
    NullableTexts(Vec<Option<&'a str>>),
    NullableTimes(Vec<Option<Timestamp>>),
    Text(&'a str),
    Texts(Vec<&'a str>),
    Time(Timestamp),
    Times(Vec<Timestamp>),
    Uuids(Vec<Uuid>),
}

impl Param<'_> {
    fn sql_type(&self) -> Type {
        match self {
            Self::BigInt(_) => Type::INT8,
            Self::BigInts(_) | Self::NullableBigInts(_) => Type::INT8_ARRAY,
            Self::Jsonbs(_) | Self::NullableJsonbs(_) => Type::JSONB_ARRAY,
            Self::Null(ty) => ty.clone(),
            Self::Text(_) => Type::TEXT,
            Self::NullableTexts(_) | Self::Texts(_) => Type::TEXT_ARRAY,
            Self::Time(_) => Type::TIMESTAMPTZ,
            Self::NullableTimes(_) | Self::Times(_) => Type::TIMESTAMPTZ_ARRAY,
            Self::Uuids(_) => Type::UUID_ARRAY,
        }
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        match self {
            Self::BigInt(number) => number.to_sql(ty, out),
            Self::BigInts(numbers) => numbers.to_sql(ty, out),
            Self::Jsonbs(texts) => {
                texts.iter().map(|text| Jsonb(text)).collect::<Vec<_>>().to_sql(ty, out)
            }
            Self::Null(_) => Ok(IsNull::Yes),
            Self::NullableBigInts(numbers) => numbers.to_sql(ty, out),
            Self::NullableJsonbs(texts) => {
                texts.iter().map(|text| text.map(Jsonb)).collect::<Vec<_>>().to_sql(ty, out)
            }
            Self::NullableTexts(texts) => texts.to_sql(ty, out),
            Self::NullableTimes(times) => {
                times.iter().map(|time| time.map(Bound)).collect::<Vec<_>>().to_sql(ty, out)
            }
            Self::Text(text) => text.to_sql(ty, out),
            Self::Texts(texts) => texts.to_sql(ty, out),
            Self::Time(time) => Bound(*time).to_sql(ty, out),
            Self::Times(times) => {
                times.iter().copied().map(Time).collect::<Vec<_>>().to_sql(ty, out)
            }
            Self::Uuids(uuids) => uuids.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// `timestamptz` within jiff's calendar: microseconds since the year 2000.
#[derive(Debug)]
pub(super) struct Time(pub(super) Timestamp);

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
        // The ends of the range stand for the infinities, and jiff's calendar ends before them.
        let microseconds = i64::from_sql(&Type::INT8, raw)?.saturating_add(MICROSECONDS_TO_2000);
        Ok(Self(Timestamp::from_microsecond(microseconds)?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

/// A bound of a period; before the server's calendar it is before every event.
#[derive(Debug)]
struct Bound(Timestamp);

impl ToSql for Bound {
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

/// `jsonb` in its binary form, a version and then text, taken as the text.
#[derive(Debug)]
pub(super) struct Jsonb<'a>(pub(super) &'a str);

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
