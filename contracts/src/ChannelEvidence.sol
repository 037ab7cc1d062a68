// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestations} from "./Attestations.sol";
import {Endings} from "./Endings.sol";
import {IChannelEvidence} from "./interfaces/IChannelEvidence.sol";
import {
    Attestation,
    ChannelParams,
    Closer,
    CoopSettlement,
    Credit,
    Dispute,
    Evidence,
    State,
    Types
} from "./lib/Types.sol";

/// Evidence beside a newer state, and agreements.
abstract contract ChannelEvidence is Attestations, Endings, IChannelEvidence {
    /// @inheritdoc IChannelEvidence
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

    /// @inheritdoc IChannelEvidence
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
        _giveBack(hub, late.amount - bounty);
        // Safe: the hub's sum holds every part. What locks left owed is not forfeited with it.
        hub.owed -= uint128(_owed[key]);
        delete _owed[key];
        emit DelayedForfeited(id, params.hub, epoch, late.amount, bounty, msg.sender);
        _payFunds(hub.mode, msg.sender, bounty);
    }

    /// @inheritdoc IChannelEvidence
    function coopSettle(ChannelParams calldata params, CoopSettlement calldata agreement) external nonReentrant {
        (bytes32 id, Channel storage channel) = _requireChannel(params);
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
        if (end.collateral != 0) _giveBack(hub, end.collateral);
        emit CoopSettled(id, params.hub, end.epoch, end.userPay, end.owed);
        _payFunds(end.mode, params.user, end.userPay);
    }

    /// @inheritdoc IChannelEvidence
    function proveEquivocation(
        ChannelParams calldata params,
        State calldata first,
        Attestation calldata firstByHub,
        State calldata second,
        Attestation calldata secondByHub
    ) external nonReentrant {
        (bytes32 id,) = _requireChannel(params);
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
}
