// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LockRules} from "../src/lib/LockRules.sol";
import {Settlement} from "../src/lib/Settlement.sol";
import {
    ChannelParams,
    Cheque,
    CoSigned,
    Credit,
    Dispute,
    FundingMode,
    Lock,
    LockList,
    Meter,
    State,
    Types
} from "../src/lib/Types.sol";
import {IHubEvents} from "../src/interfaces/IHubEvents.sol";
import {IHubRegistry} from "../src/interfaces/IHubRegistry.sol";
import {Released} from "./support/Released.sol";
import {Vm, vm} from "./Vm.sol";

/// Who is paid what, computed by the Rust side, paid by the deployed contract.
contract OutcomeVectorsTest is Released {
    uint32 private constant ONE_MINUTE = 60;
    uint256 private constant BOND = 100 * uint256(PENALTY_CAP);
    uint256 private constant SIGNER_KEY = 0x55;
    uint256 private constant LOCKS = 4;
    address private immutable tower = address(0xEE);
    address private immutable sink = address(0x51);

    string private json;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("vectors/outcomes.json");
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     SETTLEMENTS
    //////////////////////////////////////////////////////////////////////////*/

    /// What a case expects, in the order of its last columns.
    struct Expected {
        uint256 userNow;
        uint256 bounty;
        uint256 late;
        uint256 userLater;
        uint256 owed;
        uint256 hubOwed;
        uint256 fundsThen;
        uint256 fundsLater;
        uint256 reserve;
        uint256 short;
        uint256 fromBond;
    }

    function test_every_settlement_pays_what_the_vector_says() public {
        uint256 count;
        for (; vm.keyExistsJson(json, _path("settlements", count)); ++count) {
            _settlement(count, _row("settlements", count));
        }
        vm.assertGe(count, 200, "settlements");
    }

    function _settlement(uint256 index, uint256[] memory row) private {
        vm.warp(START);
        vm.assertEq(row.length, 28, "columns");
        ChannelParams memory params = _world(index, FundingMode(row[0]), row[3] + row[4] + row[5] + row[6]);
        params.penaltyCap = uint96(row[13]);
        params.bountyBps = uint16(row[14]);
        State memory state = _stateOf(params, row);
        _movements(params, row);
        Dispute memory dispute = _end(params, state, row);
        _check(params, state, dispute, row);
    }

    /// A hub and a custodial channel of this case alone.
    function _world(uint256 index, FundingMode mode, uint256 capacity) private returns (ChannelParams memory params) {
        address hub = address(uint160(0xCA5E0000 + index));
        if (mode == FundingMode.Mint) {
            vm.prank(admin);
            channels.allowMint(hub, 1);
        }
        _arm(hub, BOND);
        vm.prank(hub);
        channels.registerHub(
            IHubRegistry.HubRules(mode, 1 minutes, 7 days, PENALTY_CAP, false), vm.addr(HUB_KEY), BOND, ""
        );
        params = _custodial(hub);
        params.user = address(uint160(0xACC00000 + index));
        params.capacity = uint96(capacity);
        params.challengePeriod = ONE_MINUTE;
        params.selfDelay = ONE_MINUTE;
    }

    function _stateOf(ChannelParams memory params, uint256[] memory row) private view returns (State memory state) {
        state = _state(params, 5, uint96(row[4]));
        state.hubBalance = uint96(row[3]);
        state.hubLocked = uint96(row[5]);
        state.userLocked = uint96(row[6]);
        state.withdrawn = uint128(row[7]);
        state.deposited = uint128(row[8]);
        state.credited = uint128(row[9]);
    }

    /// Deposits, withdrawals and collateral of the case, and funds as it wants them.
    function _movements(ChannelParams memory params, uint256[] memory row) private {
        if (row[11] != 0) {
            _arm(stranger, row[11]);
            vm.prank(stranger);
            channels.deposit(params, row[11]);
        }
        _setFunds(params, row[10] + row[16]);
        if (row[10] != 0) channels.withdraw(_withdrawal(params, uint96(row[10]), sink));
        if (row[15] != 0) {
            bytes32[] memory ids = new bytes32[](1);
            uint96[] memory amounts = new uint96[](1);
            (ids[0], amounts[0]) = (_id(params), uint96(row[15]));
            _arm(params.hub, row[15]);
            vm.prank(params.hub);
            channels.batchCollateral(ids, amounts);
        }
        vm.assertEq(_funds(params.hub), row[16], "funds before settlement");
    }

    /// Another channel of the hub takes what is too much.
    function _setFunds(ChannelParams memory params, uint256 wanted) private {
        uint256 funds = _funds(params.hub);
        if (funds > wanted) {
            ChannelParams memory other = _custodial(params.hub);
            channels.withdraw(_withdrawal(other, uint96(funds - wanted), sink));
        }
        if (funds < wanted) _addFunds(params.hub, wanted - funds);
    }

    function _addFunds(address hub, uint256 amount) private {
        if (channels.hubOf(hub).rules.mode == FundingMode.Mint) {
            vm.prank(admin);
            channels.allowMint(hub, amount);
        } else {
            _arm(stranger, amount);
            vm.prank(stranger);
            channels.fundVault(hub, amount);
        }
    }

    function _end(ChannelParams memory params, State memory state, uint256[] memory row)
        private
        returns (Dispute memory dispute)
    {
        bool answered = row[2] == 2;
        State memory posted = answered ? _null(params) : state;
        dispute = _disputeOf(posted);
        Credit memory credit;
        if (row[12] != 0) {
            dispute.creditMax = uint128(row[12]);
            credit = Credit(dispute.creditMax, _signedBy(HUB_KEY, Types.credit(_id(params), 0, dispute.creditMax)));
        }
        CoSigned memory shown = _coSigned(params, posted);
        vm.prank(row[1] == 1 ? params.hubSigner : row[1] == 2 ? params.userSigner : params.user);
        channels.close(params, shown, _noIntent(), credit);
        if (answered) dispute = _challenge(tower, params, dispute, state, row[1] != 3);
        if (row[2] == 1) {
            bytes32 accepted = Types.acceptClose(_id(params), 0, dispute.stateHash);
            channels.acceptClose(params, dispute, state, _signedBy(row[1] == 1 ? CUSTODY_KEY : HUB_KEY, accepted));
        } else {
            vm.warp(START + ONE_MINUTE + 1);
            vm.prank(tower);
            channels.settle(params, dispute, state);
        }
    }

    function _check(ChannelParams memory params, State memory state, Dispute memory dispute, uint256[] memory row)
        private
    {
        Expected memory want =
            Expected(row[17], row[18], row[19], row[20], row[21], row[22], row[23], row[24], row[25], row[26], row[27]);
        string memory what = vm.toString(uint160(params.hub) - 0xCA5E0000);
        bytes32 id = _id(params);
        (uint256 late, uint256 dueAt,, uint256 owed, bytes32 list) = channels.pendingOf(id, 0);
        IHubRegistry.HubView memory hub = channels.hubOf(params.hub);
        vm.assertEq(_balance(params.user), want.userNow, string.concat("user now ", what));
        vm.assertEq(_balance(tower), want.bounty, string.concat("bounty ", what));
        vm.assertEq(dispute.bountyTo == tower ? BOND - hub.bond : 0, want.fromBond, string.concat("bond ", what));
        vm.assertEq(late, want.late, string.concat("late ", what));
        vm.assertEq(owed, want.owed, string.concat("owed ", what));
        vm.assertEq(hub.owed, want.hubOwed, string.concat("owed in all ", what));
        vm.assertEq(hub.funds, want.fundsThen, string.concat("funds ", what));
        bytes32 expected =
            want.reserve + want.short == 0 ? bytes32(0) : Types.lockList(state.locksHash, want.reserve, want.short);
        vm.assertEq(list, expected, string.concat("lock list ", what));
        if (dueAt != 0) {
            vm.warp(dueAt);
            channels.claimDelayed(params, 0);
        }
        vm.assertEq(_balance(params.user), want.userNow + want.userLater, string.concat("user later ", what));
        vm.assertEq(_funds(params.hub), want.fundsLater, string.concat("funds later ", what));
        _empty(tower);
    }

    function _empty(address account) private {
        uint256 balance = _balance(account);
        if (balance == 0) return;
        vm.prank(account);
        (bool success,) = asset.call(abi.encodeWithSignature("transfer(address,uint256)", sink, balance));
        vm.assertTrue(success, "emptied");
    }

    /*//////////////////////////////////////////////////////////////////////////
                                      LOCK LISTS
    //////////////////////////////////////////////////////////////////////////*/

    function test_every_lock_list_pays_what_the_vector_says() public {
        uint256 count;
        for (; vm.keyExistsJson(json, _path("unlocks", count)); ++count) {
            _unlocks(count, _row("unlocks", count));
        }
        vm.assertGe(count, 72, "lock lists");
    }

    function _unlocks(uint256 index, uint256[] memory row) private {
        vm.assertEq(row.length, 5 + 7 * LOCKS + 10, "columns");
        vm.warp(START);
        (Lock[] memory locks, uint256 byHub, uint256 byUser) = _locksOf(index, row);
        ChannelParams memory params = _world(1000 + index, FundingMode(row[0]), byHub + byUser + 1);
        State memory state = _state(params, 1, 0);
        state.hubBalance = 1;
        state.hubLocked = uint96(byHub);
        state.userLocked = uint96(byUser);
        state.locksHash = Types.hash(locks);
        Dispute memory dispute = _close(params.hubSigner, params, state);
        _evidence(index, row, locks);
        _setFunds(params, row[1]);
        vm.warp(START + ONE_MINUTE + 1);
        channels.settle(params, dispute, state);
        uint256 reserve = byHub + byUser < row[1] ? byHub + byUser : row[1];
        LockList memory list = LockList(locks, reserve, byHub + byUser - reserve);
        if (row[2] != 0) _addFunds(params.hub, row[2]);

        for (uint256 i = 0; i < LOCKS; ++i) {
            if (row[5 + 7 * i] == LockRules.COVER && row[10 + 7 * i] != 0) _cash(params, list, i, row);
        }
        address asker = row[3] == 1 ? params.hubSigner : row[3] == 2 ? params.userSigner : params.user;
        _unlockOnce(params, list, asker, row[4], row, 5 + 7 * LOCKS);
        _unlockOnce(params, list, tower, 5000, row, 10 + 7 * LOCKS);
    }

    function _locksOf(uint256 index, uint256[] memory row)
        private
        pure
        returns (Lock[] memory locks, uint256 byHub, uint256 byUser)
    {
        locks = new Lock[](LOCKS);
        for (uint256 i = 0; i < LOCKS; ++i) {
            uint256 place = 5 + 7 * i;
            Lock memory lock = locks[i];
            lock.id = bytes32(i);
            lock.kind = uint8(row[place]);
            lock.userPays = row[place + 1] == 1;
            lock.amount = uint96(row[place + 2]);
            lock.expiry = uint40(START + row[place + 3]);
            lock.total = uint64(row[place + 4]);
            bytes32 terms = _terms(index, i);
            if (lock.kind == LockRules.HASH) lock.condition = sha256(abi.encode(terms));
            if (lock.kind == LockRules.METERED) lock.condition = Types.order(vm.addr(SIGNER_KEY), terms);
            if (lock.kind == LockRules.COVER) lock.condition = Types.book(vm.addr(SIGNER_KEY), terms);
            if (lock.userPays) byUser += lock.amount;
            else byHub += lock.amount;
        }
    }

    /// Preimage of a hash lock, terms of the others.
    function _terms(uint256 index, uint256 i) private pure returns (bytes32) {
        return keccak256(abi.encode("lock", index, i));
    }

    /// Shows preimages second by second, then meters, all before the settlement.
    function _evidence(uint256 index, uint256[] memory row, Lock[] memory locks) private {
        for (uint256 second = 1; second <= ONE_MINUTE; ++second) {
            for (uint256 i = 0; i < LOCKS; ++i) {
                if (locks[i].kind != LockRules.HASH || row[10 + 7 * i] != second) continue;
                bytes32[] memory preimages = new bytes32[](1);
                preimages[0] = _terms(index, i);
                vm.warp(START + second);
                channels.registerPreimages(preimages);
            }
        }
        for (uint256 i = 0; i < LOCKS; ++i) {
            uint64 delivered = uint64(row[10 + 7 * i]);
            if (locks[i].kind != LockRules.METERED || delivered == 0) continue;
            bytes memory signature = _signedBy(SIGNER_KEY, Types.meter(locks[i].condition, delivered));
            channels.showMeter(Meter(vm.addr(SIGNER_KEY), _terms(index, i), delivered, signature));
        }
    }

    /// Cashes the cheque of lock `i` and keeps the list as the contract does.
    function _cash(ChannelParams memory params, LockList memory list, uint256 i, uint256[] memory row) private {
        uint256 index = uint160(params.hub) - 0xCA5E0000 - 1000;
        address beneficiary = address(uint160(uint256(keccak256(abi.encode("beneficiary", index, i)))));
        uint128 cumulative = uint128(row[10 + 7 * i]);
        bytes32 structHash = Types.cheque(list.locks[i].condition, beneficiary, cumulative);
        Cheque memory cheque =
            Cheque(vm.addr(SIGNER_KEY), _terms(index, i), beneficiary, cumulative, _signedBy(SIGNER_KEY, structHash));
        uint256 cashed = row[11 + 7 * i];
        if (cashed == 0) vm.expectRevert(abi.encodeWithSignature("HubChannels_NothingToPay()"));
        channels.cashCheque(params, 0, list, i, cheque);
        vm.assertEq(_balance(beneficiary), cashed, "cashed");
        list.locks[i].amount -= uint96(cashed);
        uint256 reserved = cashed < list.reserve ? cashed : list.reserve;
        list.reserve -= reserved;
        list.short -= cashed - reserved;
    }

    function _unlockOnce(
        ChannelParams memory params,
        LockList memory list,
        address asker,
        uint256 second,
        uint256[] memory row,
        uint256 place
    ) private {
        if (list.locks.length == 0) return;
        vm.warp(START + second);
        uint256 before = _balance(params.user);
        (,,, uint256 owedBefore,) = channels.pendingOf(_id(params), 0);
        uint256 left = row[place + 4];
        bool waits = left == list.locks.length;
        if (waits) vm.expectRevert(abi.encodeWithSignature("HubChannels_NothingResolvable()"));
        vm.recordLogs();
        vm.prank(asker);
        channels.unlock(params, 0, list);
        if (!waits) _follow(list, left);

        (,,, uint256 owed, bytes32 kept) = channels.pendingOf(_id(params), 0);
        vm.assertEq(_balance(params.user) - before, row[place], "unlocked");
        vm.assertEq(owed - owedBefore, row[place + 1], "owed");
        vm.assertEq(_funds(params.hub), row[place + 2], "funds");
        vm.assertEq(channels.hubOf(params.hub).owed, row[place + 3], "owed in all");
        bytes32 expected = left == 0 ? bytes32(0) : Types.lockList(Types.hash(list.locks), list.reserve, list.short);
        vm.assertEq(kept, expected, "list that stays");
    }

    /// Rebuilds the list from the event, as anybody has to.
    function _follow(LockList memory list, uint256 left) private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint256 resolved;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != IHubEvents.Unlocked.selector) continue;
            (, resolved,,, list.reserve, list.short) =
                abi.decode(logs[i].data, (uint32, uint256, uint256, uint256, uint256, uint256));
        }
        Lock[] memory rest = new Lock[](left);
        uint256 next;
        for (uint256 i = 0; i < list.locks.length; ++i) {
            if (resolved >> i & 1 == 0) rest[next++] = list.locks[i];
        }
        vm.assertEq(next, left, "locks that stay");
        list.locks = rest;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                   LIBRARIES ALONE
    //////////////////////////////////////////////////////////////////////////*/

    function test_dues_and_shares_agree_at_the_ends_of_their_types() public view {
        uint256 count;
        for (; vm.keyExistsJson(json, _path("extremes", count)); ++count) {
            uint256[] memory row = _row("extremes", count);
            State memory state;
            state.hubBalance = uint96(row[0]);
            state.userBalance = uint96(row[1]);
            state.hubLocked = uint96(row[2]);
            state.userLocked = uint96(row[3]);
            state.withdrawn = uint128(row[4]);
            state.deposited = uint128(row[5]);
            state.credited = uint128(row[6]);
            Settlement.Dues memory due = Settlement.dues(state, Settlement.Facts(row[7], row[8], row[9]));
            vm.assertEq(due.userDue, row[12], "userDue");
            vm.assertEq(due.hubDue, row[13], "hubDue");
            vm.assertEq(due.lockMax, row[14], "lockMax");
            vm.assertEq(Settlement.honest(due).userPay, row[12], "honest");
            vm.assertEq(Settlement.userCheated(due, row[11]).bounty, row[15], "bounty on the user's due");
            Settlement.Payout memory pay = Settlement.hubCheated(due, row[10], row[11]);
            vm.assertEq(pay.userPay, row[12], "due");
            vm.assertEq(pay.userBonus, row[16], "bonus");
            vm.assertEq(pay.bounty, row[17], "bounty on the bonus");
        }
        vm.assertGe(count, 64, "extremes");
    }

    function test_metered_agrees_at_the_ends_of_its_types() public view {
        uint256 count;
        for (; vm.keyExistsJson(json, _path("meters", count)); ++count) {
            uint256[] memory row = _row("meters", count);
            vm.assertEq(LockRules.metered(uint96(row[0]), row[1], uint64(row[2])), row[3], "metered");
        }
        vm.assertGe(count, 40, "meters");
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       READING
    //////////////////////////////////////////////////////////////////////////*/

    function _path(string memory list, uint256 index) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(index), "]");
    }

    function _row(string memory list, uint256 index) private view returns (uint256[] memory) {
        return vm.parseJsonUintArray(json, _path(list, index));
    }
}
