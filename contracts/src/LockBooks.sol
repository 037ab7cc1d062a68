// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubStore} from "./HubStore.sol";
import {Lock, LockList, Types} from "./lib/Types.sol";

/// Settled lock lists as the contract remembers them, and what backs them.
abstract contract LockBooks is HubStore {
    /// @dev What a list still has, and what one call pays out of it.
    struct Purse {
        uint256 reserve;
        uint256 short;
        uint256 paid;
        uint256 owed;
    }

    function _requireList(bytes32 id, bytes32 key, LockList calldata list) internal view {
        bytes32 found = Types.lockList(Types.hashed(list.locks), list.reserve, list.short);
        if (found != _lockLists[key]) revert HubChannels_WrongLockList(id, _lockLists[key], found);
    }

    function _keepList(bytes32 key, Lock[] memory locks, Purse memory purse) internal {
        _lockLists[key] = Types.lockList(Types.hash(locks), purse.reserve, purse.short);
    }

    /// @dev Takes `wanted` out of the reserve, then, for what was short at settlement, out of the hub's funds.
    /// @return gap What was covered by neither, but is still backed by the recorded shortage.
    function _drawReserve(Hub storage hub, Purse memory purse, uint256 wanted) internal returns (uint256 gap) {
        uint256 drawn = wanted < purse.reserve ? wanted : purse.reserve;
        purse.reserve -= drawn;
        gap = wanted - drawn < purse.short ? wanted - drawn : purse.short;
        if (gap != 0) {
            uint256 taken = _take(hub, gap);
            purse.short -= taken;
            // Safe: the hub's sum holds every part.
            hub.owed -= uint128(taken);
            drawn += taken;
            gap -= taken;
        }
        purse.paid = drawn;
    }
}
