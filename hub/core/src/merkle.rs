//! The tree over which one signature covers many states (P1) and one state covers many legs.

use crate::{Hash32, keccak256};
use std::sync::LazyLock;

/// Deepest tree the system makes.
pub const MAX_DEPTH: u8 = 12;
/// Deepest tree the contract accepts.
pub const MAX_ACCEPTED_DEPTH: u8 = 20;
/// Most leaves of one tree.
pub const MAX_LEAVES: usize = 1 << MAX_DEPTH;

/// Root of a subtree of nothing but padding, by level.
static PADS: LazyLock<[Hash32; MAX_DEPTH as usize + 1]> = LazyLock::new(|| {
    let mut pads = [Hash32::ZERO; MAX_DEPTH as usize + 1];
    for level in 1..pads.len() {
        pads[level] = node(pads[level - 1], pads[level - 1]);
    }
    pads
});

/// Hash of an inner node.
pub fn node(left: Hash32, right: Hash32) -> Hash32 {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&left.0);
    bytes[32..].copy_from_slice(&right.0);
    keccak256(&bytes)
}

/// Levels of the tree over so many leaves: at least one, so that a root is never a leaf.
pub fn depth_of(leaves: usize) -> u8 {
    let levels = leaves.max(1).next_power_of_two().trailing_zeros().max(1);
    u8::try_from(levels).unwrap_or(u8::MAX)
}

/// A tree over leaves in their given order, padded on the right with 32 zero bytes.
#[derive(Debug, Clone)]
pub struct Tree {
    /// From the leaves to the root, without the padding.
    levels: Vec<Vec<Hash32>>,
}

impl Tree {
    /// The tree, or nothing when there are no leaves or more than [`MAX_LEAVES`].
    pub fn new(leaves: Vec<Hash32>) -> Option<Self> {
        if leaves.is_empty() || leaves.len() > MAX_LEAVES {
            return None;
        }
        let depth = depth_of(leaves.len());
        let mut levels = Vec::with_capacity(usize::from(depth) + 1);
        levels.push(leaves);
        for (level, pad) in PADS.iter().copied().enumerate().take(usize::from(depth)) {
            let above = levels[level]
                .chunks(2)
                .map(|pair| node(pair[0], pair.get(1).copied().unwrap_or(pad)))
                .collect();
            levels.push(above);
        }
        Some(Self { levels })
    }

    /// The root.
    pub fn root(&self) -> Hash32 {
        self.levels[self.levels.len() - 1][0]
    }

    /// Levels above the leaves.
    pub fn depth(&self) -> u8 {
        u8::try_from(self.levels.len() - 1).unwrap_or(u8::MAX)
    }

    /// The siblings from leaf to root, or nothing when there is no such leaf.
    pub fn path(&self, index: usize) -> Option<Vec<Hash32>> {
        self.levels[0].get(index)?;
        let siblings = self.levels[..self.levels.len() - 1]
            .iter()
            .enumerate()
            .map(|(level, row)| {
                let sibling = (index >> level) ^ 1;
                row.get(sibling).copied().unwrap_or(PADS[level])
            })
            .collect();
        Some(siblings)
    }
}

/// The root of the tree over these leaves, for whoever needs no paths: nothing is kept below it.
/// Nothing where [`Tree::new`] gives nothing.
pub fn root(mut leaves: Vec<Hash32>) -> Option<Hash32> {
    if leaves.is_empty() || leaves.len() > MAX_LEAVES {
        return None;
    }
    let depth = usize::from(depth_of(leaves.len()));
    for pad in PADS.iter().copied().take(depth) {
        let above = leaves.len().div_ceil(2);
        for at in 0..above {
            let right = leaves.get(2 * at + 1).copied().unwrap_or(pad);
            leaves[at] = node(leaves[2 * at], right);
        }
        leaves.truncate(above);
    }
    Some(leaves[0])
}

/// The root that a leaf at `index` with these siblings belongs to; bit i of `index` says which
/// side at level i. Nothing when `index` does not fit the path.
pub fn root_of(leaf: Hash32, index: u32, siblings: &[Hash32]) -> Option<Hash32> {
    if siblings.is_empty()
        || siblings.len() > usize::from(MAX_ACCEPTED_DEPTH)
        || index >> siblings.len() != 0
    {
        return None;
    }
    let mut hash = leaf;
    for (level, sibling) in siblings.iter().enumerate() {
        hash = if index >> level & 1 == 0 {
            node(hash, *sibling)
        } else {
            node(*sibling, hash)
        };
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(count: usize) -> Vec<Hash32> {
        (0..count)
            .map(|i| keccak256(&(i as u64).to_be_bytes()))
            .collect()
    }

    #[test]
    fn a_single_leaf_has_a_tree_of_depth_one() {
        let tree = Tree::new(leaves(1)).unwrap();
        assert_eq!(tree.depth(), 1);
        assert_eq!(tree.root(), node(leaves(1)[0], Hash32::ZERO));
    }

    #[test]
    fn depth_is_the_rounded_up_logarithm() {
        for (count, depth) in [
            (1, 1),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (1024, 10),
            (4096, 12),
        ] {
            assert_eq!(depth_of(count), depth, "{count}");
        }
        assert!(Tree::new(vec![]).is_none());
        assert!(Tree::new(vec![Hash32::ZERO; MAX_LEAVES + 1]).is_none());
        assert!(root(vec![]).is_none());
        assert!(root(vec![Hash32::ZERO; MAX_LEAVES + 1]).is_none());
    }

    proptest! {
        #[test]
        fn every_leaf_proves_its_place_and_no_other(count in 1usize..70, at in 0usize..70, wrong in 0u32..128) {
            let leaves = leaves(count);
            let at = at % count;
            let tree = Tree::new(leaves.clone()).unwrap();
            let path = tree.path(at).unwrap();
            prop_assert_eq!(path.len(), usize::from(tree.depth()));
            prop_assert_eq!(root(leaves.clone()), Some(tree.root()));
            prop_assert_eq!(root_of(leaves[at], at as u32, &path), Some(tree.root()));
            if wrong as usize != at {
                prop_assert_ne!(root_of(leaves[at], wrong, &path), Some(tree.root()));
            }
        }
    }
}
