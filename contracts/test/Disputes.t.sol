// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHubErrors} from "../src/interfaces/IHubErrors.sol";
import {IHubEvents} from "../src/interfaces/IHubEvents.sol";
import {
    Attestation,
    ChannelParams,
    CloseIntent,
    Closer,
    CoSigned,
    Credit,
    Dispute,
    State,
    Status,
    Types
} from "../src/lib/Types.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./Vm.sol";

contract CloseTest is Fixture {
    address private immutable hubSigner = vm.addr(HUB_KEY);
    address private immutable custody = vm.addr(CUSTODY_KEY);

    function _refused(bytes4 selector, address sender, ChannelParams memory params, CoSigned memory posted) private {
        vm.expectPartialRevert(selector);
        vm.prank(sender);
        channels.close(params, posted, _noIntent(), _noCredit());
    }

    function test_the_closer_is_who_sends() public {
        ChannelParams memory params = _custodial(vaultHub);
        address[3] memory senders = [hubSigner, custody, payout];
        Closer[3] memory closers = [Closer.Hub, Closer.User, Closer.Exit];
        for (uint256 i = 0; i < 3; ++i) {
            params.salt = bytes32(i);
            State memory state = _state(params, 3, 100 ether);
            vm.expectEmit(address(channels));
            emit IHubEvents.Closed(_id(params), vaultHub, state, closers[i], 0, uint40(START + WINDOW));
            _close(senders[i], params, state);
            vm.assertEq(uint256(channels.channelOf(_id(params)).closer), uint256(closers[i]), "closer");
            vm.assertEq(uint256(channels.channelOf(_id(params)).status), uint256(Status.Closing), "status");
        }
    }

    function test_a_self_custodied_user_is_a_party_from_its_payout_address_too() public {
        ChannelParams memory params = _selfCustodied(vaultHub);
        _close(payout, params, _state(params, 3, 100 ether));
        vm.assertEq(uint256(channels.channelOf(_id(params)).closer), uint256(Closer.User), "party");
    }

    function test_neither_a_stranger_nor_the_operator_closes() public {
        ChannelParams memory params = _custodial(vaultHub);
        CoSigned memory posted = _coSigned(params, _state(params, 1, 1 ether));
        _refused(IHubErrors.HubChannels_NotAParty.selector, stranger, params, posted);
        _refused(IHubErrors.HubChannels_NotAParty.selector, vaultHub, params, posted);
    }

    function test_a_signed_intent_lets_anybody_close_for_its_signer() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 3, 100 ether);
        uint256[2] memory keys = [HUB_KEY, CUSTODY_KEY];
        Closer[2] memory closers = [Closer.Hub, Closer.User];
        for (uint256 i = 0; i < 2; ++i) {
            params.salt = bytes32(i);
            state = _state(params, 3, 100 ether);
            CloseIntent memory intent = _intent(keys[i], state, uint40(START));
            CoSigned memory posted = _coSigned(params, state);
            vm.prank(stranger);
            channels.close(params, posted, intent, _noCredit());
            vm.assertEq(uint256(channels.channelOf(_id(params)).closer), uint256(closers[i]), "closer");
        }
    }

    function test_a_payout_address_signs_an_intent_where_it_is_a_party_only() public {
        ChannelParams memory own = _selfCustodied(vaultHub);
        own.user = vm.addr(0x44);
        State memory state = _state(own, 3, 100 ether);
        CoSigned memory posted = _coSigned(own, state);
        CloseIntent memory intent = _intent(0x44, state, uint40(START));
        channels.close(own, posted, intent, _noCredit());
        vm.assertEq(uint256(channels.channelOf(_id(own)).closer), uint256(Closer.User), "party");

        ChannelParams memory custodial = _custodial(vaultHub);
        custodial.user = vm.addr(0x44);
        state = _state(custodial, 3, 100 ether);
        posted = _coSigned(custodial, state);
        intent = _intent(0x44, state, uint40(START));
        vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
        channels.close(custodial, posted, intent, _noCredit());
    }

    function test_an_intent_counts_for_its_state_its_time_and_its_parties_only() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 3, 100 ether);
        CoSigned memory posted = _coSigned(params, state);
        CloseIntent memory late = _intent(HUB_KEY, state, uint40(START - 1));
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_IntentExpired.selector, START - 1));
        channels.close(params, posted, late, _noCredit());
        CloseIntent memory other = _intent(HUB_KEY, _state(params, 2, 100 ether), uint40(START));
        vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
        channels.close(params, posted, other, _noCredit());
        CloseIntent memory foreign = _intent(0x99, state, uint40(START));
        vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
        channels.close(params, posted, foreign, _noCredit());
    }

    function _intent(uint256 key, State memory state, uint40 validUntil) private view returns (CloseIntent memory) {
        bytes32 structHash = Types.closeIntent(state.channelId, state.epoch, Types.hash(state), validUntil);
        return CloseIntent(validUntil, _signedBy(key, structHash));
    }

    function test_the_null_state_needs_no_signature_and_must_be_null() public {
        ChannelParams memory params = _selfCustodied(vaultHub);
        State memory state = _state(params, 0, 1 ether);
        _refused(IHubErrors.HubChannels_NotNullState.selector, payout, params, _coSigned(params, state));
        state = _null(params);
        state.deposited = 1;
        _refused(IHubErrors.HubChannels_NotNullState.selector, payout, params, _coSigned(params, state));
        _close(payout, params, _null(params));
        vm.assertEq(uint256(channels.channelOf(_id(params)).status), uint256(Status.Closing), "closing");
    }

    function test_a_state_of_another_channel_epoch_or_sum_is_refused() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 3, 100 ether);
        state.channelId = bytes32(uint256(1));
        _refused(IHubErrors.HubChannels_WrongChannel.selector, payout, params, _coSigned(params, state));
        state = _state(params, 3, 100 ether);
        state.epoch = 1;
        _refused(IHubErrors.HubChannels_WrongEpoch.selector, payout, params, _coSigned(params, state));
        state = _state(params, 3, 100 ether);
        state.userLocked = 1;
        _refused(IHubErrors.HubChannels_SumMismatch.selector, payout, params, _coSigned(params, state));
    }

    function test_both_signatures_are_needed() public {
        ChannelParams memory params = _custodial(vaultHub);
        CoSigned memory posted = _coSigned(params, _state(params, 3, 100 ether));
        bytes memory good = posted.hub.signature;
        posted.hub.signature = posted.user.signature;
        _refused(IHubErrors.HubChannels_BadAttestation.selector, payout, params, posted);
        posted.hub.signature = "";
        _refused(IHubErrors.HubChannels_BadAttestation.selector, payout, params, posted);
        posted.hub.signature = good;
        posted.user.signature = good;
        _refused(IHubErrors.HubChannels_BadAttestation.selector, payout, params, posted);
        posted.user.signature = "";
        _refused(IHubErrors.HubChannels_BadAttestation.selector, payout, params, posted);
    }

    function test_a_channel_closes_once_at_a_time() public {
        ChannelParams memory params = _custodial(vaultHub);
        _close(payout, params, _null(params));
        _refused(IHubErrors.HubChannels_WrongStatus.selector, payout, params, _coSigned(params, _null(params)));
    }

    function test_a_credit_is_taken_from_the_hub_signer_only() public {
        ChannelParams memory params = _selfCustodied(vaultHub);
        bytes32 structHash = Types.credit(_id(params), 0, 50 ether);
        CoSigned memory posted = _coSigned(params, _null(params));
        Credit memory forged = Credit(50 ether, _signedBy(USER_KEY, structHash));
        vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
        vm.prank(payout);
        channels.close(params, posted, _noIntent(), forged);
        Credit memory credit = Credit(50 ether, _signedBy(HUB_KEY, structHash));
        vm.prank(payout);
        channels.close(params, posted, _noIntent(), credit);
        Dispute memory dispute = _disputeOf(posted.state);
        dispute.creditMax = 50 ether;
        vm.assertEq(channels.channelOf(_id(params)).disputeHash, Types.hash(dispute), "remembered");
    }
}

contract AttestationTest is Fixture {
    function _leaves(State memory state, uint256 count, uint256 index) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            leaves[i] = keccak256(abi.encode("other state", i));
        }
        leaves[index] = Types.hash(state);
    }

    function _posted(
        ChannelParams memory params,
        State memory state,
        bytes32[] memory leaves,
        uint256 index,
        uint8 depth
    ) private view returns (CoSigned memory) {
        bytes32 domain = channels.domainSeparator();
        return CoSigned(
            state,
            _batched(HUB_KEY, domain, params.hub, leaves, index, depth),
            _batched(_userKey(params), domain, params.hub, leaves, index, depth)
        );
    }

    function _refused(ChannelParams memory params, CoSigned memory posted, Closer side) private {
        bytes memory refusal = abi.encodeWithSelector(IHubErrors.HubChannels_BadAttestation.selector, _id(params), side);
        vm.expectRevert(refusal);
        vm.prank(payout);
        channels.close(params, posted, _noIntent(), _noCredit());
    }

    function _accepted(ChannelParams memory params, CoSigned memory posted) private {
        vm.prank(payout);
        channels.close(params, posted, _noIntent(), _noCredit());
        vm.assertEq(uint256(channels.channelOf(_id(params)).status), uint256(Status.Closing), "closing");
    }

    function test_every_leaf_of_a_batch_can_be_posted() public {
        for (uint256 i = 0; i < 5; ++i) {
            ChannelParams memory params = _custodial(vaultHub);
            params.salt = bytes32(i);
            State memory state = _state(params, 1, 1 ether);
            _accepted(params, _posted(params, state, _leaves(state, 5, i), i, 3));
        }
    }

    function test_a_batch_of_one_has_depth_one() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 1, 1 ether);
        _accepted(params, _posted(params, state, _leaves(state, 1, 0), 0, 1));
    }

    function test_the_user_side_may_leave_out_the_path_of_the_same_batch() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 1, 1 ether);
        CoSigned memory posted = _posted(params, state, _leaves(state, 5, 2), 2, 3);
        posted.user.siblings = new bytes32[](0);
        CoSigned memory other = _posted(params, state, _leaves(state, 6, 2), 2, 3);
        other.user.siblings = new bytes32[](0);
        other.user.batch.prevRoot = bytes32(uint256(1));
        _refused(params, other, Closer.User);
        _accepted(params, posted);
    }

    function test_sides_may_attest_by_different_batches_and_by_the_state_alone() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 1, 1 ether);
        CoSigned memory posted = _posted(params, state, _leaves(state, 5, 2), 2, 3);
        posted.user = _direct(CUSTODY_KEY, channels.domainSeparator(), state);
        _accepted(params, posted);
        params.salt = bytes32(0);
        state = _state(params, 1, 1 ether);
        posted = _posted(params, state, _leaves(state, 5, 2), 2, 3);
        posted.user = _posted(params, state, _leaves(state, 9, 4), 4, 4).user;
        _accepted(params, posted);
    }

    function test_depth_path_and_index_must_be_those_signed() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 1, 1 ether);
        bytes32[] memory leaves = _leaves(state, 5, 2);
        CoSigned memory posted = _posted(params, state, leaves, 2, 3);
        posted.hub.leafIndex = 3;
        _refused(params, posted, Closer.Hub);
        posted.hub.leafIndex = 2 + 8;
        _refused(params, posted, Closer.Hub);
        posted = _posted(params, state, leaves, 2, 3);
        posted.hub.batch.depth = 2;
        _refused(params, posted, Closer.Hub);
        posted = _posted(params, state, leaves, 2, 3);
        posted.user.batch.batchId = 8;
        _refused(params, posted, Closer.User);
        posted = _posted(params, state, leaves, 2, 3);
        posted.user.batch.hub = mintHub;
        _refused(params, posted, Closer.User);
    }

    function test_I7_an_inner_node_is_no_leaf() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 1, 1 ether);
        // The state's hash stands one level above the leaves of a tree that was signed with depth 2.
        CoSigned memory posted = _deep(params, state, 1);
        posted.hub.batch.depth = 2;
        posted.user.batch.depth = 2;
        bytes32 structHash = Types.hash(posted.hub.batch);
        posted.hub.signature = _signedBy(HUB_KEY, structHash);
        posted.user.signature = _signedBy(CUSTODY_KEY, structHash);
        _refused(params, posted, Closer.Hub);
        _accepted(params, _deep(params, state, 1));
    }

    function test_depth_zero_and_depth_above_twenty_are_refused() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 1, 1 ether);
        _refused(params, _deep(params, state, 0), Closer.Hub);
        _refused(params, _deep(params, state, 21), Closer.Hub);
        _accepted(params, _deep(params, state, 20));
    }

    function _deep(ChannelParams memory params, State memory state, uint8 depth)
        private
        view
        returns (CoSigned memory posted)
    {
        posted.state = state;
        posted.hub.batch.depth = depth;
        posted.hub.batch.batchId = 7;
        posted.hub.batch.hub = params.hub;
        (posted.hub.batch.root, posted.hub.siblings) = _path(Types.hash(state), 0, depth);
        posted.user = Attestation(posted.hub.batch, 0, posted.hub.siblings, "");
        bytes32 structHash = Types.hash(posted.hub.batch);
        posted.hub.signature = _signedBy(HUB_KEY, structHash);
        posted.user.signature = _signedBy(CUSTODY_KEY, structHash);
    }

    function test_an_anchored_batch_needs_no_hub_signature() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 1, 1 ether);
        CoSigned memory posted = _posted(params, state, _leaves(state, 5, 2), 2, 3);
        bytes memory signature = posted.hub.signature;
        posted.hub.signature = "";
        _refused(params, posted, Closer.Hub);

        bytes32 structHash = Types.hash(posted.hub.batch);
        vm.expectPartialRevert(IHubErrors.HubChannels_BadAnchor.selector);
        vm.prank(vaultHub);
        channels.anchor(1, 7, structHash, vm.addr(HUB_KEY), "");
        vm.expectPartialRevert(IHubErrors.HubChannels_NotRegistered.selector);
        channels.anchor(1, 7, structHash, vm.addr(HUB_KEY), signature);
        vm.prank(vaultHub);
        channels.anchor(1, 7, structHash, vm.addr(HUB_KEY), signature);
        vm.assertEq(channels.anchorOf(vaultHub, 1, 7), keccak256(abi.encode(structHash, vm.addr(HUB_KEY))), "anchored");
        posted.user.signature = "";
        _refused(params, posted, Closer.User);
        posted.user.signature = _signedBy(CUSTODY_KEY, structHash);
        _accepted(params, posted);
    }

    function test_an_anchor_of_one_hub_stands_for_no_other() public {
        ChannelParams memory params = _custodial(mintHub);
        State memory state = _state(params, 1, 1 ether);
        CoSigned memory posted = _posted(params, state, _leaves(state, 5, 2), 2, 3);
        bytes memory signature = posted.hub.signature;
        bytes32 structHash = Types.hash(posted.hub.batch);
        vm.prank(vaultHub);
        channels.anchor(1, 7, structHash, vm.addr(HUB_KEY), signature);
        posted.hub.signature = "";
        _refused(params, posted, Closer.Hub);
    }

    function test_other_anchors_are_kept_in_a_ring_of_64_per_kind() public {
        vm.prank(vaultHub);
        channels.anchor(2, 5, keccak256("log"), address(0), "");
        vm.assertEq(channels.anchorOf(vaultHub, 2, 5), keccak256("log"), "kept");
        vm.assertEq(channels.anchorOf(vaultHub, 3, 5), 0, "per kind");
        vm.prank(vaultHub);
        channels.anchor(2, 69, keccak256("later"), address(0), "");
        vm.assertEq(channels.anchorOf(vaultHub, 2, 5), keccak256("later"), "ring");
        vm.expectPartialRevert(IHubErrors.HubChannels_BadAnchor.selector);
        vm.prank(vaultHub);
        channels.anchor(0, 1, keccak256("log"), address(0), "");
    }
}

contract ChallengeTest is Fixture {
    address private immutable hubSigner = vm.addr(HUB_KEY);
    address private immutable custody = vm.addr(CUSTODY_KEY);

    function test_a_newer_state_replaces_the_posted_one_without_penalty_for_the_base() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(hubSigner, params, _state(params, 5, 10 ether));
        State memory newer = _state(params, 6, 20 ether);
        vm.expectEmit(address(channels));
        emit IHubEvents.Challenged(_id(params), vaultHub, newer, false, stranger);
        dispute = _challenge(stranger, params, dispute, newer, false);
        vm.assertEq(dispute.version, 6, "replaced");
        vm.assertTrue(!dispute.penalized, "the base may be posted");
    }

    function test_posting_below_the_base_of_ones_newest_signature_forfeits() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(custody, params, _state(params, 5, 10 ether));
        dispute = _challenge(stranger, params, dispute, _state(params, 7, 5 ether), true);
        vm.assertEq(dispute.bountyTo, stranger, "the challenger earns");
    }

    function test_the_first_proof_earns_and_later_states_still_replace() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(custody, params, _state(params, 1, 10 ether));
        dispute = _challenge(stranger, params, dispute, _state(params, 7, 5 ether), true);
        dispute = _challenge(payout, params, dispute, _state(params, 9, 6 ether), false);
        vm.assertEq(dispute.bountyTo, stranger, "the first");
        vm.assertEq(dispute.closedVersion, 1, "kept for the whole dispute");
    }

    function test_penalty_looks_at_the_posted_version_not_the_current_one() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(custody, params, _state(params, 3, 10 ether));
        dispute = _challenge(stranger, params, dispute, _state(params, 4, 5 ether), false);
        _challenge(stranger, params, dispute, _state(params, 5, 5 ether), true);
    }

    function test_an_exit_never_forfeits() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(payout, params, _state(params, 1, 10 ether));
        _challenge(stranger, params, dispute, _state(params, 9, 5 ether), false);
    }

    function test_an_equal_or_older_state_is_refused() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(payout, params, _state(params, 5, 10 ether));
        CoSigned memory same = _coSigned(params, _state(params, 5, 10 ether));
        vm.expectPartialRevert(IHubErrors.HubChannels_NotNewer.selector);
        channels.challenge(params, dispute, same);
    }

    function test_the_deadline_is_the_last_second_for_a_challenge_and_no_second_for_a_settlement() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 5, 10 ether);
        Dispute memory dispute = _close(payout, params, state);
        vm.warp(START + WINDOW);
        vm.expectPartialRevert(IHubErrors.HubChannels_DeadlineAhead.selector);
        channels.settle(params, dispute, state);
        State memory newer = _state(params, 6, 10 ether);
        dispute = _challenge(stranger, params, dispute, newer, false);
        vm.warp(START + WINDOW + 1);
        CoSigned memory late = _coSigned(params, _state(params, 7, 10 ether));
        vm.expectPartialRevert(IHubErrors.HubChannels_DeadlinePassed.selector);
        channels.challenge(params, dispute, late);
        channels.settle(params, dispute, newer);
        vm.assertEq(channels.channelOf(_id(params)).epoch, 1, "settled");
    }

    function test_a_dispute_that_is_not_the_remembered_one_is_refused() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 5, 10 ether);
        Dispute memory dispute = _close(payout, params, state);
        CoSigned memory newer = _coSigned(params, _state(params, 7, 10 ether));
        dispute.closedVersion = 6;
        vm.expectPartialRevert(IHubErrors.HubChannels_WrongDispute.selector);
        channels.challenge(params, dispute, newer);
        dispute.closedVersion = 5;
        _passWindow();
        vm.expectPartialRevert(IHubErrors.HubChannels_WrongDispute.selector);
        channels.settle(params, dispute, newer.state);
    }

    function test_an_open_channel_has_no_dispute() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 5, 10 ether);
        CoSigned memory posted = _coSigned(params, state);
        vm.expectPartialRevert(IHubErrors.HubChannels_WrongStatus.selector);
        channels.challenge(params, _disputeOf(state), posted);
        vm.expectPartialRevert(IHubErrors.HubChannels_WrongStatus.selector);
        channels.settle(params, _disputeOf(state), state);
    }
}
