//! Rows that come as `COPY … TO STDOUT` in binary form. Millions of them cost a fraction of what
//! they cost as the answer of a query, and what is not needed is never taken apart.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use hub_core::Amount;
use runtime::pg::decode_numeric;
use sqlx::{Error, PgConnection};
use uuid::Uuid;

/// What begins the first row: a signature, flags, and the length of an extension.
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands for NULL where a length is expected, and for the end where a count is.
const NONE: i32 = -1;

/// The fields of a row, in order.
#[derive(Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a message; `None` when it holds no row.
    fn of(message: &'a [u8]) -> sqlx::Result<Option<Self>> {
        let mut fields = Self(message.strip_prefix(HEADER.as_slice()).unwrap_or(message));
        if fields.0.is_empty() {
            return Ok(None);
        }
        let count = i16::from_be_bytes(fields.take()?);
        Ok((i32::from(count) != NONE).then_some(fields))
    }

    fn take<const N: usize>(&mut self) -> sqlx::Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// The next field.
    pub fn bytes(&mut self) -> sqlx::Result<Option<&'a [u8]>> {
        let length = i32::from_be_bytes(self.take()?);
        if length == NONE {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| cut_short())?;
        let (field, rest) = self.0.split_at_checked(length).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(Some(field))
    }

    fn fixed<const N: usize>(&mut self) -> sqlx::Result<Option<[u8; N]>> {
        let field = self.bytes()?;
        field
            .map(|bytes| bytes.try_into().map_err(|_| cut_short()))
            .transpose()
    }

    /// The next field, a `uuid`.
    pub fn uuid(&mut self) -> sqlx::Result<Option<Uuid>> {
        Ok(self.fixed()?.map(Uuid::from_bytes))
    }

    /// The next field, a `smallint`.
    pub fn small(&mut self) -> sqlx::Result<Option<i16>> {
        Ok(self.fixed()?.map(i16::from_be_bytes))
    }

    /// The next field, an `int`.
    pub fn int(&mut self) -> sqlx::Result<Option<i32>> {
        Ok(self.fixed()?.map(i32::from_be_bytes))
    }

    /// The next field, a `bigint`.
    pub fn big(&mut self) -> sqlx::Result<Option<i64>> {
        Ok(self.fixed()?.map(i64::from_be_bytes))
    }

    /// The next field, a `numeric` of minor units.
    pub fn amount(&mut self) -> sqlx::Result<Option<Amount>> {
        let field = self.bytes()?;
        field
            .map(|bytes| decode_numeric(bytes).map_err(Error::Decode))
            .transpose()
    }
}

fn cut_short() -> Error {
    Error::Protocol("a copied row is not of its columns".to_owned())
}

/// A field that may not be NULL.
pub fn there<T>(field: Option<T>) -> sqlx::Result<T> {
    field.ok_or_else(|| Error::Protocol("a copied row has NULL where it can't".to_owned()))
}

/// The rows of a query without parameters.
pub async fn rows<'c, T: Send + 'c>(
    connection: &'c mut PgConnection,
    query: &'static str,
    parse: fn(&mut Fields<'_>) -> sqlx::Result<T>,
) -> sqlx::Result<BoxStream<'c, sqlx::Result<T>>> {
    let copy = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
    let messages = connection.copy_out_raw(&copy).await?;
    let parsed = move |message: &[u8]| match Fields::of(message)? {
        Some(mut fields) => parse(&mut fields).map(Some),
        None => Ok(None),
    };
    let rows = messages.filter_map(move |message| {
        let row = message.and_then(|message| parsed(&message)).transpose();
        std::future::ready(row)
    });
    Ok(rows.boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_nulls_and_the_end_are_told_apart() {
        let mut message = HEADER.to_vec();
        message.extend([0, 3]);
        message.extend([0, 0, 0, 2, 0, 7]);
        message.extend([0xff; 4]);
        message.extend([0, 0, 0, 10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 42]);
        let mut fields = Fields::of(&message).unwrap().unwrap();
        assert_eq!(fields.small().unwrap(), Some(7));
        assert_eq!(fields.big().unwrap(), None);
        assert_eq!(fields.amount().unwrap(), Some(Amount::new(42)));
        assert!(fields.bytes().is_err());
        assert!(Fields::of(&[0xff, 0xff]).unwrap().is_none());
        assert!(Fields::of(HEADER).unwrap().is_none());
    }

    #[test]
    fn a_field_of_another_length_is_refused() {
        let mut fields = Fields(&[0, 0, 0, 3, 1, 2, 3]);
        assert!(fields.big().is_err());
        let mut fields = Fields(&[0, 0, 0, 9, 1]);
        assert!(fields.bytes().is_err());
    }
}
