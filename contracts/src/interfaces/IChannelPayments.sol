// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, Closer, Status, Withdrawal} from "../lib/Types.sol";

/// @notice Money into and out of open channels.
interface IChannelPayments {
    /// @param deadline Last second for a challenge while Closing, else 0.
    /// @param disputeHash keccak256(abi.encode(Dispute)) while Closing, else 0.
    struct ChannelView {
        uint32 epoch;
        uint128 withdrawn;
        uint128 deposited;
        uint96 collateral;
        uint40 deadline;
        Status status;
        Closer closer;
        bytes32 disputeHash;
    }

    /// @notice Pays `amount` of the sender's tokens into a channel; anybody may. In mint mode they are burned and the
    /// hub's mint allowance grows by as much. Only while the channel is open. The first deposit also emits `Opened`.
    function deposit(ChannelParams calldata params, uint256 amount) external;

    /// @notice `deposit` with an ERC-2612 permit of the sender for this contract, in one call.
    function depositWithPermit(
        ChannelParams calldata params,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice `deposit` by ERC-1363 `transferAndCall`: `data` is abi.encode(ChannelParams). Only the token calls it.
    function onTransferReceived(address operator, address from, uint256 amount, bytes calldata data)
        external
        returns (bytes4);

    /// @notice Hub in vault mode: sets its own tokens aside for single channels. At settlement they pay before the vault does,
    /// and the rest returns to it; a withdrawal uses them only where the vault is short.
    function batchCollateral(bytes32[] calldata channelIds, uint96[] calldata amounts) external;

    /// @notice Pays one withdrawal both sides ordered. The channel stays open and usable.
    /// @dev Withdrawals of an epoch form a chain: `prevTotal` must equal what has been withdrawn so far. One that the
    /// hub's funds can't cover in full is refused, and can be sent again until `validUntil`.
    function withdraw(Withdrawal calldata item) external;

    /// @notice Pays many withdrawals; one that can't be paid is skipped and reported by `WithdrawSkipped`.
    /// @return paid How many were paid.
    function batchWithdraw(Withdrawal[] calldata items) external returns (uint256 paid);

    /// @notice Id of a channel: the EIP-712 digest of its parameters.
    function channelIdOf(ChannelParams calldata params) external view returns (bytes32);

    function channelOf(bytes32 channelId) external view returns (ChannelView memory);
}
