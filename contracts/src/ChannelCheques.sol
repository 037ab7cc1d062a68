// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LockBooks} from "./LockBooks.sol";
import {IChannelCheques} from "./interfaces/IChannelCheques.sol";
import {LockRules} from "./lib/LockRules.sol";
import {ChannelParams, Cheque, Lock, LockList, Meter, Types} from "./lib/Types.sol";

/// What buyers of metered orders and issuers of cheques signed.
abstract contract ChannelCheques is LockBooks, IChannelCheques {
    /// @inheritdoc IChannelCheques
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

    /// @inheritdoc IChannelCheques
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

    function _key(bytes32 bookId, address beneficiary) private pure returns (bytes32) {
        return keccak256(abi.encode(bookId, beneficiary));
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

    /// @inheritdoc IChannelCheques
    function deliveredOf(bytes32 orderId) external view returns (uint256) {
        return _delivered[orderId];
    }
}
