// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubStore} from "./HubStore.sol";
import {IHubChannels} from "./interfaces/IHubChannels.sol";
import {Merkle} from "./lib/Merkle.sol";
import {Settlement} from "./lib/Settlement.sol";
import {Signatures} from "./lib/Signatures.sol";
import {
    Attestation,
    ChannelParams,
    CloseIntent,
    Closer,
    CoSigned,
    Credit,
    Dispute,
    FundingMode,
    State,
    Status,
    Types
} from "./lib/Types.sol";

/// Posting a state, answering it, and ending the epoch.
abstract contract ChannelDisputes is HubStore {
    using Signatures for bytes;

    /// @inheritdoc IHubChannels
    function close(
        ChannelParams calldata params,
        CoSigned calldata posted,
        CloseIntent calldata intent,
        Credit calldata credit
    ) external nonReentrant {
        bytes32 id = _requireChannel(params);
        Channel storage channel = _channels[id];
        if (channel.status != Status.Open) revert HubChannels_WrongStatus(id, channel.status);
        Dispute memory dispute;
        dispute.stateHash = _requirePostable(params, id, posted);
        dispute.version = posted.state.version;
        dispute.closedVersion = posted.state.version;
        if (credit.signature.length != 0) dispute.creditMax = _requireCredit(params, id, channel.epoch, credit);
        Closer closer = _closerOf(params, id, channel.epoch, dispute.stateHash, intent);

        // Safe: a timestamp fits 40 bits for 34,000 years.
        uint40 deadline = uint40(block.timestamp + params.challengePeriod);
        channel.deadline = deadline;
        channel.status = Status.Closing;
        channel.closer = closer;
        channel.dispute = Types.hash(dispute);
        emit Closed(id, params.hub, posted.state, closer, dispute.creditMax, deadline);
    }

    /// @inheritdoc IHubChannels
    function challenge(ChannelParams calldata params, Dispute calldata dispute, CoSigned calldata newer)
        external
        nonReentrant
    {
        bytes32 id = _channelId(params);
        Channel storage channel = _requireWindow(id, dispute);
        if (newer.state.version <= dispute.version) {
            revert HubChannels_NotNewer(id, dispute.version, newer.state.version);
        }
        Dispute memory next = dispute;
        next.stateHash = _requirePostable(params, id, newer);
        next.version = newer.state.version;
        bool forfeits =
            !dispute.penalized && channel.closer != Closer.Exit && newer.state.ackVersion > dispute.closedVersion;
        if (forfeits) {
            next.penalized = true;
            next.bountyTo = msg.sender;
        }

        channel.dispute = Types.hash(next);
        emit Challenged(id, params.hub, newer.state, forfeits, msg.sender);
    }

    /// @inheritdoc IHubChannels
    function settle(ChannelParams calldata params, Dispute calldata dispute, State calldata state)
        external
        nonReentrant
    {
        bytes32 id = _channelId(params);
        Channel storage channel = _requireDispute(id, dispute);
        if (block.timestamp <= channel.deadline) revert HubChannels_DeadlineAhead(id, channel.deadline);
        bytes32 stateHash = Types.hash(state);
        if (stateHash != dispute.stateHash) revert HubChannels_WrongDispute(id, dispute.stateHash, stateHash);
        _finish(params, id, dispute, state, true);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       CHECKS
    //////////////////////////////////////////////////////////////////////////*/

    /// @dev A state that may be posted now: of this channel and epoch, summing to capacity, and either the null state
    /// or attested by both sides.
    function _requirePostable(ChannelParams calldata params, bytes32 id, CoSigned calldata posted)
        private
        view
        returns (bytes32 stateHash)
    {
        State calldata state = posted.state;
        if (state.channelId != id) revert HubChannels_WrongChannel(id, state.channelId);
        uint32 epoch = _channels[id].epoch;
        if (state.epoch != epoch) revert HubChannels_WrongEpoch(id, epoch, state.epoch);
        uint256 sum = uint256(state.hubBalance) + state.userBalance + state.hubLocked + state.userLocked;
        if (sum != params.capacity) revert HubChannels_SumMismatch(id, sum, params.capacity);
        stateHash = Types.hash(state);
        if (state.version == 0) {
            if (!_isNull(state)) revert HubChannels_NotNullState(id);
            return stateHash;
        }
        _requireBoth(params, id, stateHash, posted);
    }

    /// @dev The sum is known to be the capacity.
    function _isNull(State calldata state) private pure returns (bool) {
        return state.ackVersion == 0 && state.userBalance == 0 && state.hubLocked == 0 && state.userLocked == 0
            && state.withdrawn == 0 && state.deposited == 0 && state.credited == 0 && state.locksHash == 0
            && state.transfersRoot == 0;
    }

    function _requireBoth(ChannelParams calldata params, bytes32 id, bytes32 stateHash, CoSigned calldata posted)
        private
        view
    {
        bytes32 signedByHub = _signedHash(params, stateHash, posted.hub);
        bytes32 signedByUser = _signedHash(params, stateHash, posted.user);
        // Both signed the same batch, and the hub's path has shown that the state is in it.
        if (
            signedByUser == 0 && posted.user.siblings.length == 0 && signedByHub != 0
                && Types.hash(posted.user.batch) == signedByHub
        ) signedByUser = signedByHub;
        if (!_isSigned(signedByHub, posted.hub.signature, params.hubSigner)) {
            revert HubChannels_BadAttestation(id, Closer.Hub);
        }
        if (!_isSigned(signedByUser, posted.user.signature, params.userSigner)) {
            revert HubChannels_BadAttestation(id, Closer.User);
        }
    }

    /// @dev Struct hash that an attestation's signature must be over, or 0 when its path does not lead there.
    function _signedHash(ChannelParams calldata params, bytes32 stateHash, Attestation calldata attestation)
        internal
        pure
        returns (bytes32)
    {
        uint256 depth = attestation.batch.depth;
        if (attestation.batch.batchId == 0) return attestation.siblings.length == 0 ? stateHash : bytes32(0);
        bool shaped = attestation.batch.hub == params.hub && depth != 0 && depth <= Merkle.MAX_DEPTH
            && attestation.siblings.length == depth && attestation.leafIndex >> depth == 0;
        if (!shaped) return 0;
        if (Merkle.rootOf(stateHash, attestation.leafIndex, attestation.siblings) != attestation.batch.root) return 0;
        return Types.hash(attestation.batch);
    }

    function _isSigned(bytes32 structHash, bytes calldata signature, address signer) internal view returns (bool) {
        return structHash != 0 && signature.isBy(Types.digest(_domain(), structHash), signer);
    }

    function _requireSigned(bytes32 id, bytes32 structHash, bytes calldata signature, address signer) internal view {
        if (!_isSigned(structHash, signature, signer)) revert HubChannels_BadSignature(id, structHash);
    }

    function _requireCredit(ChannelParams calldata params, bytes32 id, uint32 epoch, Credit calldata credit)
        internal
        view
        returns (uint128)
    {
        _requireSigned(id, Types.credit(id, epoch, credit.cumulative), credit.signature, params.hubSigner);
        return credit.cumulative;
    }

    /// @dev The closer is who consented: never a mere argument, else anybody could make a victim forfeit.
    function _closerOf(
        ChannelParams calldata params,
        bytes32 id,
        uint32 epoch,
        bytes32 stateHash,
        CloseIntent calldata intent
    ) private view returns (Closer) {
        if (intent.signature.length != 0) {
            if (block.timestamp > intent.validUntil) revert HubChannels_IntentExpired(intent.validUntil);
            bytes32 structHash = Types.closeIntent(id, epoch, stateHash, intent.validUntil);
            if (_isSigned(structHash, intent.signature, params.hubSigner)) return Closer.Hub;
            _requireSigned(id, structHash, intent.signature, params.userSigner);
            return Closer.User;
        }
        if (msg.sender == params.hubSigner) return Closer.Hub;
        if (msg.sender == params.userSigner) return Closer.User;
        if (msg.sender == params.user) return params.custodial ? Closer.Exit : Closer.User;
        revert HubChannels_NotAParty(msg.sender);
    }

    function _requireDispute(bytes32 id, Dispute calldata dispute) internal view returns (Channel storage channel) {
        channel = _channels[id];
        if (channel.status != Status.Closing) revert HubChannels_WrongStatus(id, channel.status);
        bytes32 found = Types.hash(dispute);
        if (found != channel.dispute) revert HubChannels_WrongDispute(id, channel.dispute, found);
    }

    function _requireWindow(bytes32 id, Dispute calldata dispute) internal view returns (Channel storage channel) {
        channel = _requireDispute(id, dispute);
        if (block.timestamp > channel.deadline) revert HubChannels_DeadlinePassed(id, channel.deadline);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     SETTLEMENT
    //////////////////////////////////////////////////////////////////////////*/

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

    /// @dev Pays everybody by N7 and opens the next epoch. Everything it needs was checked. Never fails.
    /// @param late Whether the closer waits for its payout.
    function _finish(
        ChannelParams calldata params,
        bytes32 id,
        Dispute calldata dispute,
        State calldata state,
        bool late
    ) internal {
        Hub storage hub = _hubs[params.hub];
        Ending memory end;
        Settlement.Payout memory pay;
        uint256 lockMax;
        {
            Channel storage channel = _channels[id];
            Settlement.Dues memory due = Settlement.dues(
                state, Settlement.Facts(channel.withdrawn, channel.deposited, dispute.creditMax)
            );
            lockMax = due.lockMax;
            end.id = id;
            end.epoch = channel.epoch;
            end.key = _key(id, end.epoch);
            end.closer = channel.closer;
            end.mode = hub.mode;
            end.collateral = channel.collateral;
            if (late) end.payAt = channel.deadline + params.selfDelay;
            pay = _payoutOf(params, dispute, due, end.closer, hub.bond);
            _nextEpoch(channel, end.epoch);
        }
        end.fromBond = dispute.penalized && end.closer == Closer.Hub;
        // Safe: the bonus and its bounty are at most the bond.
        if (end.fromBond) hub.bond -= uint128(pay.userBonus + pay.bounty);
        end.bounty = end.fromBond ? pay.bounty : _drawn(hub, end, pay.bounty);
        end.userPay = _drawn(hub, end, pay.userPay);
        end.lockReserve = _drawn(hub, end, lockMax);
        end.owed = pay.userPay - end.userPay;
        if (lockMax != 0) _recordLocks(hub, end, state.locksHash, lockMax);
        if (end.owed != 0) _recordOwed(hub, params.hub, end);
        _recordDelayed(hub, end, dispute.closedVersion);
        _emitSettled(params.hub, dispute, end, pay);
        _payEnding(params.user, dispute.bountyTo, end, pay.userBonus);
    }

    function _nextEpoch(Channel storage channel, uint32 epoch) internal {
        channel.epoch = epoch + 1;
        channel.withdrawn = 0;
        channel.deadline = 0;
        channel.status = Status.Open;
        channel.closer = Closer.None;
        channel.deposited = 0;
        channel.collateral = 0;
        channel.dispute = 0;
    }

    function _emitSettled(
        address hub,
        Dispute calldata dispute,
        Ending memory end,
        Settlement.Payout memory pay
    ) private {
        emit Settled(
            end.id,
            hub,
            end.epoch,
            dispute.version,
            dispute.penalized,
            pay.userPay,
            pay.userBonus,
            end.bounty,
            dispute.bountyTo,
            end.lockReserve,
            end.owed,
            end.delayed ? end.payAt : 0
        );
    }

    function _payEnding(address user, address bountyTo, Ending memory end, uint256 userBonus) private {
        if (end.fromBond) {
            _payHeld(user, userBonus);
            _payHeld(bountyTo, end.bounty);
        } else {
            _payFunds(end.mode, bountyTo, end.bounty);
        }
        if (!(end.delayed && end.closer == Closer.User)) _payFunds(end.mode, user, end.userPay);
    }

    function _payoutOf(
        ChannelParams calldata params,
        Dispute calldata dispute,
        Settlement.Dues memory due,
        Closer closer,
        uint256 bond
    ) private pure returns (Settlement.Payout memory) {
        if (!dispute.penalized) return Settlement.honest(due);
        if (closer == Closer.Hub) return Settlement.hubCheated(due, params.penaltyCap, bond, params.bountyBps);
        return Settlement.userCheated(due, params.bountyBps);
    }

    /// @dev Draws on the channel's collateral, then on the hub's funds, as far as they reach.
    function _drawn(Hub storage hub, Ending memory end, uint256 wanted) private returns (uint256 drawn) {
        drawn = wanted < end.collateral ? wanted : end.collateral;
        end.collateral -= drawn;
        if (drawn < wanted) drawn += _take(hub, wanted - drawn);
    }

    function _recordLocks(Hub storage hub, Ending memory end, bytes32 locksHash, uint256 lockMax) private {
        uint256 short = lockMax - end.lockReserve;
        _lockLists[end.key] = keccak256(abi.encode(locksHash, end.lockReserve, short));
        if (short != 0) hub.owed = _toUint128(hub.owed + short);
    }

    function _recordOwed(Hub storage hub, address hubAddress, Ending memory end) private {
        _owed[end.key] = end.owed;
        hub.owed = _toUint128(hub.owed + end.owed);
        emit Bounced(end.id, hubAddress, end.epoch, end.owed);
    }

    /// @dev A closing user waits for its money, a closing hub for its collateral. Whatever does not wait goes back.
    function _recordDelayed(Hub storage hub, Ending memory end, uint48 closedVersion) private {
        uint256 amount;
        if (end.closer == Closer.Hub) amount = end.collateral;
        if (end.closer == Closer.User) amount = end.userPay;
        end.delayed = end.payAt != 0 && (amount != 0 || (end.closer == Closer.User && end.owed != 0));
        if (end.delayed) {
            // Safe: drawn from 128-bit funds.
            _delayed[end.key] = Delayed(uint128(amount), end.payAt, closedVersion, end.closer);
        }
        if (end.collateral != 0 && !(end.delayed && end.closer == Closer.Hub)) {
            hub.funds = _toUint128(hub.funds + end.collateral);
        }
    }
}
