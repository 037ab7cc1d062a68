// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubStore} from "./HubStore.sol";
import {Merkle} from "./lib/Merkle.sol";
import {Attestation, ChannelParams, Closer, CoSigned, Credit, Dispute, State, Status, Types} from "./lib/Types.sol";

/// Checks of what both sides signed and of the dispute as the contract remembers it.
abstract contract Attestations is HubStore {
    /// @dev A state that may be posted now: of this channel and epoch, summing to capacity, and either the null state
    /// or attested by both sides.
    function _requirePostable(ChannelParams calldata params, bytes32 id, CoSigned calldata posted)
        internal
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
    function _isNull(State calldata state) internal pure returns (bool) {
        return state.ackVersion == 0 && state.userBalance == 0 && state.hubLocked == 0 && state.userLocked == 0
            && state.withdrawn == 0 && state.deposited == 0 && state.credited == 0 && state.locksHash == 0
            && state.transfersRoot == 0;
    }

    function _requireBoth(ChannelParams calldata params, bytes32 id, bytes32 stateHash, CoSigned calldata posted)
        internal
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
        internal
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

    function _requireState(bytes32 id, Dispute calldata dispute, State calldata state) internal pure {
        bytes32 found = Types.hashed(state);
        if (found != dispute.stateHash) revert HubChannels_WrongDispute(id, dispute.stateHash, found);
    }

    function _requireDispute(bytes32 id, Dispute calldata dispute) internal view returns (Channel storage channel) {
        channel = _channels[id];
        if (channel.status != Status.Closing) revert HubChannels_WrongStatus(id, channel.status);
        bytes32 found = Types.hashed(dispute);
        if (found != channel.dispute) revert HubChannels_WrongDispute(id, channel.dispute, found);
    }

    function _requireWindow(bytes32 id, Dispute calldata dispute) internal view returns (Channel storage channel) {
        channel = _requireDispute(id, dispute);
        if (block.timestamp > channel.deadline) revert HubChannels_DeadlinePassed(id, channel.deadline);
    }
}
