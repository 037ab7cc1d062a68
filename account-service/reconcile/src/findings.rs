//! Collects what the checks find, as many breaks as may be listed.

use crate::report::{Break, Check, CheckId, Class, Severity};
use std::collections::BTreeMap;

/// Where a difference stands.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub schema: &'static str,
    pub table: &'static str,
    pub key: String,
}

impl Row {
    /// A row of the account schema.
    pub fn account(table: &'static str, key: impl ToString) -> Self {
        Self {
            schema: "account",
            table,
            key: key.to_string(),
        }
    }
}

/// What the checks found so far. Parts made side by side are merged.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    counts: BTreeMap<CheckId, (u64, u64)>,
    breaks: Vec<Break>,
}

impl Findings {
    /// Notes that so many things were compared.
    pub fn compared(&mut self, check: CheckId, count: u64) {
        self.counts.entry(check).or_default().0 += count;
    }

    /// Notes a difference.
    pub fn found(
        &mut self,
        (check, class): (CheckId, Class),
        row: Row,
        expected: impl ToString,
        found: impl ToString,
    ) {
        self.counts.entry(check).or_default().1 += 1;
        // What users have against what was issued, or what the contract holds: no row explains it.
        let severity = match check {
            CheckId::R5 | CheckId::R6 => Severity::Critical,
            _ => class.severity(),
        };
        self.breaks.push(Break {
            check,
            class,
            severity,
            schema: row.schema,
            table: row.table,
            key: row.key,
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }

    /// Takes in what was found elsewhere, and lists at most `max` breaks.
    pub fn merge(&mut self, other: Self, max: usize) {
        for (check, (compared, breaks)) in other.counts {
            let count = self.counts.entry(check).or_default();
            count.0 += compared;
            count.1 += breaks;
        }
        let room = max.saturating_sub(self.breaks.len());
        self.breaks.extend(other.breaks.into_iter().take(room));
    }

    /// Every check with its counts, and the listed breaks in the order of the checks.
    pub fn finish(mut self, max: usize) -> (Vec<Check>, Vec<Break>) {
        self.breaks.truncate(max);
        self.breaks.sort_by_key(|b| b.check);
        let checks = CheckId::ALL
            .into_iter()
            .map(|id| {
                let (compared, breaks) = self.counts.get(&id).copied().unwrap_or_default();
                Check {
                    id,
                    compared,
                    breaks,
                }
            })
            .collect();
        (checks, self.breaks)
    }
}
