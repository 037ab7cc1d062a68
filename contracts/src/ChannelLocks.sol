// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LockBooks} from "./LockBooks.sol";
import {IChannelLocks} from "./interfaces/IChannelLocks.sol";
import {LockRules} from "./lib/LockRules.sol";
import {ChannelParams, Lock, LockList} from "./lib/Types.sol";

/// Preimages, and what settled lists pay when their locks end.
abstract contract ChannelLocks is LockBooks, IChannelLocks {
    /// Locks that one call can resolve: the event has a bit for each.
    uint256 private constant MAX_RESOLVED = 256;

    /// @inheritdoc IChannelLocks
    function registerPreimages(bytes32[] calldata preimages) external {
        for (uint256 i = 0; i < preimages.length; ++i) {
            bytes32 preimage = preimages[i];
            bytes32 hash = _sha256(preimage);
            if (_preimageTimes[hash] != 0) continue;
            _preimageTimes[hash] = block.timestamp;
            emit PreimageRegistered(hash, preimage);
        }
    }

    /// @dev Without the copies that `sha256(abi.encode(...))` makes. The precompile never fails.
    function _sha256(bytes32 preimage) private view returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(0x00, preimage)
            if iszero(staticcall(gas(), 2, 0x00, 0x20, 0x00, 0x20)) { revert(0, 0) }
            hash := mload(0x00)
        }
    }

    /// @inheritdoc IChannelLocks
    function unlock(ChannelParams calldata params, uint32 epoch, LockList calldata list) external nonReentrant {
        bytes32 id = _channelId(params);
        bytes32 key = _key(id, epoch);
        _requireList(id, key, list);
        (uint256 resolved, uint256 kept, uint256 toUser, uint256 toHub) = _resolve(params, list.locks);
        if (resolved == 0) revert HubChannels_NothingResolvable();
        Hub storage hub = _hubs[params.hub];

        Purse memory purse = Purse(list.reserve, list.short, 0, 0);
        _payUser(hub, purse, toUser);
        _release(hub, purse, kept == 0 ? type(uint256).max : toHub);
        if (kept == 0) delete _lockLists[key];
        else _keepList(key, _rest(list.locks, resolved, kept), purse);
        if (purse.owed != 0) {
            _lockOwed[key] += purse.owed;
            hub.owed = _toUint128(hub.owed + purse.owed);
            emit Bounced(id, params.hub, epoch, purse.owed);
        }
        emit Unlocked(id, params.hub, epoch, resolved, purse.paid + purse.owed, purse.owed, purse.reserve, purse.short);
        _payFunds(hub.mode, params.user, purse.paid);
    }

    /// @return resolved Bit i: lock i ends now. A list longer than there are bits ends in several calls.
    /// @return kept How many stay.
    function _resolve(ChannelParams calldata params, Lock[] calldata locks)
        private
        view
        returns (uint256 resolved, uint256 kept, uint256 toUser, uint256 toHub)
    {
        bool byUser = msg.sender == params.user || msg.sender == params.userSigner;
        bool byHub = msg.sender == params.hub || msg.sender == params.hubSigner;
        uint256 count = locks.length < MAX_RESOLVED ? locks.length : MAX_RESOLVED;
        kept = locks.length;
        for (uint256 i = 0; i < count; ++i) {
            Lock calldata lock = locks[i];
            bool userPays = lock.userPays;
            (bool done, uint256 toReceiver) =
                LockRules.resolve(lock, _evidence(lock), block.timestamp, userPays ? byHub : byUser);
            if (!done) continue;
            unchecked {
                // Safe: at most 256 locks of 96 bits; a receiver gets at most the amount.
                uint256 rest = lock.amount - toReceiver;
                resolved |= 1 << i;
                --kept;
                toUser += userPays ? rest : toReceiver;
                toHub += userPays ? toReceiver : rest;
            }
        }
    }

    function _evidence(Lock calldata lock) private view returns (uint256) {
        uint8 kind = lock.kind;
        if (kind == LockRules.HASH) return _preimageTimes[lock.condition];
        if (kind == LockRules.METERED) return _delivered[lock.condition];
        return 0;
    }

    /// @dev The locks that stay, in order.
    function _rest(Lock[] calldata locks, uint256 resolved, uint256 kept) private pure returns (Lock[] memory rest) {
        rest = new Lock[](kept);
        uint256 next;
        for (uint256 i = 0; next < kept; ++i) {
            if (i >= MAX_RESOLVED || resolved >> i & 1 == 0) rest[next++] = locks[i];
        }
    }

    /// @dev At most reserve and shortage together: what settlement recorded. The rest of the user's part is owed.
    function _payUser(Hub storage hub, Purse memory purse, uint256 wanted) private {
        uint256 gap = _drawReserve(hub, purse, wanted);
        if (gap == 0) return;
        purse.short -= gap;
        purse.owed = gap;
        // Safe: the hub's sum holds every part; it comes back as owed to the user.
        hub.owed -= uint128(gap);
    }

    /// @dev Gives up to `amount` back to the hub: first the shortage is forgotten, then the reserve returns.
    function _release(Hub storage hub, Purse memory purse, uint256 amount) private {
        uint256 forgotten = amount < purse.short ? amount : purse.short;
        if (forgotten != 0) {
            purse.short -= forgotten;
            // Safe: the hub's sum holds every part.
            hub.owed -= uint128(forgotten);
        }
        uint256 back = amount - forgotten < purse.reserve ? amount - forgotten : purse.reserve;
        if (back != 0) {
            purse.reserve -= back;
            _giveBack(hub, back);
        }
    }

    /// @inheritdoc IChannelLocks
    function preimageTime(bytes32 hash) external view returns (uint256) {
        return _preimageTimes[hash];
    }
}
