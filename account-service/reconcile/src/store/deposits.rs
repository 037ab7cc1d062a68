//! `account.deposits`: rows and operations.

use super::{Differing, differing};
use sqlx::PgConnection;
use time::OffsetDateTime;

/// Credited deposits whose operation is another, or none.
const UNLIKE_OPERATION: &str = "
    SELECT d.id::text AS key, concat('operation ', d.operation_id, ': kind=5 outcome=1 payee=', d.account_id, ' amount=', d.amount) AS expected,
           CASE WHEN o.id IS NULL THEN 'none'
                ELSE concat('kind=', o.kind, ' outcome=', o.outcome, ' payee=', o.payee, ' amount=', o.amount) END AS found
    FROM account.deposits d LEFT JOIN account.operations o ON o.id = d.operation_id
    WHERE d.status = 3 AND (d.operation_id IS NULL OR d.operation_id >= (SELECT journal_from FROM account.retention))
      AND (o.id IS NULL OR o.kind <> 5 OR o.outcome <> 1
       OR o.payee IS DISTINCT FROM d.account_id OR o.amount <> d.amount)
    ORDER BY d.id LIMIT $1";

/// Operations that credit no deposit.
const WITHOUT_DEPOSIT: &str = "
    SELECT o.id::text AS key, concat('a deposit of ', o.amount, ' that it credits') AS expected, 'none' AS found
    FROM account.operations o
    LEFT JOIN account.deposits d ON d.operation_id = o.id AND d.status = 3
    WHERE o.kind = 5 AND o.outcome = 1 AND d.id IS NULL
    ORDER BY o.id LIMIT $1";

/// Operations that credit several deposits.
const SEVERAL_DEPOSITS: &str = "
    SELECT d.operation_id::text AS key, 'one deposit' AS expected,
           concat(count(*), ' deposits: ', string_agg(d.id::text, ' ' ORDER BY d.id)) AS found
    FROM account.deposits d WHERE d.operation_id IS NOT NULL
    GROUP BY d.operation_id HAVING count(*) > 1
    ORDER BY 1 LIMIT $1";

/// The comparisons that the database makes by itself.
#[derive(Debug, Clone, Copy)]
pub enum Difference {
    /// Credited by another operation, or none.
    UnlikeOperation,
    /// An operation credits no deposit.
    WithoutDeposit,
    /// An operation credits several.
    SeveralDeposits,
}

/// Rows that differ, in key order.
pub async fn find(
    connection: &mut PgConnection,
    difference: Difference,
    limit: i64,
) -> sqlx::Result<Vec<Differing>> {
    let query = match difference {
        Difference::UnlikeOperation => UNLIKE_OPERATION,
        Difference::WithoutDeposit => WITHOUT_DEPOSIT,
        Difference::SeveralDeposits => SEVERAL_DEPOSITS,
    };
    let rows = sqlx::query(query).bind(limit).fetch_all(connection).await?;
    rows.iter().map(differing).collect()
}

/// Deposits that are final since before `final_before` and not credited.
pub async fn stuck(
    connection: &mut PgConnection,
    final_before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<Differing>> {
    let rows = sqlx::query(
        "SELECT id::text AS key, concat('credited soon after it is final: ', amount) AS expected,
                'status 2' AS found
         FROM account.deposits WHERE status = 2 AND updated_at < $1 ORDER BY id LIMIT $2",
    )
    .bind(final_before)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(differing).collect()
}

/// How many deposits there are.
pub async fn count(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM account.deposits")
        .fetch_one(connection)
        .await?;
    Ok(count.cast_unsigned())
}
