// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    Attestation,
    ChannelParams,
    CloseIntent,
    CoSigned,
    CoopSettlement,
    Credit,
    Dispute,
    Evidence,
    State
} from "../lib/Types.sol";

/// @notice Posting a state, answering it, punishing, and ending the epoch.
/// @dev Functions of a running dispute take the `Dispute` as the last event left it; the contract knows its hash.
interface IChannelDisputes {
    /// @notice Posts a state and starts the window. The closer is who signed `intent`, else the sender: the hub signer,
    /// the user signer, or `user` (a party in a self-custodied channel, an exit in a custodial one).
    /// @dev Version 0 is the null state: hub balance = capacity, all else zero, no attestation.
    /// @param credit Newest credit of the hub that the state may not have folded.
    function close(
        ChannelParams calldata params,
        CoSigned calldata posted,
        CloseIntent calldata intent,
        Credit calldata credit
    ) external;

    /// @notice Replaces the posted state by a newer one, until the deadline, by anybody. When the new state shows that
    /// the closer had moved past what it posted, the closer forfeits and the sender earns the bounty.
    function challenge(ChannelParams calldata params, Dispute calldata dispute, CoSigned calldata newer) external;

    /// @notice Shows a newer credit of the hub, until the deadline, by anybody.
    function addCredit(ChannelParams calldata params, Dispute calldata dispute, Credit calldata credit) external;

    /// @notice Shows that the closer of `epoch` had given up what it posted: by a state it signed (alone) that was
    /// derived from a later version, or by its `Revoke`. Until the deadline, or, when a user closed, until its late
    /// payout is gone; then only that payout is forfeited and `dispute` is not looked at.
    function penalize(ChannelParams calldata params, uint32 epoch, Dispute calldata dispute, Evidence calldata evidence)
        external;

    /// @notice Ends the dispute at once with the other side's `AcceptClose`; nobody waits. Refused after a penalty.
    function acceptClose(
        ChannelParams calldata params,
        Dispute calldata dispute,
        State calldata state,
        bytes calldata signature
    ) external;

    /// @notice Ends the epoch after the deadline, by anybody. Pays the side that did not close; a closing user is paid
    /// from deadline + self delay on (`claimDelayed`). The channel is open again, in the next epoch.
    function settle(ChannelParams calldata params, Dispute calldata dispute, State calldata state) external;

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
