// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Merkle path of a batch: node = keccak256(left ‖ right), bit i of the index says which side at level i.
library Merkle {
    /// Deepest tree the contract accepts; batches are made with at most 12.
    uint256 internal constant MAX_DEPTH = 20;

    /// Root that `leaf` at `index` and `siblings` lead to. The caller checks that the path has the signed depth and
    /// that `index` fits it: an inner node can't pass for a leaf then.
    function rootOf(bytes32 leaf, uint256 index, bytes32[] calldata siblings) internal pure returns (bytes32 node) {
        node = leaf;
        for (uint256 i = 0; i < siblings.length; ++i) {
            node = index & 1 == 0 ? _pair(node, siblings[i]) : _pair(siblings[i], node);
            index >>= 1;
        }
    }

    function _pair(bytes32 left, bytes32 right) private pure returns (bytes32 node) {
        assembly ("memory-safe") {
            mstore(0x00, left)
            mstore(0x20, right)
            node := keccak256(0x00, 0x40)
        }
    }
}
