//! The chain of roots: each batch of a hub names the root of the one before.

use super::batch::{Checked, row_of};
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use hub_core::Hash32;
use std::collections::HashMap;
use uuid::Uuid;

/// What a batch says about the one before it.
#[derive(Debug)]
struct Claim {
    /// Its root, if the claim is sound.
    prev_root: Option<Hash32>,
    row: Row,
    key: String,
}

/// Batches pass nearly in the order of their numbers. What waits for a neighbour waits here.
#[derive(Debug, Default)]
pub struct Links {
    /// Roots that the batch of the next number has not been compared with.
    roots: HashMap<(Uuid, u64), Option<Hash32>>,
    /// Claims about batches that have not passed, by the number of those.
    claims: HashMap<(Uuid, u64), Claim>,
}

impl Links {
    /// Compares a batch with its neighbours that have passed. Gives what was found and the keys,
    /// `hub/number`, of the batches that a break names. A batch that is not here, because it was
    /// open when its number was left, is compared with nothing.
    pub fn add(&mut self, batch: &Checked) -> (Findings, Vec<String>) {
        let (mut findings, mut keys) = (Findings::default(), Vec::new());
        let key = format!("{}/{}", batch.hub_id, batch.batch_id);
        if batch.named {
            keys.push(key.clone());
        }
        let before = (batch.hub_id, batch.batch_id.saturating_sub(1));
        let claim = Claim {
            prev_root: batch.prev_root,
            row: row_of(batch.hub_id, batch.batch_id, batch.id),
            key,
        };
        match self.roots.remove(&before) {
            Some(root) => keys.extend(compare(root, claim, &mut findings)),
            None => drop(self.claims.insert(before, claim)),
        }
        let here = (batch.hub_id, batch.batch_id);
        match self.claims.remove(&here) {
            Some(claim) => keys.extend(compare(batch.root, claim, &mut findings)),
            None => drop(self.roots.insert(here, batch.root)),
        }
        (findings, keys)
    }
}

/// The key of a claim that is wrong.
fn compare(root: Option<Hash32>, claim: Claim, findings: &mut Findings) -> Option<String> {
    let (root, prev_root) = root.zip(claim.prev_root)?;
    if root == prev_root {
        return None;
    }
    findings.found(
        (CheckId::R3, Class::StaleState),
        claim.row,
        format!("prev_root={root}"),
        format!("prev_root={prev_root}"),
    );
    Some(claim.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::batches::Batch;

    fn batch(hub: u128, number: u64, claims: u8) -> Checked {
        let mut checked = Checked::of(&Batch {
            hub_id: Uuid::from_u128(hub),
            batch_id: number,
            root: Some(Hash32([u8::try_from(number).unwrap(); 32])),
            committed: None,
        });
        checked.prev_root = Some(Hash32([claims; 32]));
        checked
    }

    /// Every order of four.
    fn orders() -> Vec<[usize; 4]> {
        let all = (0..256).map(|n| [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6 & 3]);
        all.filter(|order| (0..4).all(|at| order.contains(&at)))
            .collect()
    }

    #[test]
    fn a_wrong_link_is_named_once_in_any_order_and_little_is_kept() {
        assert_eq!(orders().len(), 24);
        for order in orders() {
            let batches = [
                batch(1, 5, 4),
                batch(1, 6, 5),
                batch(1, 7, 9),
                batch(1, 8, 7),
            ];
            let mut links = Links::default();
            let mut named = Vec::new();
            let mut found = 0;
            for at in order {
                let (findings, keys) = links.add(&batches[at]);
                named.extend(keys);
                found += findings.finish(10).1.len();
            }
            let wrong = format!("{}/7", Uuid::from_u128(1));
            assert_eq!((named, found), (vec![wrong], 1), "{order:?}");
            // The first waits for the one before it, the last for the one after it.
            assert_eq!((links.roots.len(), links.claims.len()), (1, 1), "{order:?}");
        }
    }

    #[test]
    fn hubs_and_gaps_are_told_apart() {
        let mut links = Links::default();
        for batch in [batch(1, 5, 4), batch(2, 6, 1), batch(1, 7, 1)] {
            assert!(links.add(&batch).1.is_empty());
        }
        let mut damaged = batch(1, 6, 5);
        (damaged.named, damaged.prev_root) = (true, None);
        damaged.root = None;
        let named = links.add(&damaged).1;
        assert_eq!(named, [format!("{}/6", Uuid::from_u128(1))]);
    }
}
