// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, Cheque, Closer, LockList, Meter} from "../lib/Types.sol";

/// @notice What is paid after an epoch has ended: late, owed, failed at first, or locked.
interface IChannelClaims {
    /*//////////////////////////////////////////////////////////////////////////
                                       CLAIMS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Pays the closer of an ended `epoch`: a user its balance, a hub its collateral back into the vault.
    function claimDelayed(ChannelParams calldata params, uint32 epoch) external;

    /// @notice Pays what the hub's funds could not at the end of `epoch`, as far as they reach now.
    function payOwed(ChannelParams calldata params, uint32 epoch) external;

    /// @notice Pays again what failed to arrive at `account`. Anybody may push it to `account`; only `account` itself
    /// may name another receiver.
    function claimReclaim(address account, address to) external;

    /*//////////////////////////////////////////////////////////////////////////
                                        LOCKS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Records that 32-byte preimages were known now; for open and settled channels alike. A known one keeps
    /// its first time.
    function registerPreimages(bytes32[] calldata preimages) external;

    /// @notice Records the granules an order's buyer signed for; the highest counts. By anybody, at any time.
    function showMeter(Meter calldata meter) external;

    /// @notice Resolves every lock of a settled list that can be resolved now, and pays the user its part.
    /// @dev hash: preimage before expiry, or expiry. metered: expiry, or before it when the lock's receiver sends.
    /// cover: expiry; what was not cashed goes back. Locks that wait stay in the list.
    function unlock(ChannelParams calldata params, uint32 epoch, LockList calldata list) external;

    /// @notice Pays a beneficiary of a cover lock its newest cheque less what it has had, as far as the lock reaches;
    /// a shortfall is reported by `ChequeBounced` and stays claimable.
    /// @param index Place of the cover lock in the list.
    function cashCheque(
        ChannelParams calldata params,
        uint32 epoch,
        LockList calldata list,
        uint256 index,
        Cheque calldata cheque
    ) external;

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

    /// @notice When a preimage of `hash` was registered, 0 never.
    function preimageTime(bytes32 hash) external view returns (uint256);

    /// @notice Highest granules shown for an order.
    function deliveredOf(bytes32 orderId) external view returns (uint256);
}
