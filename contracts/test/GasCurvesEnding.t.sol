// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    ChannelParams,
    CoopSettlement,
    Credit,
    Dispute,
    Evidence,
    Lock,
    LockList,
    State,
    Types
} from "../src/lib/Types.sol";
import {GasCurve} from "./support/GasCurve.sol";
import {vm} from "./Vm.sol";

/// Batches of evidence, settlements, and what they leave behind.
/// forge-config: default.isolate = true
contract GasCurvesEndingTest is GasCurve {
    function _accusations(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _fresh();
            Dispute memory dispute = _close(custody, params, _state(params, 1, 1 ether));
            Evidence memory evidence;
            evidence.state = _state(params, 9, 1 ether);
            evidence.attestation = _direct(CUSTODY_KEY, channels.domainSeparator(), evidence.state);
            calls[i] = abi.encodeCall(channels.penalize, (params, 0, dispute, evidence));
        }
        return _sent(stranger, calls);
    }

    function _credits(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _fresh();
            Dispute memory dispute = _close(hubSigner, params, _state(params, 1, 1 ether));
            Credit memory shown = Credit(1 ether, _signedBy(HUB_KEY, Types.credit(_id(params), 0, 1 ether)));
            calls[i] = abi.encodeCall(channels.addCredit, (params, dispute, shown));
        }
        return _sent(stranger, calls);
    }

    function _acceptances(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _fresh();
            State memory state = _state(params, 5, 1 ether);
            Dispute memory dispute = _close(hubSigner, params, state);
            bytes memory consent = _signedBy(CUSTODY_KEY, Types.acceptClose(_id(params), 0, dispute.stateHash));
            calls[i] = abi.encodeCall(channels.acceptClose, (params, dispute, state, consent));
        }
        return _sent(stranger, calls);
    }

    function _agreements(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _fresh();
            uint40 validUntil = uint40(block.timestamp + 1);
            bytes32 structHash = Types.coopSettle(_id(params), 0, 0, 0, 1 ether, validUntil);
            CoopSettlement memory agreement = CoopSettlement(
                0, 0, 1 ether, validUntil, _signedBy(HUB_KEY, structHash), _signedBy(CUSTODY_KEY, structHash)
            );
            calls[i] = abi.encodeCall(channels.coopSettle, (params, agreement));
        }
        return _sent(stranger, calls);
    }

    /// Settlements of that many new channels, each giving its user 1 token, when their windows are over.
    function _settlements(address hub, uint256 count, address closer) private returns (bytes[] memory calls) {
        calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _of(hub, _used++);
            State memory state = _state(params, 5, 1 ether);
            calls[i] = abi.encodeCall(channels.settle, (params, _close(closer, params, state), state));
        }
        _passWindow();
    }

    function _hubClosed(uint256 count) private returns (uint256) {
        return _sent(stranger, _settlements(vaultHub, count, hubSigner));
    }

    function _userClosed(uint256 count) private returns (uint256) {
        return _sent(stranger, _settlements(vaultHub, count, custody));
    }

    function _minted(uint256 count) private returns (uint256) {
        return _sent(stranger, _settlements(mintHub, count, hubSigner));
    }

    function _late(uint256 count) private returns (uint256) {
        _sent(stranger, _settlements(vaultHub, count, custody));
        vm.warp(block.timestamp + SELF_DELAY);
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            calls[i] = abi.encodeCall(channels.claimDelayed, (_of(vaultHub, _used - count + i), 0));
        }
        return _sent(stranger, calls);
    }

    /// One settlement takes the whole vault; what the others are owed comes when it is funded again.
    function _debts(uint256 count) private returns (uint256) {
        ChannelParams memory greedy = _fresh();
        State memory all = _state(greedy, 5, uint96(_funds(vaultHub)));
        if (all.userBalance != 0) {
            Dispute memory dispute = _close(hubSigner, greedy, all);
            _passWindow();
            channels.settle(greedy, dispute, all);
        }
        _sent(stranger, _settlements(vaultHub, count, hubSigner));
        _fundVault(count * 1 ether);
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            calls[i] = abi.encodeCall(channels.payOwed, (_of(vaultHub, _used - count + i), 0));
        }
        return _sent(stranger, calls);
    }

    function _locks(uint256 count) private pure returns (Lock[] memory locks) {
        locks = new Lock[](count);
        for (uint256 i = 0; i < count; ++i) {
            bytes32 condition = sha256(abi.encode(keccak256(abi.encode("preimage", i))));
            locks[i] = Lock(keccak256(abi.encode("lock", i)), 1, false, 1 ether, type(uint40).max, condition, 0);
        }
    }

    /// Unlocking a settled list of known hash locks.
    function _unlocking(uint256 length) private returns (bytes memory) {
        Lock[] memory locks = _locks(length);
        ChannelParams memory params = _of(vaultHub, _used++);
        State memory state = _state(params, 5, 1 ether);
        state.hubLocked = uint96(length * 1 ether);
        state.hubBalance -= state.hubLocked;
        state.locksHash = Types.hash(locks);
        Dispute memory dispute = _close(hubSigner, params, state);
        _passWindow();
        channels.settle(params, dispute, state);
        return abi.encodeCall(channels.unlock, (params, 0, LockList(locks, state.hubLocked, 0)));
    }

    function _know(uint256 count) private {
        bytes32[] memory preimages = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            preimages[i] = keccak256(abi.encode("preimage", i));
        }
        channels.registerPreimages(preimages);
    }

    function _unlocks(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            calls[i] = _unlocking(1);
        }
        return _sent(stranger, calls);
    }

    function _unlockedList(uint256 length) private returns (uint256) {
        bytes memory call = _unlocking(length);
        vm.prank(stranger);
        (bool success,) = address(channels).call(call);
        vm.assertTrue(success, "unlocked");
        return _gas();
    }

    function test_curve_of_accusations() public {
        _curve("batch of penalize", _accusations);
    }

    function test_curve_of_credits() public {
        _curve("batch of addCredit", _credits);
    }

    function test_curve_of_acceptances() public {
        _curve("batch of acceptClose", _acceptances);
    }

    function test_curve_of_agreements() public {
        _curve("batch of coopSettle", _agreements);
    }

    function test_curve_of_settlements_by_the_hub() public {
        _curve("batch of settle, hub closed", _hubClosed);
    }

    function test_curve_of_settlements_by_users() public {
        _curve("batch of settle, user closed", _userClosed);
    }

    function test_curve_of_minted_settlements() public {
        _curve("batch of settle, mint", _minted);
    }

    function test_curve_of_late_payouts() public {
        _curve("batch of claimDelayed", _late);
    }

    function test_curve_of_debts() public {
        _curve("batch of payOwed", _debts);
    }

    function test_curve_of_unlocks() public {
        _know(1);
        _curve("batch of unlock, a lock each", _unlocks);
    }

    /// One call ends at most 256 locks, so its longest is far from a block.
    function test_curve_of_one_list() public {
        _know(256);
        uint256 ten = _unlockedList(10);
        uint256 hundred = _unlockedList(100);
        uint256 most = _unlockedList(256);
        _value("unlock, one list", "1", _unlockedList(1));
        _value("unlock, one list", "10", ten);
        _value("unlock, one list", "100", hundred);
        _value("unlock, one list", "each", (hundred - ten) / 90);
        _value("unlock, one list", "most", 256);
        _value("unlock, one list", "gas of the most", most);
        vm.assertLe(most, BLOCK_GAS / 10, "a tenth of a block");
    }
}
