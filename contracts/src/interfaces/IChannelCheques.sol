// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, Cheque, LockList, Meter} from "../lib/Types.sol";

/// @notice Evidence for metered locks, and payment out of cover locks.
interface IChannelCheques {
    /// @notice Records the granules an order's buyer signed for; the highest counts. By anybody, at any time.
    function showMeter(Meter calldata meter) external;

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

    /// @notice Highest granules shown for an order.
    function deliveredOf(bytes32 orderId) external view returns (uint256);
}
