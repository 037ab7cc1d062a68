// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1363Receiver} from "@openzeppelin/contracts/interfaces/IERC1363Receiver.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";

import {HubStore} from "./HubStore.sol";
import {IChannelPayments} from "./interfaces/IChannelPayments.sol";
import {IMintable} from "./interfaces/IMintable.sol";
import {Signatures} from "./lib/Signatures.sol";
import {ChannelParams, FundingMode, Status, Types, WithdrawFault, Withdrawal} from "./lib/Types.sol";

/// Money into and out of open channels.
abstract contract ChannelPayments is HubStore, IChannelPayments {
    using Signatures for bytes;

    /*//////////////////////////////////////////////////////////////////////////
                                      DEPOSITS
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IChannelPayments
    function deposit(ChannelParams calldata params, uint256 amount) external nonReentrant {
        _pullDeposit(params, amount);
    }

    /// @inheritdoc IChannelPayments
    function depositWithPermit(
        ChannelParams calldata params,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        // Somebody may have sent the permit before us; then the allowance is there already.
        try IERC20Permit(_token).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _pullDeposit(params, amount);
    }

    /// @inheritdoc IChannelPayments
    function onTransferReceived(address, address from, uint256 amount, bytes calldata data)
        external
        nonReentrant
        returns (bytes4)
    {
        if (msg.sender != _token) revert HubChannels_NotToken(msg.sender);
        uint256 length = 11 * 32;
        if (data.length != length) revert HubChannels_LengthMismatch(length, data.length);
        ChannelParams calldata params;
        assembly ("memory-safe") {
            params := data.offset
        }
        if (_creditDeposit(params, from, amount)) IMintable(_token).burn(amount);
        return IERC1363Receiver.onTransferReceived.selector;
    }

    function _pullDeposit(ChannelParams calldata params, uint256 amount) private {
        bool burns = _creditDeposit(params, msg.sender, amount);
        _pull(amount);
        if (burns) IMintable(_token).burn(amount);
    }

    /// @dev Books tokens that the caller has or brings.
    /// @return burns Whether they must be burned then.
    function _creditDeposit(ChannelParams calldata params, address from, uint256 amount) private returns (bool burns) {
        _requireUnpaused();
        (bytes32 id, Channel storage channel) = _requireChannel(params);
        if (channel.status != Status.Open) revert HubChannels_WrongStatus(id, channel.status);
        if (amount == 0) revert HubChannels_AmountZero();
        uint256 before = channel.deposited;
        if (amount > MAX_DEPOSITED - before) revert HubChannels_AmountTooLarge(amount);
        Hub storage hub = _hubs[params.hub];

        // Safe: bounded above.
        channel.deposited = uint128(before + amount);
        hub.funds = _toUint128(hub.funds + amount);
        if (before == 0 && channel.epoch == 0 && channel.withdrawn == 0) {
            emit Opened(id, params.hub, params.user, params);
        }
        emit Deposited(id, params.hub, from, channel.epoch, amount, before + amount);
        return hub.mode == FundingMode.Mint;
    }

    /// @inheritdoc IChannelPayments
    function batchCollateral(bytes32[] calldata channelIds, uint96[] calldata amounts) external nonReentrant {
        _vaultHub(msg.sender);
        if (channelIds.length != amounts.length) {
            revert HubChannels_LengthMismatch(channelIds.length, amounts.length);
        }
        uint256 total;
        for (uint256 i = 0; i < channelIds.length; ++i) {
            uint96 amount = amounts[i];
            _channels[channelIds[i]].collateral += amount;
            unchecked {
                // Safe: no list is long enough for sums of 96 bits to overflow 256.
                total += amount;
            }
        }
        emit CollateralAdded(msg.sender, channelIds, amounts);
        _pull(total);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                    WITHDRAWALS
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IChannelPayments
    function withdraw(Withdrawal calldata item) external nonReentrant {
        (bytes32 id, WithdrawFault fault) = _tryWithdraw(item);
        if (fault != WithdrawFault.None) revert HubChannels_WithdrawRefused(id, item.requestId, fault);
    }

    /// @inheritdoc IChannelPayments
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
        Channel storage channel = _channels[id];
        Hub storage hub = _hubs[item.params.hub];
        uint256 amount = item.amount;
        uint256 prevTotal = item.prevTotal;
        uint256 funds = hub.funds;
        fault = _withdrawFault(item, id, channel, hub, funds);
        if (fault != WithdrawFault.None) return (id, fault);

        unchecked {
            // Safe: the fault check saw that the total fits and that vault and collateral cover the amount.
            channel.withdrawn = uint128(prevTotal + amount);
            channel.known = true;
            if (funds < amount) channel.collateral -= uint96(amount - funds);
            hub.funds = uint128(funds < amount ? 0 : funds - amount);
            emit Withdrawn(id, item.params.hub, item.requestId, item.epoch, item.to, amount, prevTotal + amount);
        }
        _payFunds(hub.mode, item.to, amount);
    }

    function _withdrawFault(
        Withdrawal calldata item,
        bytes32 id,
        Channel storage channel,
        Hub storage hub,
        uint256 funds
    ) private view returns (WithdrawFault) {
        if (!channel.known && !_areValid(item.params)) return WithdrawFault.ChannelParams;
        if (channel.status != Status.Open) return WithdrawFault.NotOpen;
        if (channel.epoch != item.epoch) return WithdrawFault.WrongEpoch;
        if (block.timestamp > item.validUntil) return WithdrawFault.Expired;
        uint256 amount = item.amount;
        uint256 prevTotal = item.prevTotal;
        if (channel.withdrawn != prevTotal) return WithdrawFault.WrongTotal;
        if (amount == 0 || amount > type(uint128).max - prevTotal) return WithdrawFault.Amount;
        if (item.to == address(0) || item.to == address(this)) return WithdrawFault.Payee;
        if (funds < amount) {
            uint256 collateral = hub.mode == FundingMode.Vault ? channel.collateral : 0;
            if (funds + collateral < amount) return WithdrawFault.FundsShort;
        }
        return _signatureFault(item, id, hub);
    }

    function _signatureFault(Withdrawal calldata item, bytes32 id, Hub storage hub)
        private
        view
        returns (WithdrawFault)
    {
        bytes32 digest = Types.digest(_domain(), Types.withdraw(id, item));
        bytes calldata hubSignature = item.hubSignature;
        bool byOperator = hubSignature.length == 0 && msg.sender == item.params.hub && hub.operatorPays;
        if (!byOperator && !hubSignature.isBy(digest, item.params.hubSigner)) return WithdrawFault.HubSignature;
        if (!item.userSignature.isBy(digest, item.params.userSigner)) return WithdrawFault.UserSignature;
        return WithdrawFault.None;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                        VIEWS
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IChannelPayments
    function channelIdOf(ChannelParams calldata params) external view returns (bytes32) {
        return _channelId(params);
    }

    /// @inheritdoc IChannelPayments
    function channelOf(bytes32 channelId) external view returns (ChannelView memory) {
        Channel storage channel = _channels[channelId];
        return ChannelView(
            channel.epoch,
            channel.withdrawn,
            channel.deposited,
            channel.collateral,
            channel.deadline,
            channel.status,
            channel.closer,
            channel.dispute
        );
    }
}
