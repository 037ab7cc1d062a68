// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, LockList} from "../lib/Types.sol";

/// @notice Preimages, and what settled lock lists pay.
interface IChannelLocks {
    /// @notice Records that 32-byte preimages were known now; for open and settled channels alike. A known one keeps
    /// its first time.
    function registerPreimages(bytes32[] calldata preimages) external;

    /// @notice Resolves every lock of a settled list that can be resolved now, and pays the user its part.
    /// @dev hash: preimage before expiry, or expiry. metered: expiry, or before it when the lock's receiver sends.
    /// cover: expiry; what was not cashed goes back. Locks that wait stay in the list.
    function unlock(ChannelParams calldata params, uint32 epoch, LockList calldata list) external;

    /// @notice When a preimage of `hash` was registered, 0 never.
    function preimageTime(bytes32 hash) external view returns (uint256);
}
