// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm, vm} from "../Vm.sol";

/// Takes the gas of one transaction apart by the fee schedule (Cancun): what is not storage, data, events, signatures or
/// calls is computing.
abstract contract GasParts {
    struct Parts {
        uint256 data;
        uint256 storageOwn;
        uint256 storageToken;
        uint256 calls;
        uint256 signatures;
        uint256 events;
        uint256 refund;
        uint256 total;
    }

    uint256 private constant INTRINSIC = 21_000;

    mapping(bytes32 place => bool) private _warm;
    mapping(bytes32 place => bytes32) private _original;

    /// Sends the same transaction twice: once for forge to measure, once to see what it touches.
    function _parts(address sender, address target, bytes memory data) internal returns (Parts memory parts) {
        uint256 before = vm.snapshotState();
        parts.total = _send(sender, target, data);
        vm.revertToState(before);
        vm.recordLogs();
        vm.startStateDiffRecording();
        _send(sender, target, data);
        Vm.AccountAccess[] memory accesses = vm.stopAndReturnStateDiff();
        Vm.Log[] memory logs = vm.getRecordedLogs();
        parts.data = _dataCost(data);
        for (uint256 i = 0; i < logs.length; ++i) {
            parts.events += 375 * (1 + logs[i].topics.length) + 8 * logs[i].data.length;
        }
        _touch(bytes32(uint256(uint160(target))));
        for (uint256 i = 0; i < accesses.length; ++i) {
            _access(parts, accesses[i], target);
        }
    }

    function _send(address sender, address target, bytes memory data) private returns (uint256) {
        vm.prank(sender);
        (bool success,) = target.call(data);
        vm.assertTrue(success, "sent");
        return vm.lastCallGas().gasTotalUsed;
    }

    function _access(Parts memory parts, Vm.AccountAccess memory access, address target) private {
        uint160 callee = uint160(access.account);
        // The transaction itself is no call; precompiles are always warm.
        bool called = access.kind < 4 && access.accessor == target;
        if (called && callee == 1) parts.signatures += 3_100;
        else if (called && callee > 9) parts.calls += _touch(bytes32(uint256(callee))) ? 2_600 : 100;
        _storage(parts, access.storageAccesses, target);
    }

    function _computing(Parts memory parts) internal pure returns (uint256) {
        return parts.total + parts.refund - INTRINSIC - parts.data - parts.storageOwn - parts.storageToken - parts.calls
            - parts.signatures - parts.events;
    }

    function _dataCost(bytes memory data) private pure returns (uint256 cost) {
        for (uint256 i = 0; i < data.length; ++i) {
            cost += data[i] == 0 ? 4 : 16;
        }
    }

    function _touch(bytes32 place) private returns (bool cold) {
        cold = !_warm[place];
        _warm[place] = true;
    }

    function _storage(Parts memory parts, Vm.StorageAccess[] memory accesses, address target) private {
        for (uint256 i = 0; i < accesses.length; ++i) {
            Vm.StorageAccess memory access = accesses[i];
            bytes32 place = keccak256(abi.encode(access.account, access.slot));
            bool cold = _touch(place);
            if (cold) _original[place] = access.previousValue;
            uint256 cost =
                access.isWrite ? _write(parts, access, _original[place]) + (cold ? 2_100 : 0) : cold ? 2_100 : 100;
            if (access.account == target) parts.storageOwn += cost;
            else parts.storageToken += cost;
        }
    }

    function _write(Parts memory parts, Vm.StorageAccess memory access, bytes32 original)
        private
        pure
        returns (uint256)
    {
        if (access.previousValue == access.newValue) return 100;
        if (original != 0 && access.newValue == 0) parts.refund += 4_800;
        if (original != access.previousValue) return 100;
        return original == 0 ? 20_000 : 2_900;
    }
}
