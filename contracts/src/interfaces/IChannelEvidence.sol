// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestation, ChannelParams, CoopSettlement, Credit, Dispute, Evidence, State} from "../lib/Types.sol";

/// @notice Evidence that a newer state does not carry by itself, and agreements.
/// @dev Functions of a running dispute take the `Dispute` as the last event left it; the contract knows its hash.
interface IChannelEvidence {
    /// @notice Shows a newer credit of the hub, until the deadline, by anybody.
    function addCredit(ChannelParams calldata params, Dispute calldata dispute, Credit calldata credit) external;

    /// @notice Shows that the closer of `epoch` had given up what it posted: by a state it signed (alone) that was
    /// derived from a later version, or by its `Revoke`. Until the deadline, or, when a user closed, until its late
    /// payout is gone; then only that payout is forfeited and `dispute` is not looked at.
    function penalize(ChannelParams calldata params, uint32 epoch, Dispute calldata dispute, Evidence calldata evidence)
        external;

    /// @notice Ends the epoch by agreement of both sides, Open or Closing: `userAmount` to the user, the rest the hub's.
    /// @dev The agreement names what was withdrawn and deposited, so nothing can slip in between.
    function coopSettle(ChannelParams calldata params, CoopSettlement calldata agreement) external;

    /// @notice Two states of one version, signed by the hub, different: takes the channel's penalty cap from the bond,
    /// to the user less the sender's bounty. Once per channel and epoch.
    function proveEquivocation(
        ChannelParams calldata params,
        State calldata first,
        Attestation calldata firstByHub,
        State calldata second,
        Attestation calldata secondByHub
    ) external;
}
