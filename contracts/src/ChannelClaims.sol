// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {HubStore} from "./HubStore.sol";
import {IChannelClaims} from "./interfaces/IChannelClaims.sol";
import {IMintable} from "./interfaces/IMintable.sol";
import {ChannelParams, Closer} from "./lib/Types.sol";

/// What is paid after an epoch has ended: late, owed, or failed at first.
abstract contract ChannelClaims is HubStore, IChannelClaims {
    /// @inheritdoc IChannelClaims
    function claimDelayed(ChannelParams calldata params, uint32 epoch) external nonReentrant {
        bytes32 id = _channelId(params);
        bytes32 key = _key(id, epoch);
        Delayed memory late = _delayed[key];
        if (late.dueAt == 0) revert HubChannels_NothingToPay();
        if (block.timestamp < late.dueAt) revert HubChannels_NotDue(late.dueAt);
        Hub storage hub = _hubs[params.hub];

        delete _delayed[key];
        if (late.closer == Closer.Hub) {
            _giveBack(hub, late.amount);
            emit DelayedPaid(id, params.hub, epoch, params.hub, late.amount);
            return;
        }
        emit DelayedPaid(id, params.hub, epoch, params.user, late.amount);
        _payFunds(hub.mode, params.user, late.amount);
    }

    /// @inheritdoc IChannelClaims
    function payOwed(ChannelParams calldata params, uint32 epoch) external nonReentrant {
        bytes32 id = _channelId(params);
        bytes32 key = _key(id, epoch);
        Hub storage hub = _hubs[params.hub];
        uint256 fromLocks = _lockOwed[key];
        uint256 owed = _owed[key];
        // While a closer can still be proved a cheat, what it is owed waits too; what locks left owed never does.
        uint256 dueAt = _delayed[key].dueAt;
        if (dueAt != 0 && fromLocks == 0) revert HubChannels_NotDue(dueAt);
        uint256 paid = _take(hub, dueAt == 0 ? owed + fromLocks : fromLocks);
        if (paid == 0) revert HubChannels_NothingToPay();

        if (paid <= fromLocks) _lockOwed[key] = fromLocks - paid;
        else (_lockOwed[key], _owed[key]) = (0, owed - (paid - fromLocks));
        // Safe: the hub's sum holds every part.
        hub.owed -= uint128(paid);
        emit OwedPaid(id, params.hub, epoch, paid, owed + fromLocks - paid);
        _payFunds(hub.mode, params.user, paid);
    }

    /// @inheritdoc IChannelClaims
    function claimReclaim(address account, address to) external nonReentrant {
        if (to != account && msg.sender != account) revert HubChannels_NotPayee(msg.sender, account);
        if (to == address(0)) revert HubChannels_ZeroAddress();
        Claim memory claim = _claims[account];
        if (claim.held == 0 && claim.unminted == 0) revert HubChannels_NothingToPay();

        // Each part by itself: tokens that are here must not wait for a mint that is refused.
        delete _claims[account];
        uint256 paid;
        if (claim.held != 0) {
            if (_callToken(abi.encodeCall(IERC20.transfer, (to, claim.held)))) paid = claim.held;
            else _claims[account].held = claim.held;
        }
        if (claim.unminted != 0) {
            if (_callToken(abi.encodeCall(IMintable.mint, (to, claim.unminted)))) paid += claim.unminted;
            else _claims[account].unminted = claim.unminted;
        }
        if (paid == 0) revert HubChannels_TokenRefused();
        emit Reclaimed(account, to, paid);
    }

    /// @inheritdoc IChannelClaims
    function pendingOf(bytes32 channelId, uint32 epoch)
        external
        view
        returns (uint256 amount, uint256 dueAt, Closer closer, uint256 owed, bytes32 lockList)
    {
        bytes32 key = _key(channelId, epoch);
        Delayed storage late = _delayed[key];
        return (late.amount, late.dueAt, late.closer, _owed[key] + _lockOwed[key], _lockLists[key]);
    }

    /// @inheritdoc IChannelClaims
    function reclaimable(address account) external view returns (uint256) {
        Claim storage claim = _claims[account];
        return uint256(claim.held) + claim.unminted;
    }
}
