// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, CloseIntent, CoSigned, Credit, Dispute, State} from "../lib/Types.sol";

/// @notice Posting a state, answering it, and settling.
/// @dev Functions of a running dispute take the `Dispute` as the last event left it; the contract knows its hash.
interface IChannelDisputes {
    /// @notice Posts a state and starts the window. The closer is who signed `intent`, else the sender: the hub signer,
    /// the user signer, or `user` (a party in a self-custodied channel; in a custodial one an exit, and only as sender).
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
}
