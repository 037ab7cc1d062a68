//! `chain.logs`, against what account-service made of them.
//!
//! The worker reports what is final after it wrote it down, so account-service may lag behind the
//! logs, up to the final block it knows; it is never ahead.

use super::{Differing, differing};
use sqlx::PgConnection;

/// Completed orders without the log that paid them.
const ORDER_WITHOUT_LOG: &str = "
    SELECT w.id::text AS key,
           CASE WHEN l.block_hash IS NULL THEN 'a final payment' ELSE concat('tx_hash=0x', encode(l.tx_hash, 'hex')) END AS expected,
           CASE WHEN l.block_hash IS NULL THEN 'none' ELSE concat('tx_hash=0x', encode(w.tx_hash, 'hex')) END AS found
    FROM account.withdrawals w
    LEFT JOIN chain.logs l ON l.request_id = decode(concat(replace(w.id::text, '-', ''), repeat('0', 32)), 'hex')
         AND l.status = 2 AND l.body->>'log' = 'withdrawn'
    WHERE w.status = 5 AND w.tx_hash IS NOT NULL AND (w.id < (SELECT journal_from FROM account.retention)
       OR EXISTS (SELECT 1 FROM account.operations o WHERE o.id = w.id))
      AND (l.block_hash IS NULL OR (l.tx_hash <> w.tx_hash AND l.block <= $2))
    ORDER BY w.id LIMIT $1";

/// Final payments of which the order is not completed.
const PAID_NOT_COMPLETED: &str = "
    SELECT w.id::text AS key, 'status 5' AS expected,
           concat('status ', w.status, ', paid by 0x', encode(l.tx_hash, 'hex')) AS found
    FROM chain.logs l
    JOIN account.withdrawals w ON w.id = encode(substring(l.request_id FROM 1 FOR 16), 'hex')::uuid
    WHERE l.status = 2 AND l.body->>'log' = 'withdrawn' AND l.block <= $2 AND w.status <> 5
    ORDER BY w.id LIMIT $1";

/// Final payments out of our channels that nobody ordered.
const PAID_NOT_ORDERED: &str = "
    SELECT concat('0x', encode(l.block_hash, 'hex'), '/', l.log_index) AS key,
           concat('an order of ', l.body->>'amount') AS expected, 'none' AS found
    FROM chain.logs l
    JOIN account.heads h ON h.channel_id = decode(substring(l.body->>'channel_id' FROM 3), 'hex')
    LEFT JOIN account.withdrawals w ON w.id = encode(substring(l.request_id FROM 1 FOR 16), 'hex')::uuid
    WHERE l.status = 2 AND l.body->>'log' = 'withdrawn' AND l.block <= $2 AND w.id IS NULL
    ORDER BY 1 LIMIT $1";

/// Orders that were paid several times.
const PAID_SEVERAL_TIMES: &str = "
    SELECT encode(substring(l.request_id FROM 1 FOR 16), 'hex')::uuid::text AS key, 'one payment' AS expected,
           concat(count(*), ' payments') AS found
    FROM chain.logs l WHERE l.status = 2 AND l.body->>'log' = 'withdrawn' AND l.block <= $2
    GROUP BY l.request_id HAVING count(*) > 1
    ORDER BY 1 LIMIT $1";

/// Final deposits here without their log.
const DEPOSIT_WITHOUT_LOG: &str = "
    SELECT d.id::text AS key,
           CASE WHEN l.block_hash IS NULL THEN 'a final log'
                ELSE concat('amount=', l.body->>'amount', ' channel=', l.body->>'channel_id') END AS expected,
           CASE WHEN l.block_hash IS NULL THEN 'none'
                ELSE concat('amount=', d.amount, ' channel=0x', encode(d.channel_id, 'hex')) END AS found
    FROM account.deposits d
    LEFT JOIN chain.logs l ON l.block_hash = d.block_hash AND l.log_index = d.log_index
         AND l.status = 2 AND l.body->>'log' = 'deposited'
    WHERE d.status IN (2, 3) AND d.block <= $2 AND (l.block_hash IS NULL OR l.body->>'amount' <> d.amount::text
       OR l.body->>'channel_id' <> concat('0x', encode(d.channel_id, 'hex')))
    ORDER BY d.id LIMIT $1";

/// Final deposits for our channels that are not here.
const LOG_WITHOUT_DEPOSIT: &str = "
    SELECT concat('0x', encode(l.block_hash, 'hex'), '/', l.log_index) AS key,
           concat('a final deposit of ', l.body->>'amount') AS expected,
           CASE WHEN d.id IS NULL THEN 'none' ELSE concat('status ', d.status) END AS found
    FROM chain.logs l
    JOIN account.heads h ON h.channel_id = decode(substring(l.body->>'channel_id' FROM 3), 'hex')
    LEFT JOIN account.deposits d ON d.block_hash = l.block_hash AND d.log_index = l.log_index
    WHERE l.status = 2 AND l.body->>'log' = 'deposited' AND l.block <= $2
      AND (d.id IS NULL OR d.status NOT IN (2, 3, 5))
    ORDER BY 1 LIMIT $1";

macro_rules! totals {
    ($column:literal, $log:literal) => {
        concat!(
            "SELECT concat('0x', encode(h.channel_id, 'hex'), '/', coalesce(f.epoch, l.epoch)) AS key,
                    concat('", $column, "=', coalesce(l.lowest, 0), ' to ', coalesce(l.highest, 0), ', by the logs') AS expected,
                    concat('", $column, "=', coalesce(f.", $column, ", 0)) AS found
             FROM account.channel_facts f
             FULL JOIN (
                SELECT decode(substring(body->>'channel_id' FROM 3), 'hex') AS channel_id, (body->>'epoch')::int AS epoch,
                       max((body->>'total')::numeric) AS highest,
                       max((body->>'total')::numeric) FILTER (WHERE block <= $2) AS lowest
                FROM chain.logs WHERE status = 2 AND body->>'log' = '", $log, "' GROUP BY 1, 2
             ) l ON l.channel_id = f.channel_id AND l.epoch = f.epoch
             JOIN account.heads h ON h.channel_id = coalesce(f.channel_id, l.channel_id)
             WHERE coalesce(f.", $column, ", 0) < coalesce(l.lowest, 0)
                OR coalesce(f.", $column, ", 0) > coalesce(l.highest, 0)
             ORDER BY 1 LIMIT $1"
        )
    };
}

/// Channels of which what is known to be paid is not what the logs say.
const EXECUTED_UNLIKE: &str = totals!("executed", "withdrawn");
/// Channels of which the deposits known to be final are not what the logs say.
const DEPOSITS_UNLIKE: &str = totals!("final_deposits", "deposited");

/// The comparisons that the database makes by itself.
#[derive(Debug, Clone, Copy)]
pub enum Difference {
    /// Completed, and not paid.
    OrderWithoutLog,
    /// Paid, and not completed.
    PaidNotCompleted,
    /// Paid, and not ordered.
    PaidNotOrdered,
    /// Paid several times.
    PaidSeveralTimes,
    /// Final here, and not on chain.
    DepositWithoutLog,
    /// Final on chain, and not here.
    LogWithoutDeposit,
    /// What is known to be paid out of a channel.
    ExecutedUnlike,
    /// What is known to be paid into a channel.
    DepositsUnlike,
}

/// Rows that differ, in key order. `known` is the newest final block that account-service knows.
pub async fn find(
    connection: &mut PgConnection,
    difference: Difference,
    known: u64,
    limit: i64,
) -> sqlx::Result<Vec<Differing>> {
    let query = match difference {
        Difference::OrderWithoutLog => ORDER_WITHOUT_LOG,
        Difference::PaidNotCompleted => PAID_NOT_COMPLETED,
        Difference::PaidNotOrdered => PAID_NOT_ORDERED,
        Difference::PaidSeveralTimes => PAID_SEVERAL_TIMES,
        Difference::DepositWithoutLog => DEPOSIT_WITHOUT_LOG,
        Difference::LogWithoutDeposit => LOG_WITHOUT_DEPOSIT,
        Difference::ExecutedUnlike => EXECUTED_UNLIKE,
        Difference::DepositsUnlike => DEPOSITS_UNLIKE,
    };
    let rows = sqlx::query(query)
        .bind(limit)
        .bind(known.cast_signed())
        .fetch_all(connection)
        .await?;
    rows.iter().map(differing).collect()
}
