// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {State} from "./Types.sol";

/// Who gets what when an epoch ends. Pure: the contract applies the result.
library Settlement {
    /// What the chain knows beside the posted state. Amounts in minor units.
    /// @param withdrawn Executed withdrawals of the epoch.
    /// @param deposited Deposits of the epoch.
    /// @param creditMax Highest credit shown.
    struct Facts {
        uint256 withdrawn;
        uint256 deposited;
        uint256 creditMax;
    }

    /// @param userDue Entitlement of the user's side, without locks.
    /// @param hubDue What is left of the pool: a claim on paper in mint mode and for pooled channels.
    /// @param lockMax Most that the lock list may pay.
    struct Dues {
        uint256 userDue;
        uint256 hubDue;
        uint256 lockMax;
    }

    /// @param userPay From the hub's funds to the user.
    /// @param userBonus From the hub's bond to the user.
    /// @param bounty To who proved the cheating; from the bond when the hub cheated, else from the hub's funds.
    struct Payout {
        uint256 userPay;
        uint256 userBonus;
        uint256 bounty;
    }

    /// x = userBalance + (D - deposited) + (K - credited) + (withdrawn - W), clamped to what the channel holds.
    /// For the newest state of an honest side the clamp never bites.
    function dues(State memory state, Facts memory facts) internal pure returns (Dues memory result) {
        uint256 credit = facts.creditMax > state.credited ? facts.creditMax : state.credited;
        // At most five values below 2^128: neither int256 nor uint256 can overflow.
        int256 entitlement = int256(uint256(state.userBalance)) + int256(facts.deposited)
            - int256(uint256(state.deposited)) + int256(credit) - int256(uint256(state.credited))
            + int256(uint256(state.withdrawn)) - int256(facts.withdrawn);
        uint256 pool = uint256(state.hubBalance) + state.userBalance;
        if (facts.deposited > state.deposited) pool += facts.deposited - state.deposited;
        if (entitlement > 0) result.userDue = uint256(entitlement) < pool ? uint256(entitlement) : pool;
        result.hubDue = pool - result.userDue;
        result.lockMax = uint256(state.hubLocked) + state.userLocked;
    }

    /// Nobody cheated: the user gets its due.
    function honest(Dues memory due) internal pure returns (Payout memory result) {
        result.userPay = due.userDue;
    }

    /// The user posted a revoked state: its due stays with the hub, less the bounty.
    function userCheated(Dues memory due, uint256 bountyBps) internal pure returns (Payout memory result) {
        result.bounty = due.userDue * bountyBps / 10_000;
    }

    /// The hub posted a revoked state: the user gets its due and a bonus out of the bond, less the bounty on the bonus.
    /// @param limit Penalty cap, or the bond if that is less.
    function hubCheated(Dues memory due, uint256 limit, uint256 bountyBps)
        internal
        pure
        returns (Payout memory result)
    {
        uint256 bonus = due.hubDue < limit ? due.hubDue : limit;
        result.userPay = due.userDue;
        result.bounty = bonus * bountyBps / 10_000;
        result.userBonus = bonus - result.bounty;
    }
}
