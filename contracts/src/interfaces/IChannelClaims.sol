// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, Closer} from "../lib/Types.sol";

/// @notice What is paid after an epoch has ended: late, owed, or failed at first.
interface IChannelClaims {
    /*//////////////////////////////////////////////////////////////////////////
                                       CLAIMS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Pays the closer of an ended `epoch`: a user its balance, a hub its collateral back into the vault.
    function claimDelayed(ChannelParams calldata params, uint32 epoch) external;

    /// @notice Pays what the hub's funds could not at the end of `epoch`, as far as they reach now: what locks left owed
    /// at any time, the balance of a closing user only after its late payout.
    function payOwed(ChannelParams calldata params, uint32 epoch) external;

    /// @notice Pays again what failed to arrive at `account`. Anybody may push it to `account`; only `account` itself
    /// may name another receiver. Held tokens and tokens still to be minted are paid each by itself.
    function claimReclaim(address account, address to) external;

    /*//////////////////////////////////////////////////////////////////////////
                                        VIEWS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice What `epoch` of a channel still has to pay: `amount` from `dueAt` on to its closer, `owed` to its user,
    /// and the hash of its lock list, keccak256(abi.encode(locksHash, reserve, short)).
    function pendingOf(bytes32 channelId, uint32 epoch)
        external
        view
        returns (uint256 amount, uint256 dueAt, Closer closer, uint256 owed, bytes32 lockList);

    /// @notice What waits for `account` after failed payouts.
    function reclaimable(address account) external view returns (uint256);
}
