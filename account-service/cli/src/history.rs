//! Which operations come before and after the reading of a balance.

use crate::plan::{Action, Expect, Plan};
use std::collections::HashMap;

/// The neighbours of a balance row on its account, by their place in the plan. Only operations
/// that change the balance count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Around {
    /// The last one before.
    pub before: Option<usize>,
    /// The first one after.
    pub after: Option<usize>,
}

/// The neighbours of all balance rows.
#[derive(Debug, Clone, Default)]
pub struct History {
    around: HashMap<usize, Around>,
}

impl History {
    /// Of a file.
    pub fn of(plan: &Plan) -> Self {
        let mut around: HashMap<usize, Around> = HashMap::new();
        let mut newest: Vec<Option<usize>> = vec![None; plan.names.len()];
        let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); plan.names.len()];
        for (index, operation) in plan.operations.iter().enumerate() {
            let (first, second) = operation.action.accounts();
            match operation.action {
                Action::Balance { .. } => {
                    let before = newest[first as usize];
                    around.insert(
                        index,
                        Around {
                            before,
                            after: None,
                        },
                    );
                    waiting[first as usize].push(index);
                }
                Action::Open { .. } => {}
                _ if operation.expect == Expect::Done => {
                    for account in [first, second] {
                        newest[account as usize] = Some(index);
                        for earlier in waiting[account as usize].drain(..) {
                            around.entry(earlier).or_default().after = Some(index);
                        }
                    }
                }
                _ => {}
            }
        }
        Self { around }
    }

    /// The neighbours of a balance row.
    pub fn around(&self, index: usize) -> Around {
        self.around.get(&index).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_the_nearest_operations_that_change_the_balance() {
        let text = "line,op,account,counterparty,amount,to,expect\n\
            1,open,a,,,,ok\n2,open,b,,,,ok\n3,balance,a,,,,0\n4,issue,a,,5,,ok\n5,transfer,a,b,9,,INSUFFICIENT_FUNDS\n\
            6,balance,a,,,,5\n7,balance,b,,,,0\n8,redeem,a,,6,,INSUFFICIENT_FUNDS\n9,transfer,a,b,1,,ok\n10,balance,b,,,,1\n";
        let history = History::of(&crate::plan::read(text.as_bytes()).unwrap());
        let around = |before, after| Around { before, after };
        assert_eq!(history.around(2), around(None, Some(3)));
        assert_eq!(history.around(5), around(Some(3), Some(8)));
        assert_eq!(history.around(6), around(None, Some(8)));
        assert_eq!(history.around(9), around(Some(8), None));
    }
}
