// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Signatures are 65 bytes r, s, v with v 27 or 28 and low s, so each has one form only. Contract signatures
/// (EIP-1271) are not accepted: a signer that may change its mind could disown the newest state.
library Signatures {
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// True when `signature` over `digest` is by `signer`. Never reverts.
    function isBy(bytes calldata signature, bytes32 digest, address signer) internal pure returns (bool) {
        if (signature.length != 65) return false;
        bytes32 r;
        bytes32 s;
        uint8 v;
        assembly ("memory-safe") {
            r := calldataload(signature.offset)
            s := calldataload(add(signature.offset, 0x20))
            v := byte(0, calldataload(add(signature.offset, 0x40)))
        }
        if (uint256(s) > HALF_ORDER || (v != 27 && v != 28)) return false;
        address recovered = ecrecover(digest, v, r, s);
        return recovered != address(0) && recovered == signer;
    }
}
