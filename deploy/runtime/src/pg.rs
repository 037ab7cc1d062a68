//! Our types as database columns: amounts as `numeric`, fixed bytes as `bytea`.

use hub_core::encoding::{decode_params, encode_params};
use hub_core::{Address, Amount, ChannelId, ChannelParams, Hash32, Signature};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgConnectOptions, PgHasArrayType, PgPool, PgPoolOptions, PgTypeInfo,
    PgValueFormat, PgValueRef,
};
use sqlx::{ConnectOptions as _, Connection as _, Decode, Encode, Postgres, Type};
use std::time::Duration;

/// How long a caller waits for a connection: longer means the pool is too small or the database
/// is gone, and a caller is better told so.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Unused for longer, a connection is asked whether it still is one.
const QUIET: Duration = Duration::from_millis(250);
/// Limits each connection sets for itself. No statement of ours comes near; what hangs this long
/// holds row locks that others wait for.
const SESSION_LIMITS: [(&str, &str); 3] = [
    ("statement_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "30s"),
    ("lock_timeout", "10s"),
];

/// A pool of connections to `url`, with the first one made, so that a wrong URL shows at start.
pub async fn connect(url: &str, max_connections: u32) -> sqlx::Result<PgPool> {
    connect_with(url, max_connections, &[]).await
}

/// As [`connect`], with server settings of the caller's for each connection.
pub async fn connect_with(
    url: &str,
    max_connections: u32,
    settings: &[(&str, &str)],
) -> sqlx::Result<PgPool> {
    let options: PgConnectOptions = url.parse()?;
    let options = options.options(settings.iter().copied());
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A connection belongs to the runtime of the thread that opened it, and ends with it: let
        // those opened at start live on, and not be replaced by some HTTP thread.
        .idle_timeout(None)
        .max_lifetime(None)
        // One that was used a moment ago is there; asking each time is a round trip for each
        // transaction.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > QUIET {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options.options(SESSION_LIMITS).disable_statement_logging())
        .await
}

/// An [`Amount`] in a `numeric` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgAmount(pub Amount);

/// Digits of Postgres' binary `numeric` count in this base.
const BASE: u128 = 10_000;
const SMALL_BASE: u64 = 10_000;
/// Four digits of it.
const FOUR_DIGITS: u128 = BASE.pow(4);
/// Sign field of a number that is not negative.
const POSITIVE: u16 = 0;

impl Type<Postgres> for PgAmount {
    fn type_info() -> PgTypeInfo {
        // numeric
        PgTypeInfo::with_oid(Oid(1700))
    }
}

impl PgHasArrayType for PgAmount {
    fn array_type_info() -> PgTypeInfo {
        // numeric[]
        PgTypeInfo::with_oid(Oid(1231))
    }
}

impl Encode<'_, Postgres> for PgAmount {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // u128 has 39 decimal digits: ten of base 10,000, and room for a last four of them.
        let mut digits = [0_i16; 12];
        let mut count = 0;
        let mut rest = self.0.units();
        // Four digits at a time: dividing 128 bits costs ten times as much as dividing 64.
        while rest > 0 {
            let mut low = u64::try_from(rest % FOUR_DIGITS)?;
            rest /= FOUR_DIGITS;
            for at in 0..4 {
                if low == 0 && rest == 0 {
                    break;
                }
                digits[count + at] = i16::try_from(low % SMALL_BASE)?;
                low /= SMALL_BASE;
            }
            count += 4;
        }
        while count > 0 && digits[count - 1] == 0 {
            count -= 1;
        }
        let weight = i16::try_from(count)?.saturating_sub(1).max(0);
        buffer.extend_from_slice(&i16::try_from(count)?.to_be_bytes());
        buffer.extend_from_slice(&weight.to_be_bytes());
        buffer.extend_from_slice(&POSITIVE.to_be_bytes());
        buffer.extend_from_slice(&0_i16.to_be_bytes());
        for digit in digits[..count].iter().rev() {
            buffer.extend_from_slice(&digit.to_be_bytes());
        }
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for PgAmount {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Text => Ok(Self(value.as_str()?.parse()?)),
            PgValueFormat::Binary => decode_numeric(value.as_bytes()?).map(Self),
        }
    }
}

/// Postgres' binary `numeric` as an amount.
///
/// # Errors
/// What is cut short, negative, not whole, not a number or above 128 bits.
pub fn decode_numeric(bytes: &[u8]) -> Result<Amount, BoxDynError> {
    let mut fields = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut next = || fields.next().ok_or("numeric is cut short");
    let (count, weight, sign, _scale) = (next()?, next()?, next()?, next()?);
    if sign != POSITIVE {
        return Err("numeric is negative or not a number".into());
    }
    let weight = weight as i16;
    let mut units = 0_u128;
    for at in 0..=i32::from(weight) {
        let digit = if at < i32::from(count) { next()? } else { 0 };
        units = units
            .checked_mul(BASE)
            .and_then(|units| units.checked_add(u128::from(digit)))
            .ok_or("numeric exceeds 128 bits")?;
    }
    let has_fraction = i32::from(count) > i32::from(weight) + 1;
    if has_fraction && count > 0 {
        return Err("numeric is not whole".into());
    }
    Ok(Amount::new(units))
}

/// Takes rows apart into a list for each column, all in one pass: what rows refer to lies all over
/// the memory, and to fetch it anew for every column costs more than everything else about it.
#[macro_export]
macro_rules! columns {
    ($rows:expr, $row:pat => { $($name:ident: $value:expr),+ $(,)? }) => {
        $(let mut $name = Vec::with_capacity($rows.len());)+
        for $row in $rows {
            $($name.push($value);)+
        }
    };
}

macro_rules! bytes_column {
    ($column:ident, $value:ident) => {
        #[doc = concat!("A [`", stringify!($value), "`] in a `bytea` column.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $column(pub $value);

        impl Type<Postgres> for $column {
            fn type_info() -> PgTypeInfo {
                <[u8] as Type<Postgres>>::type_info()
            }
        }

        impl PgHasArrayType for $column {
            fn array_type_info() -> PgTypeInfo {
                <&[u8] as PgHasArrayType>::array_type_info()
            }
        }

        impl Encode<'_, Postgres> for $column {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                <&[u8] as Encode<Postgres>>::encode_by_ref(&self.0.0.as_slice(), buffer)
            }
        }

        impl<'r> Decode<'r, Postgres> for $column {
            fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
                let bytes = <&[u8] as Decode<Postgres>>::decode(value)?;
                $value::from_slice(bytes)
                    .map(Self)
                    .ok_or_else(|| concat!("not a ", stringify!($value)).into())
            }
        }
    };
}

bytes_column!(PgHash, Hash32);
bytes_column!(PgChannelId, ChannelId);
bytes_column!(PgAddress, Address);
bytes_column!(PgSignature, Signature);

/// [`ChannelParams`] in a `bytea` column, in their stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgParams(pub ChannelParams);

impl Type<Postgres> for PgParams {
    fn type_info() -> PgTypeInfo {
        <[u8] as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for PgParams {
    fn array_type_info() -> PgTypeInfo {
        <&[u8] as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for PgParams {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <&[u8] as Encode<Postgres>>::encode_by_ref(&encode_params(&self.0).as_slice(), buffer)
    }
}

impl Decode<'_, Postgres> for PgParams {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let bytes = <&[u8] as Decode<Postgres>>::decode(value)?;
        Ok(Self(decode_params(bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(units: u128) -> Vec<u8> {
        let mut buffer = PgArgumentBuffer::default();
        let _ = PgAmount(Amount::new(units)).encode_by_ref(&mut buffer);
        buffer.to_vec()
    }

    #[test]
    fn amounts_round_trip_through_the_binary_form() {
        let mut cases = vec![
            0,
            1,
            9_999,
            10_000,
            10_001,
            99_990_000,
            u128::MAX,
            (1 << 96) - 1,
        ];
        cases.extend((0..39).map(|power| 10_u128.pow(power)));
        for units in cases {
            assert_eq!(decode_numeric(&encoded(units)).unwrap(), Amount::new(units));
        }
    }

    #[test]
    fn fractions_negatives_nan_and_values_over_128_bits_are_refused() {
        let field =
            |values: &[u16]| -> Vec<u8> { values.iter().flat_map(|v| v.to_be_bytes()).collect() };
        assert!(decode_numeric(&field(&[1, 0xffff, 0, 1, 5000])).is_err());
        assert!(decode_numeric(&field(&[2, 0, 0, 1, 1, 5000])).is_err());
        assert!(decode_numeric(&field(&[1, 0, 0x4000, 0, 1])).is_err());
        assert!(decode_numeric(&field(&[0, 0, 0xc000, 0])).is_err());
        assert!(decode_numeric(&field(&[1, 20, 0, 0, 1])).is_err());
        assert!(decode_numeric(&field(&[2, 0, 0])).is_err());
        // Postgres strips trailing zero digits: 10,000 is one digit of weight 1.
        assert_eq!(
            decode_numeric(&field(&[1, 1, 0, 0, 1])).unwrap(),
            Amount::new(10_000)
        );
    }
}
