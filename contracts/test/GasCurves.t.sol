// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, CoSigned, Dispute, Meter, Types, Withdrawal} from "../src/lib/Types.sol";
import {GasCurve} from "./support/GasCurve.sol";
import {vm} from "./Vm.sol";

/// Batches of payments, closes and answers.
/// forge-config: default.isolate = true
contract GasCurvesTest is GasCurve {
    function _collateral(uint256 count) private returns (uint256) {
        bytes32[] memory ids = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            ids[i] = keccak256(abi.encode("collateral", ++_used));
        }
        return _addCollateral(ids);
    }

    function _addCollateral(bytes32[] memory ids) private returns (uint256) {
        uint96[] memory amounts = new uint96[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            amounts[i] = 1 ether;
        }
        _arm(vaultHub, ids.length * 1 ether);
        vm.prank(vaultHub);
        channels.batchCollateral(ids, amounts);
        return _gas();
    }

    function _moreCollateral(uint256 count) private returns (uint256) {
        bytes32[] memory ids = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            ids[i] = keccak256(abi.encode("collateral", ++_used));
        }
        for (uint256 from = 0; from < count; from += 500) {
            bytes32[] memory part = new bytes32[](count - from < 500 ? count - from : 500);
            for (uint256 i = 0; i < part.length; ++i) {
                part[i] = ids[from + i];
            }
            _addCollateral(part);
        }
        return _addCollateral(ids);
    }

    function _items(address hub, uint256 first, uint256 count) private view returns (Withdrawal[] memory items) {
        items = new Withdrawal[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _of(hub, first + i);
            items[i] = _withdrawal(params, 1 ether, params.user);
            items[i].hubSignature = "";
        }
    }

    function _paid(address hub, uint256 first, uint256 count) private frees returns (uint256) {
        Withdrawal[] memory items = _items(hub, first, count);
        vm.prank(hub);
        vm.assertEq(channels.batchWithdraw(items), count, "all");
        return _gas();
    }

    function _first(address hub, uint256 count) private returns (uint256) {
        _used += count;
        return _paid(hub, _used - count, count);
    }

    function _later(address hub, uint256 count) private returns (uint256) {
        _used += count;
        uint256 end;
        for (uint256 from = 0; from < count; from += 200) {
            end = count - from < 200 ? count - from : 200;
            _paid(hub, _used - count + from, end);
        }
        return _paid(hub, _used - count, count);
    }

    function _firstFromVault(uint256 count) private returns (uint256) {
        return _first(vaultHub, count);
    }

    function _laterFromVault(uint256 count) private returns (uint256) {
        return _later(vaultHub, count);
    }

    function _firstMinted(uint256 count) private returns (uint256) {
        return _first(mintHub, count);
    }

    function _laterMinted(uint256 count) private returns (uint256) {
        return _later(mintHub, count);
    }

    function _deposits(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            calls[i] = abi.encodeCall(channels.deposit, (_fresh(), 1 ether));
        }
        _arm(stranger, count * 1 ether);
        return _sent(stranger, calls);
    }

    function _preimages(uint256 count) private returns (uint256) {
        bytes32[] memory preimages = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            preimages[i] = keccak256(abi.encode("preimage", ++_used));
        }
        channels.registerPreimages(preimages);
        return _gas();
    }

    function _meters(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            bytes32 terms = keccak256(abi.encode("terms", ++_used));
            bytes memory signature = _signedBy(USER_KEY, Types.meter(Types.order(vm.addr(USER_KEY), terms), 3));
            calls[i] = abi.encodeCall(channels.showMeter, (Meter(vm.addr(USER_KEY), terms, 3, signature)));
        }
        return _sent(stranger, calls);
    }

    function _closes(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _fresh();
            CoSigned memory posted = _coSigned(params, _state(params, 5, 1 ether));
            calls[i] = abi.encodeCall(channels.close, (params, posted, _noIntent(), _noCredit()));
        }
        return _sent(hubSigner, calls);
    }

    function _challenges(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _fresh();
            Dispute memory dispute = _close(hubSigner, params, _state(params, 1, 0));
            CoSigned memory newer = _coSigned(params, _state(params, 9, 1 ether));
            calls[i] = abi.encodeCall(channels.challenge, (params, dispute, newer));
        }
        return _sent(stranger, calls);
    }

    function test_curve_of_collateral() public {
        _curve("batchCollateral, new", _collateral);
        _curve("batchCollateral, top-up", _moreCollateral);
    }

    function test_curve_of_first_withdrawals_from_a_vault() public {
        _curve("batchWithdraw, vault, first", _firstFromVault);
    }

    function test_curve_of_later_withdrawals_from_a_vault() public {
        _curve("batchWithdraw, vault, later", _laterFromVault);
    }

    function test_curve_of_first_minted_withdrawals() public {
        _curve("batchWithdraw, mint, first", _firstMinted);
    }

    function test_curve_of_later_minted_withdrawals() public {
        _curve("batchWithdraw, mint, later", _laterMinted);
    }

    function test_curve_of_deposits() public {
        _curve("batch of deposit", _deposits);
    }

    function test_curve_of_preimages() public {
        _curve("registerPreimages", _preimages);
    }

    function test_curve_of_meters() public {
        _curve("batch of showMeter", _meters);
    }

    function test_curve_of_closes() public {
        _curve("batch of close", _closes);
    }

    /// I-11: when thousands of stale closes come at once, all answers fit the shortest window there may be, even if only
    /// every tenth block has room for them.
    function test_I11_all_answers_fit_the_window_at_the_gas_of_the_chain() public {
        uint256 most = _curve("batch of challenge", _challenges);
        uint256 blocks = uint256(WINDOW) / 12;
        vm.assertGe(most * blocks / 10, 300_000, "channels answered in a day, blocks every 12 seconds");
    }
}
