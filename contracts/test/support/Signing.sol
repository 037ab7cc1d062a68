// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestation, State, StateBatch, Types} from "../../src/lib/Types.sol";
import {vm} from "../Vm.sol";

/// Signatures, batches and Merkle trees as the off-chain side makes them.
abstract contract Signing {
    function _sign(uint256 key, bytes32 domain, bytes32 structHash) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, Types.digest(domain, structHash));
        return abi.encodePacked(r, s, v);
    }

    function _noAttestation() internal pure returns (Attestation memory attestation) {}

    /// A signature over the state alone.
    function _direct(uint256 key, bytes32 domain, State memory state)
        internal
        pure
        returns (Attestation memory attestation)
    {
        attestation.signature = _sign(key, domain, Types.hash(state));
    }

    /// A signature over a batch that holds `leaves`; the attestation is that of leaf `index`.
    function _batched(uint256 key, bytes32 domain, address hub, bytes32[] memory leaves, uint256 index, uint8 depth)
        internal
        pure
        returns (Attestation memory attestation)
    {
        (bytes32 root, bytes32[] memory siblings) = _tree(leaves, index, depth);
        attestation.batch = StateBatch(root, depth, 7, keccak256("previous root"), hub);
        attestation.leafIndex = index;
        attestation.siblings = siblings;
        attestation.signature = _sign(key, domain, Types.hash(attestation.batch));
    }

    /// Root over `leaves`, padded with zero words to 2^depth, and the path of `index`.
    function _tree(bytes32[] memory leaves, uint256 index, uint8 depth)
        internal
        pure
        returns (bytes32 root, bytes32[] memory siblings)
    {
        bytes32[] memory level = new bytes32[](uint256(1) << depth);
        for (uint256 i = 0; i < leaves.length; ++i) {
            level[i] = leaves[i];
        }
        siblings = new bytes32[](depth);
        for (uint256 d = 0; d < depth; ++d) {
            siblings[d] = level[index ^ 1];
            bytes32[] memory above = new bytes32[](level.length / 2);
            for (uint256 i = 0; i < above.length; ++i) {
                above[i] = keccak256(abi.encodePacked(level[2 * i], level[2 * i + 1]));
            }
            level = above;
            index /= 2;
        }
        root = level[0];
    }

    /// A path of `depth` levels without its tree: for depths whose trees are too large to build.
    function _path(bytes32 leaf, uint256 index, uint8 depth)
        internal
        pure
        returns (bytes32 root, bytes32[] memory siblings)
    {
        siblings = new bytes32[](depth);
        root = leaf;
        for (uint256 d = 0; d < depth; ++d) {
            siblings[d] = keccak256(abi.encode("sibling", d));
            root = (index >> d) & 1 == 0
                ? keccak256(abi.encodePacked(root, siblings[d]))
                : keccak256(abi.encodePacked(siblings[d], root));
        }
    }
}
