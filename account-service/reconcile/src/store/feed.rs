//! Rows read ahead, each kind by a connection of its own, so that the database works while what
//! it sent before is checked. A bounded number of them waits.

use super::copy::{self, Fields};
use futures_util::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Error, PgConnection};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Pieces that wait for whoever reads.
const PIECES: usize = 4;
/// Most rows of a piece.
const PIECE: usize = 4_096;

/// What takes a row apart, beside the batch that it names.
type Parse<T> = fn(&mut Fields<'_>) -> sqlx::Result<(Option<Uuid>, T)>;
type Sender<T> = mpsc::Sender<sqlx::Result<Option<T>>>;

/// Where rows that name a batch stand in their order: those that name none come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    nowhere: bool,
    batch: Uuid,
}

impl Place {
    /// The place of a batch, or of none.
    pub fn of(batch: Option<Uuid>) -> Self {
        Self {
            nowhere: batch.is_none(),
            batch: batch.unwrap_or_default(),
        }
    }

    /// The batch.
    pub fn batch(self) -> Option<Uuid> {
        (!self.nowhere).then_some(self.batch)
    }
}

/// Rows on their way. Ends only when whoever sends says so: what stopped half-way is an error.
#[derive(Debug)]
pub struct Feed<T> {
    receiver: mpsc::Receiver<sqlx::Result<Option<T>>>,
    ended: bool,
}

impl<T> Feed<T> {
    fn of(receiver: mpsc::Receiver<sqlx::Result<Option<T>>>) -> Self {
        Self {
            receiver,
            ended: false,
        }
    }

    /// The next one; `None` after the last.
    pub async fn next(&mut self) -> sqlx::Result<Option<T>> {
        if self.ended {
            return Ok(None);
        }
        let next = self.receiver.recv().await.ok_or(Error::WorkerCrashed)??;
        self.ended = next.is_none();
        Ok(next)
    }
}

/// The rows of a query, one by one.
pub fn rows(mut connection: PgConnection, query: &'static str) -> Feed<PgRow> {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let mut rows = sqlx::query(query).fetch(&mut connection);
        loop {
            let next = rows.try_next().await;
            let more = matches!(next, Ok(Some(_)));
            if sender.send(next).await.is_err() || !more {
                break;
            }
        }
        drop(rows);
        // All was read; whether the server hears of it changes nothing.
        let _ = connection.close().await;
    });
    Feed::of(receiver)
}

/// Some of the rows that name the same batch.
#[derive(Debug)]
struct Piece<T> {
    place: Place,
    rows: Vec<T>,
}

/// Rows in the order of the batches that they name.
#[derive(Debug)]
pub struct Groups<T> {
    feed: Feed<Piece<T>>,
    next: Option<Piece<T>>,
}

/// The rows of a query that is sorted by batch, NULL last.
pub fn groups<T: Send + 'static>(
    mut connection: PgConnection,
    query: &'static str,
    parse: Parse<T>,
) -> Groups<T> {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let last = match pieces(&mut connection, query, parse, &sender).await {
            Ok(piece) => vec![Ok(piece), Ok(None)],
            Err(error) => vec![Err(error)],
        };
        for last in last {
            // Nobody may be there to hear it.
            let _ = sender.send(last).await;
        }
        let _ = connection.close().await;
    });
    Groups {
        feed: Feed::of(receiver),
        next: None,
    }
}

/// Sends all pieces but the last one.
async fn pieces<T: Send>(
    connection: &mut PgConnection,
    query: &'static str,
    parse: Parse<T>,
    sender: &Sender<Piece<T>>,
) -> sqlx::Result<Option<Piece<T>>> {
    let mut rows = copy::rows(connection, query, parse).await?;
    let mut piece: Option<Piece<T>> = None;
    while let Some((batch, row)) = rows.try_next().await? {
        let place = Place::of(batch);
        if let Some(same) = piece.as_mut().filter(|piece| piece.place == place)
            && same.rows.len() < PIECE
        {
            same.rows.push(row);
            continue;
        }
        let rows = vec![row];
        let full = piece.replace(Piece { place, rows });
        if full.is_some() && sender.send(Ok(full)).await.is_err() {
            break;
        }
    }
    Ok(piece)
}

impl<T> Groups<T> {
    /// Where the next rows stand; `None` after the last.
    pub async fn place(&mut self) -> sqlx::Result<Option<Place>> {
        if self.next.is_none() {
            self.next = self.feed.next().await?;
        }
        Ok(self.next.as_ref().map(|piece| piece.place))
    }

    /// Some of the rows of a place, if those come next; `None` when there are no more of them.
    pub async fn piece(&mut self, place: Place) -> sqlx::Result<Option<Vec<T>>> {
        if self.place().await? != Some(place) {
            return Ok(None);
        }
        Ok(self.next.take().map(|piece| piece.rows))
    }

    /// All rows of a place, if those come next.
    pub async fn all(&mut self, place: Place) -> sqlx::Result<Vec<T>> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece(place).await? {
            if all.is_empty() {
                all = piece;
            } else {
                all.extend(piece);
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups_of(pieces: Vec<sqlx::Result<Option<Piece<u8>>>>) -> Groups<u8> {
        let (sender, receiver) = mpsc::channel(8);
        for piece in pieces {
            sender.try_send(piece).unwrap();
        }
        Groups {
            feed: Feed::of(receiver),
            next: None,
        }
    }

    fn piece(batch: Option<u128>, rows: &[u8]) -> sqlx::Result<Option<Piece<u8>>> {
        Ok(Some(Piece {
            place: Place::of(batch.map(Uuid::from_u128)),
            rows: rows.to_vec(),
        }))
    }

    #[tokio::test]
    async fn rows_of_a_place_come_together_and_only_in_their_turn() {
        let (one, two) = (Place::of(Some(Uuid::from_u128(1))), Place::of(None));
        assert!(one < two);
        let mut groups = groups_of(vec![
            piece(Some(1), &[1, 2]),
            piece(Some(1), &[3]),
            piece(None, &[4]),
            Ok(None),
        ]);
        assert!(groups.all(two).await.unwrap().is_empty());
        assert_eq!(groups.all(one).await.unwrap(), [1, 2, 3]);
        assert_eq!(groups.place().await.unwrap(), Some(two));
        assert_eq!(groups.all(two).await.unwrap(), [4]);
        assert_eq!(groups.place().await.unwrap(), None);
        assert_eq!(groups.place().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_stops_half_way_is_an_error_and_not_the_end() {
        let mut groups = groups_of(vec![piece(Some(1), &[1])]);
        let one = Place::of(Some(Uuid::from_u128(1)));
        assert!(groups.all(one).await.is_err());
    }
}
