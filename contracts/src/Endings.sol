// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubStore} from "./HubStore.sol";
import {ChannelParams, Closer, FundingMode, Status} from "./lib/Types.sol";

/// What every way of ending an epoch does to a channel's and its hub's books.
abstract contract Endings is HubStore {
    /// @dev What `_finish` works on, in one place.
    struct Ending {
        bytes32 id;
        bytes32 key;
        uint32 epoch;
        uint40 payAt;
        Closer closer;
        FundingMode mode;
        bool fromBond;
        bool delayed;
        uint256 collateral;
        uint256 userPay;
        uint256 bounty;
        uint256 lockReserve;
        uint256 owed;
    }

    /// @dev Collateral is tokens, which a mint hub's channel has no use for: a stray one waits for the hub as a claim.
    function _ending(ChannelParams calldata params, bytes32 id, Hub storage hub) internal returns (Ending memory end) {
        Channel storage channel = _channels[id];
        end.id = id;
        end.epoch = channel.epoch;
        end.key = _key(id, end.epoch);
        end.closer = channel.closer;
        end.mode = hub.mode;
        if (end.mode == FundingMode.Vault) end.collateral = channel.collateral;
        else if (channel.collateral != 0) _claim(params.hub, channel.collateral);
    }

    function _nextEpoch(Channel storage channel, uint32 epoch) internal {
        channel.epoch = epoch + 1;
        channel.known = true;
        channel.withdrawn = 0;
        channel.deadline = 0;
        channel.status = Status.Open;
        channel.closer = Closer.None;
        channel.deposited = 0;
        channel.collateral = 0;
        channel.dispute = 0;
    }

    /// @dev Draws on the channel's collateral, then on the hub's funds, as far as they reach.
    function _drawn(Hub storage hub, Ending memory end, uint256 wanted) internal returns (uint256 drawn) {
        drawn = wanted < end.collateral ? wanted : end.collateral;
        end.collateral -= drawn;
        if (drawn < wanted) drawn += _take(hub, wanted - drawn);
    }

    function _recordOwed(Hub storage hub, address hubAddress, Ending memory end) internal {
        _owed[end.key] = end.owed;
        hub.owed = _toUint128(hub.owed + end.owed);
        emit Bounced(end.id, hubAddress, end.epoch, end.owed);
    }
}
