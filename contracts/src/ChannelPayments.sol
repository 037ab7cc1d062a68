// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubStore} from "./HubStore.sol";
import {IHubChannels} from "./interfaces/IHubChannels.sol";
import {IMintable} from "./interfaces/IMintable.sol";
import {Signatures} from "./lib/Signatures.sol";
import {ChannelParams, FundingMode, Status, Types, WithdrawFault, Withdrawal} from "./lib/Types.sol";

/// Money into and out of open channels.
abstract contract ChannelPayments is HubStore {
    using Signatures for bytes;

    /// @inheritdoc IHubChannels
    function deposit(ChannelParams calldata params, uint256 amount) external nonReentrant {
        _recordDeposit(params, msg.sender, amount);
        _pull(amount);
        if (_hubs[params.hub].mode == FundingMode.Mint) IMintable(token).burn(amount);
    }

    /// @dev Checks, books and emits; the caller sees to it that the tokens are, or come, here.
    function _recordDeposit(ChannelParams calldata params, address from, uint256 amount) internal {
        bytes32 id = _requireChannel(params);
        Channel storage channel = _channels[id];
        if (channel.status != Status.Open) revert HubChannels_WrongStatus(id, channel.status);
        if (amount == 0) revert HubChannels_AmountZero();
        uint256 deposited = channel.deposited + amount;
        if (deposited > MAX_DEPOSITED) revert HubChannels_AmountTooLarge(amount);
        Hub storage hub = _hubs[params.hub];
        // Safe: bounded above.
        channel.deposited = uint128(deposited);
        hub.funds = _toUint128(hub.funds + amount);
        emit Deposited(id, params.hub, from, channel.epoch, amount, deposited);
    }

    /// @inheritdoc IHubChannels
    function withdraw(Withdrawal calldata item) external nonReentrant {
        (bytes32 id, WithdrawFault fault) = _tryWithdraw(item);
        if (fault != WithdrawFault.None) revert HubChannels_WithdrawRefused(id, item.requestId, fault);
    }

    /// @inheritdoc IHubChannels
    function batchWithdraw(Withdrawal[] calldata items) external nonReentrant returns (uint256 paid) {
        for (uint256 i = 0; i < items.length; ++i) {
            (bytes32 id, WithdrawFault fault) = _tryWithdraw(items[i]);
            if (fault == WithdrawFault.None) ++paid;
            else emit WithdrawSkipped(id, items[i].params.hub, items[i].requestId, i, fault);
        }
    }

    /// @dev Pays, or says why not and changes nothing.
    function _tryWithdraw(Withdrawal calldata item) private returns (bytes32 id, WithdrawFault fault) {
        id = _channelId(item.params);
        fault = _withdrawFault(item, id);
        if (fault != WithdrawFault.None) return (id, fault);

        Channel storage channel = _channels[id];
        Hub storage hub = _hubs[item.params.hub];
        uint128 total = item.prevTotal + item.amount;
        channel.withdrawn = total;
        uint256 taken = _take(hub, item.amount);
        // Safe: the fault check saw that vault and collateral cover the amount.
        if (taken < item.amount) channel.collateral -= uint96(item.amount - taken);
        emit Withdrawn(id, item.params.hub, item.requestId, item.epoch, item.to, item.amount, total);
        _payFunds(hub.mode, item.to, item.amount);
    }

    function _withdrawFault(Withdrawal calldata item, bytes32 id) private view returns (WithdrawFault) {
        if (!_areValid(item.params)) return WithdrawFault.ChannelParams;
        Channel storage channel = _channels[id];
        if (channel.status != Status.Open) return WithdrawFault.NotOpen;
        if (channel.epoch != item.epoch) return WithdrawFault.WrongEpoch;
        if (block.timestamp > item.validUntil) return WithdrawFault.Expired;
        if (channel.withdrawn != item.prevTotal) return WithdrawFault.WrongTotal;
        if (item.amount == 0 || item.amount > type(uint128).max - item.prevTotal) return WithdrawFault.Amount;
        if (item.to == address(0) || item.to == address(this)) return WithdrawFault.Payee;
        Hub storage hub = _hubs[item.params.hub];
        if (hub.funds < item.amount && uint256(hub.funds) + channel.collateral < item.amount) {
            return WithdrawFault.FundsShort;
        }
        return _signatureFault(item, id, hub);
    }

    function _signatureFault(Withdrawal calldata item, bytes32 id, Hub storage hub)
        private
        view
        returns (WithdrawFault)
    {
        bytes32 digest = Types.digest(
            _domain(),
            Types.withdraw(id, item.epoch, item.prevTotal, item.amount, item.to, item.validUntil, item.requestId)
        );
        bool byOperator = msg.sender == item.params.hub && hub.operatorPays && item.hubSignature.length == 0;
        if (!byOperator && !item.hubSignature.isBy(digest, item.params.hubSigner)) return WithdrawFault.HubSignature;
        if (!item.userSignature.isBy(digest, item.params.userSigner)) return WithdrawFault.UserSignature;
        return WithdrawFault.None;
    }
}
