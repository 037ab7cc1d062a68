// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LockRules} from "../../src/lib/LockRules.sol";
import {Settlement} from "../../src/lib/Settlement.sol";
import {Lock, State} from "../../src/lib/Types.sol";

/// The arithmetic of settlements for every input there is, not for some: `contracts/symbolic` gives these to a solver.
contract SymbolicSettlementTest {
    /// The facts as wide as the contract keeps them.
    struct Known {
        uint128 withdrawn;
        uint128 deposited;
        uint128 creditMax;
    }

    function _dues(State memory state, Known memory known) private pure returns (Settlement.Dues memory) {
        return Settlement.dues(state, Settlement.Facts(known.withdrawn, known.deposited, known.creditMax));
    }

    /// I-2: nothing of a pool is lost or made.
    function check_a_pool_is_shared_whole(State memory state, Known memory known) external pure {
        Settlement.Dues memory due = _dues(state, known);
        uint256 pool = uint256(state.hubBalance) + state.userBalance;
        if (known.deposited > state.deposited) pool += known.deposited - state.deposited;
        assert(due.userDue + due.hubDue == pool);
    }

    /// I-6: locks get what was locked, whatever the rest does.
    function check_locks_stand_beside_the_pool(State memory state, Known memory known) external pure {
        Settlement.Dues memory due = _dues(state, known);
        assert(due.lockMax == uint256(state.hubLocked) + state.userLocked);
    }

    /// I-2: who did not cheat gets its due from the funds, and nothing comes out of the bond.
    function check_an_honest_end_pays_the_due_alone(uint96 userDue, uint128 hubDue, uint96 locks) external pure {
        Settlement.Payout memory pay = Settlement.honest(Settlement.Dues(userDue, hubDue, locks));
        assert(pay.userPay == userDue && pay.userBonus == 0 && pay.bounty == 0);
    }

    /// I-2: a cheating user gets nothing.
    function check_a_cheating_user_gets_nothing(uint96 userDue, uint128 hubDue, uint96 locks, uint16 bps)
        external
        pure
    {
        Settlement.Payout memory pay = Settlement.userCheated(Settlement.Dues(userDue, hubDue, locks), bps);
        assert(pay.userPay == 0 && pay.userBonus == 0);
    }

    /// I-2: a cheating hub pays its limit at most, no more than its share, and the user's due stays whole.
    function check_a_penalty_stays_within_limit_and_share(uint96 userDue, uint128 hubDue, uint96 limit, uint16 bps)
        external
        pure
    {
        if (bps > 500) return;
        Settlement.Payout memory pay = Settlement.hubCheated(Settlement.Dues(userDue, hubDue, 0), limit, bps);
        assert(pay.userPay == userDue);
        assert(pay.userBonus + pay.bounty <= limit);
        assert(pay.userBonus + pay.bounty <= hubDue);
    }

    /// I-6: a hash lock pays all or nothing, and all only for a preimage that came before expiry.
    function check_a_hash_lock_pays_all_or_nothing(Lock calldata lock, uint64 evidence, uint40 time, bool byReceiver)
        external
        pure
    {
        if (lock.kind != LockRules.HASH) return;
        (bool done, uint256 paid) = LockRules.resolve(lock, evidence, time, byReceiver);
        bool known = evidence != 0 && evidence < lock.expiry;
        assert(paid == (known ? lock.amount : 0));
        assert(done == (known || time >= lock.expiry));
    }

    /// I-6: cover locks and unknown kinds pay nobody but their payer.
    function check_other_kinds_pay_their_payer(Lock calldata lock, uint64 evidence, uint40 time, bool byReceiver)
        external
        pure
    {
        if (lock.kind == LockRules.HASH || lock.kind == LockRules.METERED) return;
        (bool done, uint256 paid) = LockRules.resolve(lock, evidence, time, byReceiver);
        assert(paid == 0 && done == (time >= lock.expiry));
    }

    /// I-6: the ends of a metered lock.
    function check_a_metered_lock_pays_nothing_for_nothing_and_all_for_all(
        uint96 amount,
        uint64 delivered,
        uint64 total
    ) external pure {
        assert(LockRules.metered(amount, 0, total) == 0);
        if (total != 0 && delivered >= total) assert(LockRules.metered(amount, delivered, total) == amount);
    }
}
