// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Lock} from "./Types.sol";

/// When a lock ends and who gets what. Pure: the contract applies the result.
library LockRules {
    uint8 internal constant HASH = 1;
    uint8 internal constant METERED = 2;
    uint8 internal constant COVER = 3;

    /// @param evidence hash: when the preimage was registered, 0 never. metered: granules shown for the order.
    /// @param byReceiver Whether the lock's receiver asks: it may give up the rest of a metered lock early.
    /// @return done Whether the lock ends now; it stays in the list otherwise.
    /// @return toReceiver What the receiver gets; the rest returns to the payer.
    function resolve(Lock calldata lock, uint256 evidence, uint256 time, bool byReceiver)
        internal
        pure
        returns (bool done, uint256 toReceiver)
    {
        uint40 expiry = lock.expiry;
        done = time >= expiry;
        uint8 kind = lock.kind;
        if (kind == HASH) {
            bool known = evidence != 0 && evidence < expiry;
            return (done || known, known ? lock.amount : 0);
        }
        if (kind == METERED) return (done || byReceiver, metered(lock.amount, evidence, lock.total));
        // A cover lock's beneficiaries cash before; an unknown kind pays nobody but its payer.
        return (done, 0);
    }

    /// floor(amount x delivered / total), at most the amount.
    function metered(uint96 amount, uint256 delivered, uint64 total) internal pure returns (uint256) {
        if (delivered == 0 || total == 0) return 0;
        if (delivered >= total) return amount;
        return uint256(amount) * delivered / total;
    }
}
