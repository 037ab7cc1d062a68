// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelClaims} from "./ChannelClaims.sol";
import {ChannelDisputes} from "./ChannelDisputes.sol";
import {ChannelPayments} from "./ChannelPayments.sol";
import {HubRegistry} from "./HubRegistry.sol";
import {HubStore} from "./HubStore.sol";
import {IHubChannels} from "./interfaces/IHubChannels.sol";
import {ChannelParams, Closer} from "./lib/Types.sol";

/// The deployed contract: all parts and the views. What it does is written in `IHubChannels`.
contract HubChannels is HubRegistry, ChannelPayments, ChannelDisputes, ChannelClaims {
    /// @param token_ The one token; in mint mode this contract must be allowed to mint it.
    /// @param admin_ Grants mint allowance.
    /// @param guardian_ Stops new money, never an exit.
    /// @param minWindow_ Shortest challenge window any hub may choose, seconds.
    /// @param maxWindow_ Longest challenge window any hub may choose, seconds.
    constructor(address token_, address admin_, address guardian_, uint32 minWindow_, uint32 maxWindow_)
        HubStore(token_, admin_, guardian_, minWindow_, maxWindow_)
    {}

    /// @inheritdoc IHubChannels
    function domainSeparator() external view returns (bytes32) {
        return _domain();
    }

    /// @inheritdoc IHubChannels
    function channelIdOf(ChannelParams calldata params) external view returns (bytes32) {
        return _channelId(params);
    }

    /// @inheritdoc IHubChannels
    function hubOf(address hub) external view returns (HubView memory result) {
        Hub storage record = _hubs[hub];
        result.rules = HubRules(
            record.mode,
            record.minChallengePeriod,
            record.maxChallengePeriod,
            record.penaltyCap,
            record.operatorPays
        );
        result.funds = record.funds;
        result.owed = record.owed;
        result.bond = record.bond;
        result.announcedAmount = record.announced;
        result.announcedAt = record.announcedAt;
        result.uri = record.uri;
    }

    /// @inheritdoc IHubChannels
    function isHubSigner(address hub, address signer) external view returns (bool) {
        return _signers[hub][signer];
    }

    /// @inheritdoc IHubChannels
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

    /// @inheritdoc IHubChannels
    function pendingOf(bytes32 channelId, uint32 epoch)
        external
        view
        returns (uint256 amount, uint256 dueAt, Closer closer, uint256 owed)
    {
        bytes32 key = _key(channelId, epoch);
        Delayed storage late = _delayed[key];
        return (late.amount, late.dueAt, late.closer, _owed[key]);
    }

    /// @inheritdoc IHubChannels
    function reclaimable(address account) external view returns (uint256) {
        Claim storage claim = _claims[account];
        return uint256(claim.held) + claim.unminted;
    }
}
