// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestations} from "./Attestations.sol";
import {Endings} from "./Endings.sol";
import {IChannelDisputes} from "./interfaces/IChannelDisputes.sol";
import {Settlement} from "./lib/Settlement.sol";
import {ChannelParams, CloseIntent, Closer, CoSigned, Credit, Dispute, State, Status, Types} from "./lib/Types.sol";

/// Posting a state, answering it, and settling: what must stay cheap when everybody leaves at once.
abstract contract ChannelDisputes is Attestations, Endings, IChannelDisputes {
    /// @inheritdoc IChannelDisputes
    function close(
        ChannelParams calldata params,
        CoSigned calldata posted,
        CloseIntent calldata intent,
        Credit calldata credit
    ) external nonReentrant {
        (bytes32 id, Channel storage channel) = _requireChannel(params);
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
        channel.known = true;
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
            // Who may close as a party by sending may also let somebody else send.
            if (!params.custodial && _isSigned(structHash, intent.signature, params.user)) return Closer.User;
            _requireSigned(id, structHash, intent.signature, params.userSigner);
            return Closer.User;
        }
        if (msg.sender == params.hubSigner) return Closer.Hub;
        if (msg.sender == params.userSigner) return Closer.User;
        if (msg.sender == params.user) return params.custodial ? Closer.Exit : Closer.User;
        revert HubChannels_NotAParty(msg.sender);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       SETTLEMENT
    //////////////////////////////////////////////////////////////////////////*/

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

    function _recordLocks(Hub storage hub, Ending memory end, bytes32 locksHash, uint256 lockMax) private {
        uint256 short = lockMax - end.lockReserve;
        _lockLists[end.key] = Types.lockList(locksHash, end.lockReserve, short);
        if (short != 0) hub.owed = _toUint128(hub.owed + short);
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
            _giveBack(hub, end.collateral);
        }
    }
}
