// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHubErrors} from "../src/interfaces/IHubErrors.sol";
import {IHubEvents} from "../src/interfaces/IHubEvents.sol";
import {LockRules} from "../src/lib/LockRules.sol";
import {ChannelParams, Cheque, Dispute, Lock, LockList, Meter, State, Types} from "../src/lib/Types.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./Vm.sol";

contract LockRulesTest {
    function testFuzz_no_lock_pays_more_than_its_amount(Lock memory lock, uint64 evidence, uint40 time, bool byReceiver)
        public
        view
    {
        (bool done, uint256 toReceiver) = this.resolve(lock, evidence, time, byReceiver);
        vm.assertLe(toReceiver, lock.amount, "at most the amount");
        if (time >= lock.expiry) vm.assertTrue(done, "ends at expiry");
    }

    function resolve(Lock calldata lock, uint256 evidence, uint256 time, bool byReceiver)
        external
        pure
        returns (bool, uint256)
    {
        return LockRules.resolve(lock, evidence, time, byReceiver);
    }

    function test_metered_rounds_down_and_never_divides_by_zero() public pure {
        vm.assertEq(LockRules.metered(10, 1, 3), 3, "floor");
        vm.assertEq(LockRules.metered(10, 3, 3), 10, "all");
        vm.assertEq(LockRules.metered(10, 4, 3), 10, "no more");
        vm.assertEq(LockRules.metered(10, 4, 0), 0, "no total");
    }
}

contract LocksTest is Fixture {
    bytes32 private constant PREIMAGE = keccak256("preimage");
    uint256 private constant BUYER_KEY = 0x55;
    uint256 private constant ISSUER_KEY = 0x66;
    bytes32 private constant TERMS = keccak256("terms");
    address private immutable beneficiary = address(0xBE);
    uint40 private constant EXPIRY = uint40(START + 3 days);

    function _hashLock(bool userPays, uint96 amount) private pure returns (Lock memory) {
        return
            Lock(keccak256(abi.encode(userPays, amount)), 1, userPays, amount, EXPIRY, sha256(abi.encode(PREIMAGE)), 0);
    }

    function _meteredLock(bool userPays, uint96 amount, uint64 total) private pure returns (Lock memory) {
        return Lock("metered", 2, userPays, amount, EXPIRY, Types.order(vm.addr(BUYER_KEY), TERMS), total);
    }

    function _coverLock(uint96 amount) private pure returns (Lock memory) {
        return Lock("cover", 3, true, amount, EXPIRY, Types.book(vm.addr(ISSUER_KEY), TERMS), 0);
    }

    function _one(Lock memory lock) private pure returns (Lock[] memory locks) {
        locks = new Lock[](1);
        locks[0] = lock;
    }

    /// Closes and settles with a state that carries `locks`; the hub closes, so nobody waits.
    function _settled(ChannelParams memory params, uint96 userBalance, Lock[] memory locks)
        private
        returns (LockList memory list)
    {
        State memory state = _state(params, 5, userBalance);
        for (uint256 i = 0; i < locks.length; ++i) {
            if (locks[i].userPays) state.userLocked += locks[i].amount;
            else state.hubLocked += locks[i].amount;
            state.hubBalance -= locks[i].amount;
        }
        state.locksHash = Types.hash(locks);
        uint256 lockMax = uint256(state.userLocked) + state.hubLocked;
        Dispute memory dispute = _close(vm.addr(HUB_KEY), params, state);
        _passWindow();
        uint256 funds = _funds(params.hub);
        channels.settle(params, dispute, state);
        uint256 left = funds > userBalance ? funds - userBalance : 0;
        list.locks = locks;
        list.reserve = lockMax < left ? lockMax : left;
        list.short = lockMax - list.reserve;
        (,,,, bytes32 kept) = channels.pendingOf(_id(params), 0);
        vm.assertEq(kept, Types.lockList(state.locksHash, list.reserve, list.short), "recorded");
    }

    function _register() private {
        bytes32[] memory preimages = new bytes32[](1);
        preimages[0] = PREIMAGE;
        channels.registerPreimages(preimages);
    }

    /* registry */

    function test_a_preimage_keeps_its_first_time() public {
        _register();
        vm.warp(START + 5);
        _register();
        vm.assertEq(channels.preimageTime(sha256(abi.encode(PREIMAGE))), START, "first");
    }

    /* hash locks */

    function test_a_preimage_before_expiry_pays_the_receiver_and_else_the_payer() public {
        for (uint256 i = 0; i < 4; ++i) {
            (bool userPays, bool known) = (i & 1 == 1, i & 2 == 2);
            ChannelParams memory params = _custodial(vaultHub);
            params.salt = bytes32(i);
            vm.warp(START);
            uint256 before = _balance(payout);
            LockList memory list = _settled(params, 0, _one(_hashLock(userPays, 10 ether)));
            if (known) {
                bytes32[] memory preimages = new bytes32[](1);
                preimages[0] = PREIMAGE;
                channels.registerPreimages(preimages);
            } else {
                vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingResolvable.selector));
                channels.unlock(params, 0, list);
                vm.warp(EXPIRY);
            }
            channels.unlock(params, 0, list);
            vm.assertEq(_balance(payout) - before, userPays != known ? 10 ether : 0, "to the user");
            (,,,, bytes32 kept) = channels.pendingOf(_id(params), 0);
            vm.assertEq(kept, 0, "list is gone");
            if (known) break;
        }
    }

    function test_a_known_preimage_pays_the_right_side() public {
        _register();
        ChannelParams memory params = _custodial(vaultHub);
        uint256 funds = _funds(vaultHub);
        Lock[] memory locks = new Lock[](2);
        (locks[0], locks[1]) = (_hashLock(false, 10 ether), _hashLock(true, 3 ether));
        LockList memory list = _settled(params, 0, locks);
        vm.assertEq(_funds(vaultHub), funds - 13 ether, "set aside");
        vm.expectEmit(address(channels));
        emit IHubEvents.Unlocked(_id(params), vaultHub, 0, 3, 10 ether, 0, 0, 0);
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 10 ether, "paid by the hub");
        vm.assertEq(_funds(vaultHub), funds - 10 ether, "the user's lock stays the hub's");
        vm.expectPartialRevert(IHubErrors.HubChannels_WrongLockList.selector);
        channels.unlock(params, 0, list);
    }

    function test_a_preimage_at_expiry_is_too_late() public {
        ChannelParams memory params = _custodial(vaultHub);
        LockList memory list = _settled(params, 0, _one(_hashLock(false, 10 ether)));
        vm.warp(EXPIRY);
        _register();
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 0, "back to the hub");
    }

    function test_locks_that_wait_stay_in_the_list() public {
        ChannelParams memory params = _custodial(mintHub);
        Lock[] memory locks = new Lock[](2);
        (locks[0], locks[1]) = (_hashLock(false, 10 ether), _meteredLock(true, 6 ether, 3));
        LockList memory list = _settled(params, 0, locks);
        _register();
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 10 ether, "first");
        list.locks = _one(locks[1]);
        list.reserve = 6 ether;
        vm.warp(EXPIRY);
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 16 ether, "nothing delivered: back to its payer");
    }

    /* metered locks */

    function _meter(uint64 delivered) private view returns (Meter memory) {
        bytes32 orderId = Types.order(vm.addr(BUYER_KEY), TERMS);
        bytes memory signature = _signedBy(BUYER_KEY, Types.meter(orderId, delivered));
        return Meter(vm.addr(BUYER_KEY), TERMS, delivered, signature);
    }

    function test_a_metered_lock_pays_the_highest_meter_after_expiry() public {
        ChannelParams memory params = _custodial(vaultHub);
        LockList memory list = _settled(params, 0, _one(_meteredLock(false, 10 ether, 4)));
        channels.showMeter(_meter(3));
        Meter memory lower = _meter(2);
        vm.expectPartialRevert(IHubErrors.HubChannels_NotNewer.selector);
        channels.showMeter(lower);
        vm.assertEq(channels.deliveredOf(Types.order(vm.addr(BUYER_KEY), TERMS)), 3, "highest");
        vm.prank(vaultHub);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingResolvable.selector));
        channels.unlock(params, 0, list);
        vm.warp(EXPIRY);
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 7.5 ether, "3 of 4");
    }

    function test_only_the_receiver_resolves_a_metered_lock_early() public {
        ChannelParams memory params = _custodial(vaultHub);
        LockList memory list = _settled(params, 0, _one(_meteredLock(false, 10 ether, 4)));
        channels.showMeter(_meter(1));
        vm.prank(payout);
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 2.5 ether, "gives up the rest");
    }

    function test_a_payer_never_resolves_its_own_metered_lock_early() public {
        ChannelParams memory params = _custodial(vaultHub);
        LockList memory list = _settled(params, 0, _one(_meteredLock(true, 10 ether, 4)));
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingResolvable.selector));
        vm.prank(payout);
        channels.unlock(params, 0, list);
        vm.prank(vaultHub);
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 10 ether, "the hub, its receiver, gave it up");
    }

    function test_a_meter_counts_only_from_the_orders_buyer() public {
        Meter memory meter = _meter(3);
        meter.signature = _signedBy(ISSUER_KEY, Types.meter(Types.order(vm.addr(BUYER_KEY), TERMS), 3));
        vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
        channels.showMeter(meter);
    }

    /* cover locks */

    function _cheque(address to, uint128 cumulative) private view returns (Cheque memory) {
        bytes32 bookId = Types.book(vm.addr(ISSUER_KEY), TERMS);
        bytes memory signature = _signedBy(ISSUER_KEY, Types.cheque(bookId, to, cumulative));
        return Cheque(vm.addr(ISSUER_KEY), TERMS, to, cumulative, signature);
    }

    function test_cheques_are_cumulative_bounce_without_loss_and_the_rest_goes_back_after_expiry() public {
        ChannelParams memory params = _custodial(vaultHub);
        LockList memory list = _settled(params, 0, _one(_coverLock(10 ether)));
        channels.cashCheque(params, 0, list, 0, _cheque(beneficiary, 4 ether));
        vm.assertEq(_balance(beneficiary), 4 ether, "first");
        list.locks[0].amount = 6 ether;
        list.reserve = 6 ether;
        Cheque memory same = _cheque(beneficiary, 4 ether);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingToPay.selector));
        channels.cashCheque(params, 0, list, 0, same);
        channels.cashCheque(params, 0, list, 0, _cheque(beneficiary, 5 ether));
        list.locks[0].amount = 5 ether;
        list.reserve = 5 ether;
        Cheque memory large = _cheque(address(0xBF), 7 ether);
        vm.expectEmit(address(channels));
        emit IHubEvents.ChequeBounced(Types.book(vm.addr(ISSUER_KEY), TERMS), address(0xBF), 2 ether);
        channels.cashCheque(params, 0, list, 0, large);
        vm.assertEq(_balance(beneficiary) + _balance(address(0xBF)), 10 ether, "never more than the lock");
        list.locks[0].amount = 0;
        list.reserve = 0;
        vm.warp(EXPIRY);
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 0, "nothing is left for the issuer");
    }

    function test_an_uncashed_rest_returns_to_the_issuer_only_after_expiry() public {
        ChannelParams memory params = _custodial(vaultHub);
        LockList memory list = _settled(params, 0, _one(_coverLock(10 ether)));
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingResolvable.selector));
        channels.unlock(params, 0, list);
        vm.warp(EXPIRY);
        channels.cashCheque(params, 0, list, 0, _cheque(beneficiary, 4 ether));
        list.locks[0].amount = 6 ether;
        list.reserve = 6 ether;
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 6 ether, "rest");
    }

    function test_a_cheque_needs_its_book_and_its_issuer() public {
        ChannelParams memory params = _custodial(vaultHub);
        Lock[] memory locks = new Lock[](2);
        (locks[0], locks[1]) = (_coverLock(10 ether), _hashLock(true, 1 ether));
        LockList memory list = _settled(params, 0, locks);
        Cheque memory cheque = _cheque(beneficiary, 4 ether);
        vm.expectPartialRevert(IHubErrors.HubChannels_WrongCondition.selector);
        channels.cashCheque(params, 0, list, 1, cheque);
        cheque.cumulative = 5 ether;
        vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
        channels.cashCheque(params, 0, list, 0, cheque);
        cheque = _cheque(beneficiary, 4 ether);
        cheque.terms = keccak256("other book");
        vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
        channels.cashCheque(params, 0, list, 0, cheque);
    }

    /// The protocol stops at 32; more must not be lost or paid twice all the same.
    function test_a_list_longer_than_256_ends_in_several_calls() public {
        _register();
        ChannelParams memory params = _custodial(vaultHub);
        Lock[] memory locks = new Lock[](260);
        for (uint256 i = 0; i < 260; ++i) {
            locks[i] = _hashLock(false, 1 ether);
        }
        LockList memory list = _settled(params, 0, locks);
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 256 ether, "the first 256");
        list.locks = new Lock[](4);
        for (uint256 i = 0; i < 4; ++i) {
            list.locks[i] = locks[256 + i];
        }
        list.reserve = 4 ether;
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 260 ether, "the others");
    }

    /* short vault */

    function test_a_short_reserve_pays_what_is_there_and_owes_the_user_the_rest() public {
        _register();
        ChannelParams memory params = _custodial(vaultHub);
        LockList memory list = _settled(params, 999_995 ether, _one(_hashLock(false, 10 ether)));
        vm.assertEq(list.short, 5 ether, "short");
        vm.assertEq(channels.hubOf(vaultHub).owed, 5 ether, "blocks the hub");
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 1_000_000 ether, "what was there");
        vm.assertEq(channels.hubOf(vaultHub).owed, 5 ether, "now owed to the user");
        _fundVault(5 ether);
        channels.payOwed(params, 0);
        vm.assertEq(_balance(payout), 1_000_005 ether, "all");
    }

    function test_a_short_reserve_draws_on_a_refilled_vault() public {
        _register();
        ChannelParams memory params = _custodial(vaultHub);
        LockList memory list = _settled(params, 999_995 ether, _one(_hashLock(false, 10 ether)));
        _fundVault(20 ether);
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), 1_000_005 ether, "all");
        vm.assertEq(channels.hubOf(vaultHub).owed, 0, "nothing owed");
    }

    function test_a_shortage_is_forgotten_when_the_hub_was_the_receiver() public {
        _register();
        ChannelParams memory params = _custodial(vaultHub);
        LockList memory list = _settled(params, 999_995 ether, _one(_hashLock(true, 10 ether)));
        channels.unlock(params, 0, list);
        vm.assertEq(channels.hubOf(vaultHub).owed, 0, "nothing owed");
        vm.assertEq(_funds(vaultHub), 5 ether, "reserve is back");
    }

    function test_locks_are_not_forfeited_with_the_rest() public {
        _register();
        ChannelParams memory params = _custodial(vaultHub);
        State memory newest = _state(params, 7, 100 ether);
        Lock[] memory locks = _one(_hashLock(false, 10 ether));
        newest.hubLocked = 10 ether;
        newest.hubBalance -= 10 ether;
        newest.locksHash = Types.hash(locks);
        Dispute memory dispute = _close(vm.addr(CUSTODY_KEY), params, _state(params, 1, 500 ether));
        dispute = _challenge(stranger, params, dispute, newest, true);
        _passWindow();
        channels.settle(params, dispute, newest);
        channels.unlock(params, 0, LockList(locks, 10 ether, 0));
        vm.assertEq(_balance(payout), 10 ether, "the lock follows its preimage");
    }

    function testFuzz_a_list_pays_out_exactly_what_was_set_aside(uint96[4] memory amounts, uint8 flags) public {
        ChannelParams memory params = _custodial(vaultHub);
        Lock[] memory locks = new Lock[](4);
        uint256 toUser;
        for (uint256 i = 0; i < 4; ++i) {
            locks[i] = _hashLock(flags >> i & 1 == 1, amounts[i] % 1_000 ether);
            locks[i].id = bytes32(i);
            if (flags >> (4 + i) & 1 == 1) locks[i].condition = bytes32(i);
            bool known = flags >> (4 + i) & 1 == 0;
            if (known != locks[i].userPays) toUser += locks[i].amount;
        }
        uint256 funds = _funds(vaultHub);
        LockList memory list = _settled(params, 0, locks);
        vm.warp(EXPIRY - 1);
        _register();
        vm.warp(EXPIRY);
        if (list.reserve == 0) return;
        channels.unlock(params, 0, list);
        vm.assertEq(_balance(payout), toUser, "to the user");
        vm.assertEq(_funds(vaultHub) + toUser, funds, "the rest to the hub");
    }
}
