// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubStore} from "./HubStore.sol";
import {IChannelClaims} from "./interfaces/IChannelClaims.sol";
import {LockRules} from "./lib/LockRules.sol";
import {ChannelParams, Cheque, Lock, LockList, Meter, Types} from "./lib/Types.sol";

/// Evidence for locks, and their payout after settlement.
abstract contract ChannelLocks is HubStore, IChannelClaims {
    /// @dev What a list still has, and what one call pays out of it.
    struct Purse {
        uint256 reserve;
        uint256 short;
        uint256 paid;
        uint256 owed;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                      EVIDENCE
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IChannelClaims
    function registerPreimages(bytes32[] calldata preimages) external {
        for (uint256 i = 0; i < preimages.length; ++i) {
            bytes32 hash = sha256(abi.encode(preimages[i]));
            if (_preimageTimes[hash] != 0) continue;
            _preimageTimes[hash] = block.timestamp;
            emit PreimageRegistered(hash, preimages[i]);
        }
    }

    /// @inheritdoc IChannelClaims
    function showMeter(Meter calldata meter) external {
        bytes32 orderId = Types.order(meter.signer, meter.terms);
        bytes32 structHash = Types.meter(orderId, meter.delivered);
        if (!_isSigned(structHash, meter.signature, meter.signer)) {
            revert HubChannels_BadSignature(orderId, structHash);
        }
        uint256 before = _delivered[orderId];
        if (meter.delivered <= before) revert HubChannels_NotNewer(orderId, before, meter.delivered);
        _delivered[orderId] = meter.delivered;
        emit MeterShown(orderId, meter.delivered);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       PAYOUT
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IChannelClaims
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
            _owed[key] += purse.owed;
            hub.owed = _toUint128(hub.owed + purse.owed);
            emit Bounced(id, params.hub, epoch, purse.owed);
        }
        emit Unlocked(id, params.hub, epoch, resolved, purse.paid + purse.owed, purse.owed, purse.reserve, purse.short);
        _payFunds(hub.mode, params.user, purse.paid);
    }

    /// @inheritdoc IChannelClaims
    function cashCheque(
        ChannelParams calldata params,
        uint32 epoch,
        LockList calldata list,
        uint256 index,
        Cheque calldata cheque
    ) external nonReentrant {
        bytes32 id = _channelId(params);
        bytes32 key = _key(id, epoch);
        _requireList(id, key, list);
        bytes32 bookId = _requireCheque(cheque);
        Lock[] memory locks = list.locks;
        Lock memory lock = locks[index];
        if (lock.kind != LockRules.COVER || lock.condition != bookId) {
            revert HubChannels_WrongCondition(lock.condition, bookId);
        }
        Hub storage hub = _hubs[params.hub];
        Purse memory purse = Purse(list.reserve, list.short, 0, 0);
        uint256 due = _chequeDue(bookId, cheque);
        // What the hub's funds can't cover now is not owed on top: the cheque stays claimable.
        _drawReserve(hub, purse, due < lock.amount ? due : lock.amount);
        if (purse.paid == 0) revert HubChannels_NothingToPay();

        _cashed[_key(bookId, cheque.beneficiary)] += purse.paid;
        // Safe: at most the lock's amount.
        lock.amount -= uint96(purse.paid);
        _keepList(key, locks, purse);
        emit ChequeCashed(id, bookId, cheque.beneficiary, epoch, index, purse.paid, purse.reserve, purse.short);
        if (due > purse.paid) emit ChequeBounced(bookId, cheque.beneficiary, due - purse.paid);
        _payFunds(hub.mode, cheque.beneficiary, purse.paid);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       PARTS
    //////////////////////////////////////////////////////////////////////////*/

    function _key(bytes32 bookId, address beneficiary) private pure returns (bytes32) {
        return keccak256(abi.encode(bookId, beneficiary));
    }

    function _requireList(bytes32 id, bytes32 key, LockList calldata list) private view {
        bytes32 found = Types.lockList(Types.hashed(list.locks), list.reserve, list.short);
        if (found != _lockLists[key]) revert HubChannels_WrongLockList(id, _lockLists[key], found);
    }

    function _keepList(bytes32 key, Lock[] memory locks, Purse memory purse) private {
        _lockLists[key] = Types.lockList(Types.hash(locks), purse.reserve, purse.short);
    }

    function _requireCheque(Cheque calldata cheque) private view returns (bytes32 bookId) {
        bookId = Types.book(cheque.signer, cheque.terms);
        bytes32 structHash = Types.cheque(bookId, cheque.beneficiary, cheque.cumulative);
        if (!_isSigned(structHash, cheque.signature, cheque.signer)) {
            revert HubChannels_BadSignature(bookId, structHash);
        }
        if (cheque.beneficiary == address(0)) revert HubChannels_ZeroAddress();
    }

    function _chequeDue(bytes32 bookId, Cheque calldata cheque) private view returns (uint256) {
        uint256 had = _cashed[_key(bookId, cheque.beneficiary)];
        if (cheque.cumulative <= had) revert HubChannels_NothingToPay();
        return cheque.cumulative - had;
    }

    /// @return resolved Bit i: lock i ends now.
    /// @return kept How many stay.
    function _resolve(ChannelParams calldata params, Lock[] calldata locks)
        private
        view
        returns (uint256 resolved, uint256 kept, uint256 toUser, uint256 toHub)
    {
        bool byUser = msg.sender == params.user || msg.sender == params.userSigner;
        bool byHub = msg.sender == params.hub || msg.sender == params.hubSigner;
        for (uint256 i = 0; i < locks.length; ++i) {
            Lock calldata lock = locks[i];
            (bool done, uint256 toReceiver) =
                LockRules.resolve(lock, _evidence(lock), block.timestamp, lock.userPays ? byHub : byUser);
            if (!done) {
                ++kept;
                continue;
            }
            resolved |= 1 << i;
            uint256 userPart = lock.userPays ? lock.amount - toReceiver : toReceiver;
            toUser += userPart;
            toHub += lock.amount - userPart;
        }
    }

    function _evidence(Lock calldata lock) private view returns (uint256) {
        if (lock.kind == LockRules.HASH) return _preimageTimes[lock.condition];
        if (lock.kind == LockRules.METERED) return _delivered[lock.condition];
        return 0;
    }

    /// @dev The locks that stay, in order.
    function _rest(Lock[] calldata locks, uint256 resolved, uint256 kept) private pure returns (Lock[] memory rest) {
        rest = new Lock[](kept);
        uint256 next;
        for (uint256 i = 0; next < kept; ++i) {
            if (resolved >> i & 1 == 0) rest[next++] = locks[i];
        }
    }

    /// @dev Takes `wanted` out of the reserve, then, for what was short at settlement, out of the hub's funds.
    /// @return gap What was covered by neither, but is still backed by the recorded shortage.
    function _drawReserve(Hub storage hub, Purse memory purse, uint256 wanted) private returns (uint256 gap) {
        uint256 drawn = wanted < purse.reserve ? wanted : purse.reserve;
        purse.reserve -= drawn;
        gap = wanted - drawn < purse.short ? wanted - drawn : purse.short;
        if (gap != 0) {
            uint256 taken = _take(hub, gap);
            purse.short -= taken;
            // Safe: the hub's sum holds every part.
            hub.owed -= uint128(taken);
            drawn += taken;
            gap -= taken;
        }
        purse.paid = drawn;
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
            hub.funds = _toUint128(hub.funds + back);
        }
    }

    /*//////////////////////////////////////////////////////////////////////////
                                        VIEWS
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IChannelClaims
    function preimageTime(bytes32 hash) external view returns (uint256) {
        return _preimageTimes[hash];
    }

    /// @inheritdoc IChannelClaims
    function deliveredOf(bytes32 orderId) external view returns (uint256) {
        return _delivered[orderId];
    }
}
