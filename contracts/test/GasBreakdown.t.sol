// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, CoSigned, Dispute, Lock, LockList, State, Types, Withdrawal} from "../src/lib/Types.sol";
import {GasParts} from "./support/GasParts.sol";
import {Released} from "./support/Released.sol";
import {vm} from "./Vm.sol";

/// Where the gas of the paths that miss their targets goes: `gas/Breakdown.json`, compared at every run.
/// forge-config: default.isolate = true
contract GasBreakdownTest is Released, GasParts {
    address private immutable hubSigner = vm.addr(HUB_KEY);

    function _record(string memory path, address sender, bytes memory data) private {
        Parts memory parts = _parts(sender, address(channels), data);
        _value(path, "total", parts.total);
        _value(path, "data", parts.data);
        _value(path, "own storage", parts.storageOwn);
        _value(path, "token", parts.storageToken);
        _value(path, "calls", parts.calls);
        _value(path, "signatures", parts.signatures);
        _value(path, "events", parts.events);
        _value(path, "refund", parts.refund);
        uint256 computing = _computing(parts);
        _value(path, "computing", computing);
        // The parts are right when what they leave is small and never negative (then the sum above would revert).
        vm.assertLe(computing, parts.total / 3, path);
    }

    function _value(string memory path, string memory part, uint256 value) private {
        vm.snapshotValue("Breakdown", string.concat(path, ": ", part), value);
    }

    function test_parts_of_a_first_withdrawal() public {
        Withdrawal memory item = _withdrawal(_custodial(vaultHub), 10 ether, payout);
        _record("withdraw, vault, first", stranger, abi.encodeCall(channels.withdraw, (item)));
    }

    function test_parts_of_a_later_withdrawal() public {
        channels.withdraw(_withdrawal(_custodial(vaultHub), 10 ether, payout));
        Withdrawal memory item = _withdrawal(_custodial(vaultHub), 10 ether, payout);
        _record("withdraw, vault, later", stranger, abi.encodeCall(channels.withdraw, (item)));
    }

    function _batch() private view returns (Withdrawal[] memory items) {
        items = new Withdrawal[](50);
        for (uint256 i = 0; i < 50; ++i) {
            ChannelParams memory params = _custodial(vaultHub);
            params.salt = keccak256(abi.encode(i));
            params.user = address(uint160(uint256(keccak256(abi.encode("user", i)))));
            items[i] = _withdrawal(params, 10 ether, params.user);
            items[i].hubSignature = "";
        }
    }

    function test_parts_of_a_first_batch_of_withdrawals() public {
        _record("batchWithdraw, 50, vault, first", vaultHub, abi.encodeCall(channels.batchWithdraw, (_batch())));
    }

    function test_parts_of_a_later_batch_of_withdrawals() public {
        Withdrawal[] memory items = _batch();
        vm.prank(vaultHub);
        channels.batchWithdraw(items);
        _record("batchWithdraw, 50, vault, later", vaultHub, abi.encodeCall(channels.batchWithdraw, (_batch())));
    }

    function test_parts_of_collateral() public {
        bytes32[] memory ids = new bytes32[](100);
        uint96[] memory amounts = new uint96[](100);
        for (uint256 i = 0; i < 100; ++i) {
            (ids[i], amounts[i]) = (keccak256(abi.encode(i)), 1 ether);
        }
        _arm(vaultHub, 200 ether);
        vm.prank(vaultHub);
        channels.batchCollateral(ids, amounts);
        bytes memory data = abi.encodeCall(channels.batchCollateral, (ids, amounts));
        _record("batchCollateral, 100 top-ups", vaultHub, data);
    }

    function test_parts_of_a_preimage() public {
        bytes32[] memory preimages = new bytes32[](1);
        preimages[0] = keccak256("preimage");
        _record("registerPreimages, 1", stranger, abi.encodeCall(channels.registerPreimages, (preimages)));
    }

    function test_parts_of_a_close() public {
        ChannelParams memory params = _custodial(vaultHub);
        CoSigned memory posted = _coSigned(params, _state(params, 5, 10 ether));
        bytes memory data = abi.encodeCall(channels.close, (params, posted, _noIntent(), _noCredit()));
        _record("close, two signatures", hubSigner, data);
    }

    function test_parts_of_a_challenge() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(hubSigner, params, _state(params, 5, 10 ether));
        CoSigned memory newer = _coSigned(params, _state(params, 6, 20 ether));
        _record("challenge", stranger, abi.encodeCall(channels.challenge, (params, dispute, newer)));
    }

    function test_parts_of_a_settlement() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 5, 10 ether);
        Dispute memory dispute = _close(hubSigner, params, state);
        _passWindow();
        _record("settle, vault, hub closed", stranger, abi.encodeCall(channels.settle, (params, dispute, state)));
    }

    function _unlocks(uint256 count) private {
        ChannelParams memory params = _custodial(vaultHub);
        Lock[] memory locks = new Lock[](count);
        bytes32[] memory preimages = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            preimages[i] = keccak256(abi.encode("preimage", i));
            bytes32 id = keccak256(abi.encode("lock", i));
            locks[i] = Lock(id, 1, false, 1 ether, uint40(START + 3 days), sha256(abi.encode(preimages[i])), 0);
        }
        channels.registerPreimages(preimages);
        _give(payout, 1);
        State memory state = _state(params, 5, 10 ether);
        state.hubLocked = uint96(count * 1 ether);
        state.hubBalance -= state.hubLocked;
        state.locksHash = Types.hash(locks);
        Dispute memory dispute = _close(hubSigner, params, state);
        _passWindow();
        channels.settle(params, dispute, state);
        bytes memory data = abi.encodeCall(channels.unlock, (params, 0, LockList(locks, state.hubLocked, 0)));
        _record(string.concat("unlock, ", vm.toString(count), " hash locks"), stranger, data);
    }

    function test_parts_of_unlocking_1() public {
        _unlocks(1);
    }

    function test_parts_of_unlocking_6() public {
        _unlocks(6);
    }

    function test_parts_of_unlocking_32() public {
        _unlocks(32);
    }
}
