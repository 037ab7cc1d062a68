// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams} from "../../src/lib/Types.sol";
import {vm} from "../Vm.sol";
import {Released} from "./Released.sol";

/// Measures a batch function by the length of its batch, up to a block: `gas/Curves.json`, compared at every run. The
/// longest batch is not computed but sent.
abstract contract GasCurve is Released {
    uint256 internal constant BLOCK_GAS = 30_000_000;
    address internal immutable hubSigner = vm.addr(HUB_KEY);
    address internal immutable custody = vm.addr(CUSTODY_KEY);

    /// Gives back the memory a run has used: two thousand items would not fit otherwise.
    modifier frees() {
        uint256 free;
        assembly {
            free := mload(0x40)
        }
        _;
        assembly {
            mstore(0x40, free)
        }
    }

    function _once(function(uint256) internal returns (uint256) run, uint256 count) private frees returns (uint256) {
        return run(count);
    }

    /// @param run Prepares that many items that no earlier run used, sends them in one transaction, and tells its gas.
    function _curve(string memory name, function(uint256) internal returns (uint256) run)
        internal
        returns (uint256 most)
    {
        uint256 one = _once(run, 1);
        uint256 ten = _once(run, 10);
        uint256 hundred = _once(run, 100);
        uint256 each = (hundred - ten) / 90;
        most = (BLOCK_GAS - (hundred - 100 * each)) / each;
        // Memory costs grow faster than its length: step back until the batch fits.
        uint256 last = _once(run, most);
        while (last > BLOCK_GAS) {
            most -= 1 + (last - BLOCK_GAS) / each;
            last = _once(run, most);
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

    function _value(string memory name, string memory part, uint256 value) internal {
        vm.snapshotValue("Curves", string.concat(name, ": ", part), value);
    }

    /// Channels, places and preimages used so far: nothing in a batch was touched before.
    uint256 internal _used;

    function _fresh() internal returns (ChannelParams memory) {
        return _of(vaultHub, _used++);
    }

    /// The channel at a place; each has a payee of its own.
    function _of(address hub, uint256 place) internal view returns (ChannelParams memory params) {
        params = _custodial(hub);
        params.salt = keccak256(abi.encode("curve", place));
        params.user = address(uint160(uint256(params.salt)));
    }

    function _gas() internal view returns (uint256) {
        return vm.lastCallGas().gasTotalUsed;
    }

    function _sent(address sender, bytes[] memory calls) internal returns (uint256) {
        vm.prank(sender);
        vm.assertEq(channels.batch(calls), calls.length, "all");
        return _gas();
    }
}
