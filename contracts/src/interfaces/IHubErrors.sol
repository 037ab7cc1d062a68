// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Closer, FundingMode, Status, WithdrawFault} from "../lib/Types.sol";

/// @notice Refusals. Each names what was wrong and the values that show it.
interface IHubErrors {
    /* Hubs */
    error HubChannels_ZeroAddress();
    error HubChannels_NotAdmin(address sender);
    error HubChannels_NotGuardian(address sender);
    error HubChannels_Paused();
    error HubChannels_BadAnchor(uint8 kind, uint64 seq);
    error HubChannels_AlreadyRegistered(address hub);
    error HubChannels_NotRegistered(address hub);
    error HubChannels_WrongMode(address hub, FundingMode mode);
    error HubChannels_NoMintAllowance(address hub);
    error HubChannels_WindowOutOfRange(uint256 window, uint256 min, uint256 max);
    error HubChannels_BondTooSmall(uint256 bond, uint256 required);
    error HubChannels_WithdrawNotDue(uint256 from, uint256 until);
    error HubChannels_VaultShort(address hub, uint256 wanted, uint256 available);
    error HubChannels_StillOwes(address hub, uint256 owed);

    /* Channels */
    error HubChannels_SignerUnknown(address hub, address signer);
    error HubChannels_BadParams(bytes32 channelId);
    error HubChannels_WrongStatus(bytes32 channelId, Status status);
    error HubChannels_AmountZero();
    error HubChannels_AmountTooLarge(uint256 amount);
    error HubChannels_WithdrawRefused(bytes32 channelId, bytes32 requestId, WithdrawFault fault);

    error HubChannels_NotToken(address sender);
    error HubChannels_LengthMismatch(uint256 left, uint256 right);

    /* Disputes */
    error HubChannels_WrongChannel(bytes32 expected, bytes32 found);
    error HubChannels_WrongEpoch(bytes32 channelId, uint256 expected, uint256 found);
    error HubChannels_SumMismatch(bytes32 channelId, uint256 sum, uint256 capacity);
    error HubChannels_NotNullState(bytes32 channelId);
    error HubChannels_BadAttestation(bytes32 channelId, Closer side);
    error HubChannels_BadSignature(bytes32 channelId, bytes32 structHash);
    error HubChannels_IntentExpired(uint256 validUntil);
    error HubChannels_NotAParty(address sender);
    error HubChannels_WrongDispute(bytes32 channelId, bytes32 expected, bytes32 found);
    error HubChannels_NotNewer(bytes32 channelId, uint256 current, uint256 offered);
    error HubChannels_DeadlinePassed(bytes32 channelId, uint256 deadline);
    error HubChannels_DeadlineAhead(bytes32 channelId, uint256 deadline);

    error HubChannels_NotRevoked(bytes32 channelId, uint256 closedVersion);
    error HubChannels_AlreadyPenalized(bytes32 channelId);
    error HubChannels_TotalsMoved(bytes32 channelId, uint256 withdrawn, uint256 deposited);
    error HubChannels_Expired(uint256 validUntil);
    error HubChannels_NoEquivocation(bytes32 channelId);

    /* Locks */
    error HubChannels_WrongLockList(bytes32 channelId, bytes32 expected, bytes32 found);
    error HubChannels_NothingResolvable();
    error HubChannels_WrongCondition(bytes32 expected, bytes32 found);

    /* Payouts */
    error HubChannels_NothingToPay();
    error HubChannels_NotDue(uint256 dueAt);
    error HubChannels_NotPayee(address sender, address account);
    error HubChannels_TokenRefused();
    error HubChannels_GasTooLow(uint256 left);
    error HubChannels_TransferMismatch(uint256 expected, uint256 received);
}
