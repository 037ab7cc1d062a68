// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, Closer, FundingMode, State, WithdrawFault} from "../lib/Types.sol";

/// @notice Everything a watcher needs to rebuild the contract's books without reading its storage.
interface IHubEvents {
    /*//////////////////////////////////////////////////////////////////////////
                                        HUBS
    //////////////////////////////////////////////////////////////////////////*/

    event HubRegistered(
        address indexed hub,
        address indexed signer,
        FundingMode mode,
        uint32 minChallengePeriod,
        uint32 maxChallengePeriod,
        uint96 penaltyCap,
        bool operatorPays,
        uint256 bond,
        string uri
    );
    event HubSignerAdded(address indexed hub, address indexed signer);
    event HubUriChanged(address indexed hub, string uri);
    event VaultFunded(address indexed hub, uint256 amount, uint256 vaultAfter);
    event BondFunded(address indexed hub, uint256 amount, uint256 bondAfter);
    event MintAllowed(address indexed hub, uint256 amount, uint256 allowanceAfter);
    event HubWithdrawAnnounced(address indexed hub, uint256 amount, uint256 from);
    event HubWithdrawn(address indexed hub, address to, uint256 amount, uint256 vaultAfter);

    /// @notice `root` of a kind; see `anchor`.
    event Anchored(address indexed hub, uint8 indexed kind, uint64 indexed seq, bytes32 root, address signer);
    event AdminTransferStarted(address indexed admin, address indexed next);
    event AdminChanged(address indexed admin);
    event GuardianChanged(address indexed guardian);
    event PausedChanged(bool paused);

    /// @notice A call of a batch failed and changed nothing.
    event CallSkipped(uint256 index, bytes4 selector, bytes reason);

    /*//////////////////////////////////////////////////////////////////////////
                               DEPOSITS AND WITHDRAWALS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice First deposit of a channel the contract had not heard of.
    event Opened(bytes32 indexed channelId, address indexed hub, address indexed user, ChannelParams params);
    /// @notice One event for all: a channel's collateral is read with `channelOf`.
    event CollateralAdded(address indexed hub, bytes32[] channelIds, uint96[] amounts);
    event Deposited(
        bytes32 indexed channelId,
        address indexed hub,
        address indexed from,
        uint32 epoch,
        uint256 amount,
        uint256 depositedAfter
    );
    event Withdrawn(
        bytes32 indexed channelId,
        address indexed hub,
        bytes32 indexed requestId,
        uint32 epoch,
        address to,
        uint256 amount,
        uint256 withdrawnAfter
    );
    /// @param index Place in the batch.
    event WithdrawSkipped(
        bytes32 indexed channelId, address indexed hub, bytes32 indexed requestId, uint256 index, WithdrawFault fault
    );

    /*//////////////////////////////////////////////////////////////////////////
                                      DISPUTES
    //////////////////////////////////////////////////////////////////////////*/

    /// @param state The posted state: its version is the closed version until settlement.
    event Closed(
        bytes32 indexed channelId, address indexed hub, State state, Closer closer, uint128 creditMax, uint40 deadline
    );
    /// @param penalized Whether this challenge made the closer forfeit.
    event Challenged(bytes32 indexed channelId, address indexed hub, State state, bool penalized, address challenger);
    event CreditAdded(bytes32 indexed channelId, address indexed hub, uint128 creditMax);
    event Penalized(bytes32 indexed channelId, address indexed hub, uint48 closedVersion, address bountyTo);
    /// @notice A closed user's late payout was forfeited after settlement.
    event DelayedForfeited(
        bytes32 indexed channelId, address indexed hub, uint32 epoch, uint256 amount, uint256 bounty, address bountyTo
    );
    event CoopSettled(bytes32 indexed channelId, address indexed hub, uint32 epoch, uint256 userPay, uint256 owed);
    event EquivocationProved(
        bytes32 indexed channelId,
        address indexed hub,
        uint32 epoch,
        uint48 version,
        uint256 userBonus,
        uint256 bounty,
        address bountyTo
    );
    /// @param userPay From the hub's funds to the user, now or at `payAt`; what was short is in `owed`.
    /// @param userBonus From the hub's bond to the user.
    /// @param bounty To `bountyTo`.
    /// @param lockReserve Set aside for the lock list of the state.
    /// @param payAt When a closer's own payout is due; 0 when everything is paid.
    event Settled(
        bytes32 indexed channelId,
        address indexed hub,
        uint32 epoch,
        uint48 version,
        bool penalized,
        uint256 userPay,
        uint256 userBonus,
        uint256 bounty,
        address bountyTo,
        uint256 lockReserve,
        uint256 owed,
        uint40 payAt
    );

    /*//////////////////////////////////////////////////////////////////////////
                                       CLAIMS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice The closer's late payout left: to the user, or back to the hub's vault.
    event DelayedPaid(bytes32 indexed channelId, address indexed hub, uint32 epoch, address to, uint256 amount);
    /// @notice The hub's funds were short by `amount`.
    event Bounced(bytes32 indexed channelId, address indexed hub, uint32 epoch, uint256 amount);
    event OwedPaid(bytes32 indexed channelId, address indexed hub, uint32 epoch, uint256 amount, uint256 left);
    /// @notice A payout failed and waits for `account`.
    event Reclaimable(address indexed account, uint256 amount, bool unminted);
    event Reclaimed(address indexed account, address to, uint256 amount);

    /*//////////////////////////////////////////////////////////////////////////
                                        LOCKS
    //////////////////////////////////////////////////////////////////////////*/

    event PreimageRegistered(bytes32 indexed hash, bytes32 preimage);
    event MeterShown(bytes32 indexed orderId, uint64 delivered);
    /// @param userPay To the user, of which `owed` waits for funds.
    /// @param resolved Bit i: lock i of the list is gone; the others stay, in order.
    event Unlocked(
        bytes32 indexed channelId,
        address indexed hub,
        uint32 epoch,
        uint256 resolved,
        uint256 userPay,
        uint256 owed,
        uint256 reserve,
        uint256 short
    );
    event ChequeCashed(
        bytes32 indexed channelId,
        bytes32 indexed bookId,
        address indexed beneficiary,
        uint32 epoch,
        uint256 index,
        uint256 amount,
        uint256 reserve,
        uint256 short
    );
    event ChequeBounced(bytes32 indexed bookId, address indexed beneficiary, uint256 short);
}
