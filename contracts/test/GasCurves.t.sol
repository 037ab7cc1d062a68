// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, CoSigned, Dispute, State, Withdrawal} from "../src/lib/Types.sol";
import {Released} from "./support/Released.sol";
import {vm} from "./Vm.sol";

/// Gas of every batch function by its length, and how many fit a block: `gas/Curves.json`, compared at every run. The
/// longest batch is not computed but sent.
/// forge-config: default.isolate = true
contract GasCurvesTest is Released {
    uint256 private constant BLOCK_GAS = 30_000_000;
    address private immutable hubSigner = vm.addr(HUB_KEY);

    /// @param run Prepares that many items that no earlier run used, sends them in one transaction, and tells its gas.
    function _curve(string memory name, function(uint256) internal returns (uint256) run)
        private
        returns (uint256 most)
    {
        uint256 one = run(1);
        uint256 ten = run(10);
        uint256 hundred = run(100);
        uint256 each = (hundred - ten) / 90;
        most = (BLOCK_GAS - (hundred - 100 * each)) / each;
        // Memory costs grow faster than its length: step back until the batch fits.
        uint256 last = run(most);
        while (last > BLOCK_GAS) {
            most -= 1 + (last - BLOCK_GAS) / each;
            last = run(most);
        }
        _value(name, "1", one);
        _value(name, "10", ten);
        _value(name, "100", hundred);
        _value(name, "each", each);
        _value(name, "most", most);
        _value(name, "gas of the most", last);
        vm.assertGe(last, BLOCK_GAS * 95 / 100, "nearly a whole block: the fit is good");
        vm.assertLe(last, BLOCK_GAS, "fits");
    }

    function _value(string memory name, string memory part, uint256 value) private {
        vm.snapshotValue("Curves", string.concat(name, ": ", part), value);
    }

    uint256 private _used;

    function _fresh() private returns (ChannelParams memory params) {
        params = _custodial(vaultHub);
        params.salt = keccak256(abi.encode("curve", ++_used));
        params.user = address(uint160(uint256(params.salt)));
    }

    function _again(uint256 place) private view returns (ChannelParams memory params) {
        params = _custodial(vaultHub);
        params.salt = keccak256(abi.encode("curve", place));
        params.user = address(uint160(uint256(params.salt)));
    }

    function _gas() private view returns (uint256) {
        return vm.lastCallGas().gasTotalUsed;
    }

    function _sent(address sender, bytes[] memory calls) private returns (uint256) {
        vm.prank(sender);
        vm.assertEq(channels.batch(calls), calls.length, "all");
        return _gas();
    }

    function _collateral(uint256 count) private returns (uint256) {
        bytes32[] memory ids = new bytes32[](count);
        uint96[] memory amounts = new uint96[](count);
        for (uint256 i = 0; i < count; ++i) {
            (ids[i], amounts[i]) = (keccak256(abi.encode("collateral", ++_used)), 1 ether);
        }
        _arm(vaultHub, count * 1 ether);
        vm.prank(vaultHub);
        channels.batchCollateral(ids, amounts);
        return _gas();
    }

    function _withdrawals(uint256 count) private returns (uint256) {
        Withdrawal[] memory items = new Withdrawal[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _fresh();
            items[i] = _withdrawal(params, 1 ether, params.user);
            items[i].hubSignature = "";
        }
        vm.prank(vaultHub);
        channels.batchWithdraw(items);
        return _gas();
    }

    function _preimages(uint256 count) private returns (uint256) {
        bytes32[] memory preimages = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            preimages[i] = keccak256(abi.encode("preimage", ++_used));
        }
        channels.registerPreimages(preimages);
        return _gas();
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

    function _settlements(uint256 count, address closer) private returns (bytes[] memory calls) {
        calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _fresh();
            State memory state = _state(params, 5, 1 ether);
            calls[i] = abi.encodeCall(channels.settle, (params, _close(closer, params, state), state));
        }
        _passWindow();
    }

    function _hubClosed(uint256 count) private returns (uint256) {
        return _sent(stranger, _settlements(count, hubSigner));
    }

    function _late(uint256 count) private returns (uint256) {
        _sent(stranger, _settlements(count, vm.addr(CUSTODY_KEY)));
        vm.warp(block.timestamp + SELF_DELAY);
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            calls[i] = abi.encodeCall(channels.claimDelayed, (_again(_used - i), 0));
        }
        return _sent(stranger, calls);
    }

    function test_curve_of_collateral() public {
        _curve("batchCollateral, new", _collateral);
    }

    function test_curve_of_withdrawals() public {
        _curve("batchWithdraw, vault, first", _withdrawals);
    }

    function test_curve_of_preimages() public {
        _curve("registerPreimages", _preimages);
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

    function test_curve_of_settlements() public {
        _curve("batch of settle, hub closed", _hubClosed);
    }

    function test_curve_of_late_payouts() public {
        _curve("batch of claimDelayed", _late);
    }
}
