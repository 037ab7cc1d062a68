// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubStore} from "./HubStore.sol";
import {IChannelDisputes} from "./interfaces/IChannelDisputes.sol";
import {Merkle} from "./lib/Merkle.sol";
import {Settlement} from "./lib/Settlement.sol";
import {
    Attestation,
    ChannelParams,
    CloseIntent,
    Closer,
    CoSigned,
    CoopSettlement,
    Credit,
    Dispute,
    Evidence,
    FundingMode,
    State,
    Status,
    Types
} from "./lib/Types.sol";

/// Posting a state, answering it, and ending the epoch.
abstract contract ChannelDisputes is HubStore, IChannelDisputes {
    /// @inheritdoc IChannelDisputes
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

    /// @inheritdoc IChannelDisputes
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

    /// @inheritdoc IChannelDisputes
    function addCredit(ChannelParams calldata params, Dispute calldata dispute, Credit calldata credit)
        external
        nonReentrant
    {
        bytes32 id = _channelId(params);
        Channel storage channel = _requireWindow(id, dispute);
        Dispute memory next = dispute;
        next.creditMax = _requireCredit(params, id, channel.epoch, credit);
        if (next.creditMax <= dispute.creditMax) {
            revert HubChannels_NotNewer(id, dispute.creditMax, next.creditMax);
        }

        channel.dispute = Types.hash(next);
        emit CreditAdded(id, params.hub, next.creditMax);
    }

    /// @inheritdoc IChannelDisputes
    function penalize(ChannelParams calldata params, uint32 epoch, Dispute calldata dispute, Evidence calldata evidence)
        external
        nonReentrant
    {
        bytes32 id = _channelId(params);
        Channel storage channel = _channels[id];
        if (epoch != channel.epoch) return _penalizeLate(params, id, epoch, evidence);
        _requireWindow(id, dispute);
        if (dispute.penalized) revert HubChannels_AlreadyPenalized(id);
        _requireRevoked(params, id, epoch, channel.closer, dispute.closedVersion, evidence);
        Dispute memory next = dispute;
        next.penalized = true;
        next.bountyTo = msg.sender;

        channel.dispute = Types.hash(next);
        emit Penalized(id, params.hub, dispute.closedVersion, msg.sender);
    }

    /// @dev After settlement only a user's late payout can still be forfeited: it, and what it is owed, stay the hub's.
    function _penalizeLate(ChannelParams calldata params, bytes32 id, uint32 epoch, Evidence calldata evidence)
        private
    {
        bytes32 key = _key(id, epoch);
        Delayed memory late = _delayed[key];
        if (late.closer != Closer.User) revert HubChannels_NothingToPay();
        _requireRevoked(params, id, epoch, Closer.User, late.closedVersion, evidence);
        Hub storage hub = _hubs[params.hub];
        uint256 bounty = uint256(late.amount) * params.bountyBps / 10_000;

        delete _delayed[key];
        hub.funds = _toUint128(hub.funds + late.amount - bounty);
        // Safe: the hub's sum holds every part.
        hub.owed -= uint128(_owed[key]);
        delete _owed[key];
        emit DelayedForfeited(id, params.hub, epoch, late.amount, bounty, msg.sender);
        _payFunds(hub.mode, msg.sender, bounty);
    }

    /// @inheritdoc IChannelDisputes
    function acceptClose(
        ChannelParams calldata params,
        Dispute calldata dispute,
        State calldata state,
        bytes calldata signature
    ) external nonReentrant {
        bytes32 id = _channelId(params);
        Channel storage channel = _requireDispute(id, dispute);
        if (dispute.penalized) revert HubChannels_AlreadyPenalized(id);
        _requireState(id, dispute, state);
        address other = channel.closer == Closer.Hub ? params.userSigner : params.hubSigner;
        _requireSigned(id, Types.acceptClose(id, channel.epoch, dispute.stateHash), signature, other);
        _finish(params, id, dispute, state, false);
    }

    /// @inheritdoc IChannelDisputes
    function settle(ChannelParams calldata params, Dispute calldata dispute, State calldata state)
        external
        nonReentrant
    {
        bytes32 id = _channelId(params);
        Channel storage channel = _requireDispute(id, dispute);
        if (block.timestamp <= channel.deadline) revert HubChannels_DeadlineAhead(id, channel.deadline);
        _requireState(id, dispute, state);
        _finish(params, id, dispute, state, true);
    }

    /// @inheritdoc IChannelDisputes
    function coopSettle(ChannelParams calldata params, CoopSettlement calldata agreement) external nonReentrant {
        bytes32 id = _requireChannel(params);
        Channel storage channel = _channels[id];
        if (block.timestamp > agreement.validUntil) revert HubChannels_Expired(agreement.validUntil);
        if (agreement.withdrawn != channel.withdrawn || agreement.deposited != channel.deposited) {
            revert HubChannels_TotalsMoved(id, channel.withdrawn, channel.deposited);
        }
        bytes32 structHash = Types.coopSettle(
            id, channel.epoch, agreement.withdrawn, agreement.deposited, agreement.userAmount, agreement.validUntil
        );
        _requireSigned(id, structHash, agreement.hubSignature, params.hubSigner);
        _requireSigned(id, structHash, agreement.userSignature, params.userSigner);

        Hub storage hub = _hubs[params.hub];
        Ending memory end = _ending(params, id, hub);
        _nextEpoch(channel, end.epoch);
        end.userPay = _drawn(hub, end, agreement.userAmount);
        end.owed = agreement.userAmount - end.userPay;
        if (end.owed != 0) _recordOwed(hub, params.hub, end);
        if (end.collateral != 0) hub.funds = _toUint128(hub.funds + end.collateral);
        emit CoopSettled(id, params.hub, end.epoch, end.userPay, end.owed);
        _payFunds(end.mode, params.user, end.userPay);
    }

    /// @inheritdoc IChannelDisputes
    function proveEquivocation(
        ChannelParams calldata params,
        State calldata first,
        Attestation calldata firstByHub,
        State calldata second,
        Attestation calldata secondByHub
    ) external nonReentrant {
        bytes32 id = _requireChannel(params);
        bytes32 firstHash = Types.hashed(first);
        bytes32 secondHash = Types.hashed(second);
        bool conflicting = first.channelId == id && second.channelId == id && first.epoch == second.epoch
            && first.version == second.version && first.version != 0 && firstHash != secondHash;
        bytes32 key = _key(id, first.epoch);
        if (!conflicting || _equivocated[key]) revert HubChannels_NoEquivocation(id);
        if (
            !_isByHub(params, _signedHash(params, firstHash, firstByHub), firstByHub)
                || !_isByHub(params, _signedHash(params, secondHash, secondByHub), secondByHub)
        ) revert HubChannels_BadAttestation(id, Closer.Hub);
        Hub storage hub = _hubs[params.hub];
        uint256 forfeit = _penaltyLimit(params, hub);
        uint256 bounty = forfeit * params.bountyBps / 10_000;

        _equivocated[key] = true;
        // Safe: at most the bond.
        hub.bond -= uint128(forfeit);
        emit EquivocationProved(id, params.hub, first.epoch, first.version, forfeit - bounty, bounty, msg.sender);
        _payHeld(params.user, forfeit - bounty);
        _payHeld(msg.sender, bounty);
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
        stateHash = Types.hashed(state);
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
                && Types.hashed(posted.user.batch) == signedByHub
        ) signedByUser = signedByHub;
        if (!_isByHub(params, signedByHub, posted.hub)) {
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
        return Types.hashed(attestation.batch);
    }

    /// @dev An anchored batch needs no signature: the hub signer's was shown when it was anchored.
    function _isByHub(ChannelParams calldata params, bytes32 structHash, Attestation calldata attestation)
        private
        view
        returns (bool)
    {
        if (attestation.signature.length != 0 || attestation.batch.batchId == 0) {
            return _isSigned(structHash, attestation.signature, params.hubSigner);
        }
        bytes32 kept = _anchors[params.hub][_anchorPlace(ANCHOR_STATES, attestation.batch.batchId)];
        return structHash != 0 && kept == keccak256(abi.encode(structHash, params.hubSigner));
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
            if (block.timestamp > intent.validUntil) {
                revert HubChannels_IntentExpired(intent.validUntil);
            }
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

    /// @dev The closer's own signature shows that it had left `closedVersion` behind. An exit never forfeits.
    function _requireRevoked(
        ChannelParams calldata params,
        bytes32 id,
        uint32 epoch,
        Closer closer,
        uint48 closedVersion,
        Evidence calldata evidence
    ) private view {
        if (closer == Closer.Exit) revert HubChannels_NotRevoked(id, closedVersion);
        address signer = closer == Closer.Hub ? params.hubSigner : params.userSigner;
        if (evidence.revoke.length != 0) {
            if (evidence.revokedVersion < closedVersion) revert HubChannels_NotRevoked(id, closedVersion);
            return _requireSigned(id, Types.revoke(id, epoch, evidence.revokedVersion), evidence.revoke, signer);
        }
        State calldata state = evidence.state;
        if (state.channelId != id) revert HubChannels_WrongChannel(id, state.channelId);
        if (state.epoch != epoch) revert HubChannels_WrongEpoch(id, epoch, state.epoch);
        if (state.ackVersion <= closedVersion) revert HubChannels_NotRevoked(id, closedVersion);
        bytes32 structHash = _signedHash(params, Types.hashed(state), evidence.attestation);
        bool proven = closer == Closer.Hub
            ? _isByHub(params, structHash, evidence.attestation)
            : _isSigned(structHash, evidence.attestation.signature, signer);
        if (!proven) revert HubChannels_BadAttestation(id, closer);
    }

    function _requireState(bytes32 id, Dispute calldata dispute, State calldata state) private pure {
        bytes32 found = Types.hashed(state);
        if (found != dispute.stateHash) revert HubChannels_WrongDispute(id, dispute.stateHash, found);
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
        Ending memory end = _ending(params, id, hub);
        Settlement.Payout memory pay;
        uint256 lockMax;
        {
            Channel storage channel = _channels[id];
            Settlement.Dues memory due =
                Settlement.dues(state, Settlement.Facts(channel.withdrawn, channel.deposited, dispute.creditMax));
            lockMax = due.lockMax;
            if (late) end.payAt = channel.deadline + params.selfDelay;
            pay = _payoutOf(params, dispute, due, end.closer, hub);
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

    /// @dev Collateral is tokens, which a mint hub's channel has no use for: a stray one waits for the hub as a claim.
    function _ending(ChannelParams calldata params, bytes32 id, Hub storage hub) private returns (Ending memory end) {
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
        channel.withdrawn = 0;
        channel.deadline = 0;
        channel.status = Status.Open;
        channel.closer = Closer.None;
        channel.deposited = 0;
        channel.collateral = 0;
        channel.dispute = 0;
    }

    function _emitSettled(address hub, Dispute calldata dispute, Ending memory end, Settlement.Payout memory pay)
        private
    {
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
        Hub storage hub
    ) private view returns (Settlement.Payout memory) {
        if (!dispute.penalized) return Settlement.honest(due);
        if (closer == Closer.Hub) return Settlement.hubCheated(due, _penaltyLimit(params, hub), params.bountyBps);
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
        _lockLists[end.key] = Types.lockList(locksHash, end.lockReserve, short);
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
