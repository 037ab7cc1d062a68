// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IChannelCheques} from "./IChannelCheques.sol";
import {IChannelClaims} from "./IChannelClaims.sol";
import {IChannelLocks} from "./IChannelLocks.sol";
import {IChannelDisputes} from "./IChannelDisputes.sol";
import {IChannelEvidence} from "./IChannelEvidence.sol";
import {IChannelPayments} from "./IChannelPayments.sol";
import {IHubErrors} from "./IHubErrors.sol";
import {IHubEvents} from "./IHubEvents.sol";
import {IHubRegistry} from "./IHubRegistry.sol";

/// @title Channels between hubs and users, settled in one ERC20
/// @notice A channel is a pair of balances that both sides sign off chain. This contract pays withdrawals both sides
/// ordered, takes deposits, and, when one side posts a state, gives the other a window to answer with a newer one; who
/// posts a revoked state forfeits. Whoever holds a co-signed state can be paid without anybody's goodwill.
/// @dev A channel never needs to be opened: it is its parameters, and their EIP-712 digest is its id. After a
/// settlement it is open again in the next epoch, and nothing signed for an earlier epoch has any effect.
///
/// Trust: nobody can change this contract, its token, or a channel. The admin only grants mint allowance; the guardian
/// only stops what puts new money in. Neither can stop or redirect a withdrawal, a close or anything after it.
///
/// Safety assumes of the token: a transfer moves exactly what it says, balances change by transfers only. Liveness
/// assumes nothing: a payout that fails becomes a claim of its receiver (`reclaimable`) and the rest goes on.
interface IHubChannels is
    IHubRegistry,
    IChannelPayments,
    IChannelDisputes,
    IChannelEvidence,
    IChannelClaims,
    IChannelLocks,
    IChannelCheques,
    IHubEvents,
    IHubErrors
{
    /// @notice Runs many calls as the sender; one that fails is undone, skipped and reported by `CallSkipped`. Makes a
    /// batch of any function: challenges, settlements, claims.
    /// @return done How many went through.
    function batch(bytes[] calldata calls) external returns (uint256 done);

    /// @notice Code that answers what the contract itself does not, fixed at deployment.
    function module() external view returns (address);
}
