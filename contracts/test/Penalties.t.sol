// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHubErrors} from "../src/interfaces/IHubErrors.sol";
import {IHubEvents} from "../src/interfaces/IHubEvents.sol";
import {
    Attestation,
    ChannelParams,
    Closer,
    CoopSettlement,
    Dispute,
    Evidence,
    Lock,
    LockList,
    State,
    Types
} from "../src/lib/Types.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./Vm.sol";

contract PenaltyTest is Fixture {
    address private immutable hubSigner = vm.addr(HUB_KEY);
    address private immutable custody = vm.addr(CUSTODY_KEY);

    function _byState(uint256 key, State memory state) private view returns (Evidence memory evidence) {
        evidence.state = state;
        evidence.attestation = _direct(key, channels.domainSeparator(), state);
    }

    function _byRevoke(uint256 key, ChannelParams memory params, uint48 version)
        private
        view
        returns (Evidence memory evidence)
    {
        evidence.revokedVersion = version;
        evidence.revoke = _signedBy(key, Types.revoke(_id(params), channels.channelOf(_id(params)).epoch, version));
    }

    function _penalized(Dispute memory dispute, address by) private pure returns (Dispute memory) {
        dispute.penalized = true;
        dispute.bountyTo = by;
        return dispute;
    }

    function _refused(bytes4 selector, ChannelParams memory params, Dispute memory dispute, Evidence memory evidence)
        private
    {
        vm.expectPartialRevert(selector);
        channels.penalize(params, 0, dispute, evidence);
    }

    function test_a_state_signed_by_the_closer_alone_is_enough() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(hubSigner, params, _state(params, 5, 10 ether));
        Evidence memory evidence = _byState(HUB_KEY, _state(params, 7, 10 ether));
        vm.prank(stranger);
        channels.penalize(params, 0, dispute, evidence);
        dispute = _penalized(dispute, stranger);
        vm.assertEq(channels.channelOf(_id(params)).disputeHash, Types.hash(dispute), "penalized, same state");
    }

    function test_a_revoke_of_the_posted_version_is_enough() public {
        ChannelParams memory params = _selfCustodied(vaultHub);
        Dispute memory dispute = _close(payout, params, _state(params, 5, 10 ether));
        Evidence memory evidence = _byRevoke(USER_KEY, params, 5);
        vm.expectEmit(address(channels));
        emit IHubEvents.Penalized(_id(params), vaultHub, 5, stranger);
        vm.prank(stranger);
        channels.penalize(params, 0, dispute, evidence);
        dispute = _penalized(dispute, stranger);
        _refused(IHubErrors.HubChannels_AlreadyPenalized.selector, params, dispute, evidence);
    }

    function test_what_is_no_proof_is_refused() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(hubSigner, params, _state(params, 5, 10 ether));
        bytes4 notRevoked = IHubErrors.HubChannels_NotRevoked.selector;
        _refused(notRevoked, params, dispute, _byState(HUB_KEY, _state(params, 6, 10 ether)));
        _refused(notRevoked, params, dispute, _byRevoke(HUB_KEY, params, 4));
        _refused(
            IHubErrors.HubChannels_BadAttestation.selector,
            params,
            dispute,
            _byState(CUSTODY_KEY, _state(params, 9, 10 ether))
        );
        _refused(IHubErrors.HubChannels_BadSignature.selector, params, dispute, _byRevoke(CUSTODY_KEY, params, 9));
        State memory foreign = _state(params, 9, 10 ether);
        foreign.channelId = bytes32(uint256(1));
        _refused(IHubErrors.HubChannels_WrongChannel.selector, params, dispute, _byState(HUB_KEY, foreign));
        State memory later = _state(params, 9, 10 ether);
        later.epoch = 1;
        _refused(IHubErrors.HubChannels_WrongEpoch.selector, params, dispute, _byState(HUB_KEY, later));
        _passWindow();
        _refused(
            IHubErrors.HubChannels_DeadlinePassed.selector,
            params,
            dispute,
            _byState(HUB_KEY, _state(params, 9, 10 ether))
        );
    }

    function test_an_exit_cannot_be_penalized() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(payout, params, _state(params, 5, 10 ether));
        _refused(
            IHubErrors.HubChannels_NotRevoked.selector,
            params,
            dispute,
            _byState(CUSTODY_KEY, _state(params, 9, 10 ether))
        );
    }

    function test_a_user_can_be_proved_a_cheat_until_its_late_payout_is_gone() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory posted = _state(params, 5, 100 ether);
        Evidence memory evidence = _byState(CUSTODY_KEY, _state(params, 9, 10 ether));
        Dispute memory dispute = _close(custody, params, posted);
        _passWindow();
        channels.settle(params, dispute, posted);
        vm.prank(stranger);
        channels.penalize(params, 0, dispute, evidence);
        vm.assertEq(_balance(stranger), 5 ether, "bounty");
        vm.assertEq(_funds(vaultHub), 999_995 ether, "the rest is the hub's again");
        vm.warp(block.timestamp + SELF_DELAY);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingToPay.selector));
        channels.claimDelayed(params, 0);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingToPay.selector));
        channels.penalize(params, 0, dispute, evidence);
    }

    function test_a_late_proof_takes_what_is_owed_too() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory posted = _state(params, 5, 1_500_000 ether);
        Evidence memory evidence = _byState(CUSTODY_KEY, _state(params, 9, 10 ether));
        Dispute memory dispute = _close(custody, params, posted);
        _passWindow();
        channels.settle(params, dispute, posted);
        vm.assertEq(channels.hubOf(vaultHub).owed, 500_000 ether, "owed");
        channels.penalize(params, 0, dispute, evidence);
        vm.assertEq(channels.hubOf(vaultHub).owed, 0, "no more");
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingToPay.selector));
        channels.payOwed(params, 0);
    }

    /// A lock of 10 paid by the hub, a vault that is empty at settlement, and a closer that turns out a cheat.
    function _shortWithLock(ChannelParams memory params) private returns (Evidence memory evidence) {
        bytes32[] memory preimages = new bytes32[](1);
        preimages[0] = keccak256("preimage");
        channels.registerPreimages(preimages);
        Lock[] memory locks = new Lock[](1);
        locks[0] = Lock("lock", 1, false, 10 ether, type(uint40).max, sha256(abi.encode(preimages[0])), 0);
        State memory posted = _state(params, 5, 1_000_100 ether);
        posted.hubLocked = 10 ether;
        posted.hubBalance -= 10 ether;
        posted.locksHash = Types.hash(locks);
        evidence = _byState(CUSTODY_KEY, _state(params, 9, 10 ether));
        Dispute memory dispute = _close(custody, params, posted);
        _passWindow();
        channels.settle(params, dispute, posted);
        channels.unlock(params, 0, LockList(locks, 0, 10 ether));
        vm.assertEq(channels.hubOf(vaultHub).owed, 110 ether, "100 of the balance and the lock");
    }

    function test_a_late_proof_leaves_what_locks_left_owed() public {
        ChannelParams memory params = _custodial(vaultHub);
        Evidence memory evidence = _shortWithLock(params);
        Dispute memory none;
        vm.prank(stranger);
        channels.penalize(params, 0, none, evidence);
        vm.assertEq(channels.hubOf(vaultHub).owed, 10 ether, "locks are never forfeited");
        channels.payOwed(params, 0);
        vm.assertEq(_balance(payout), 10 ether, "the lock");
        vm.assertEq(channels.hubOf(vaultHub).owed, 0, "nothing owed");
    }

    function test_what_locks_left_owed_does_not_wait_for_the_closers_delay() public {
        ChannelParams memory params = _custodial(vaultHub);
        _shortWithLock(params);
        _fundVault(4 ether);
        channels.payOwed(params, 0);
        vm.assertEq(_balance(payout), 4 ether, "part of the lock");
        _fundVault(200 ether);
        channels.payOwed(params, 0);
        vm.assertEq(_balance(payout), 10 ether, "the lock and no more");
        vm.expectPartialRevert(IHubErrors.HubChannels_NotDue.selector);
        channels.payOwed(params, 0);
        vm.warp(block.timestamp + SELF_DELAY);
        channels.claimDelayed(params, 0);
        channels.payOwed(params, 0);
        vm.assertEq(_balance(payout), 1_000_110 ether, "all");
    }

    function test_a_hub_is_not_penalized_after_settlement() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory posted = _state(params, 5, 100 ether);
        Evidence memory evidence = _byState(HUB_KEY, _state(params, 9, 10 ether));
        Dispute memory dispute = _close(hubSigner, params, posted);
        _passWindow();
        channels.settle(params, dispute, posted);
        _refused(IHubErrors.HubChannels_NothingToPay.selector, params, dispute, evidence);
    }
}

contract AgreementTest is Fixture {
    address private immutable hubSigner = vm.addr(HUB_KEY);
    address private immutable custody = vm.addr(CUSTODY_KEY);

    function _acceptance(uint256 key, State memory state) private view returns (bytes memory) {
        return _signedBy(key, Types.acceptClose(state.channelId, state.epoch, Types.hash(state)));
    }

    function test_the_other_side_ends_the_wait() public {
        address[3] memory closers = [hubSigner, custody, payout];
        uint256[3] memory others = [CUSTODY_KEY, HUB_KEY, HUB_KEY];
        uint256[3] memory own = [HUB_KEY, CUSTODY_KEY, CUSTODY_KEY];
        for (uint256 i = 0; i < 3; ++i) {
            ChannelParams memory params = _custodial(vaultHub);
            params.salt = bytes32(i);
            State memory state = _state(params, 5, 100 ether);
            Dispute memory dispute = _close(closers[i], params, state);
            bytes memory wrong = _acceptance(own[i], state);
            vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
            channels.acceptClose(params, dispute, state, wrong);
            channels.acceptClose(params, dispute, state, _acceptance(others[i], state));
            vm.assertEq(_balance(payout), (i + 1) * 100 ether, "paid at once");
        }
    }

    function test_a_penalized_close_cannot_be_accepted() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(hubSigner, params, _state(params, 1, 0));
        State memory newest = _state(params, 5, 100 ether);
        dispute = _challenge(stranger, params, dispute, newest, true);
        bytes memory signature = _acceptance(CUSTODY_KEY, newest);
        vm.expectPartialRevert(IHubErrors.HubChannels_AlreadyPenalized.selector);
        channels.acceptClose(params, dispute, newest, signature);
    }

    function _agreement(ChannelParams memory params, uint96 userAmount)
        private
        view
        returns (CoopSettlement memory agreement)
    {
        bytes32 id = _id(params);
        agreement.withdrawn = channels.channelOf(id).withdrawn;
        agreement.deposited = channels.channelOf(id).deposited;
        agreement.userAmount = userAmount;
        agreement.validUntil = uint40(block.timestamp);
        bytes32 structHash = Types.coopSettle(
            id, channels.channelOf(id).epoch, agreement.withdrawn, agreement.deposited, userAmount, agreement.validUntil
        );
        agreement.hubSignature = _signedBy(HUB_KEY, structHash);
        agreement.userSignature = _signedBy(_userKey(params), structHash);
    }

    function test_an_agreement_settles_open_and_closing_channels_once() public {
        ChannelParams memory params = _custodial(vaultHub);
        CoopSettlement memory agreement = _agreement(params, 60 ether);
        channels.coopSettle(params, agreement);
        vm.assertEq(_balance(payout), 60 ether, "open");
        vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
        channels.coopSettle(params, agreement);
        _close(hubSigner, params, _state(params, 5, 1 ether));
        channels.coopSettle(params, _agreement(params, 40 ether));
        vm.assertEq(_balance(payout), 100 ether, "closing");
        vm.assertEq(channels.channelOf(_id(params)).epoch, 2, "epochs");
    }

    function test_an_agreement_to_nothing_is_one() public {
        ChannelParams memory params = _custodial(vaultHub);
        channels.coopSettle(params, _agreement(params, 0));
        vm.assertEq(channels.channelOf(_id(params)).epoch, 1, "epoch");
    }

    function test_an_agreement_falls_with_any_deposit_or_withdrawal_after_it() public {
        ChannelParams memory params = _custodial(vaultHub);
        CoopSettlement memory agreement = _agreement(params, 60 ether);
        channels.withdraw(_withdrawal(params, 10 ether, payout));
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_TotalsMoved.selector, _id(params), 10 ether, 0));
        channels.coopSettle(params, agreement);
        agreement = _agreement(params, 60 ether);
        _arm(stranger, 1);
        vm.prank(stranger);
        channels.deposit(params, 1);
        vm.expectPartialRevert(IHubErrors.HubChannels_TotalsMoved.selector);
        channels.coopSettle(params, agreement);
    }

    function test_an_agreement_needs_both_and_its_time() public {
        ChannelParams memory params = _custodial(vaultHub);
        CoopSettlement memory agreement = _agreement(params, 60 ether);
        bytes memory hubSignature = agreement.hubSignature;
        agreement.hubSignature = agreement.userSignature;
        vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
        channels.coopSettle(params, agreement);
        agreement.hubSignature = hubSignature;
        agreement.userSignature = hubSignature;
        vm.expectPartialRevert(IHubErrors.HubChannels_BadSignature.selector);
        channels.coopSettle(params, agreement);
        agreement = _agreement(params, 60 ether);
        vm.warp(block.timestamp + 1);
        vm.expectPartialRevert(IHubErrors.HubChannels_Expired.selector);
        channels.coopSettle(params, agreement);
    }

    function test_an_agreement_beyond_the_vault_leaves_the_rest_owed() public {
        ChannelParams memory params = _custodial(vaultHub);
        channels.coopSettle(params, _agreement(params, 1_000_001 ether));
        vm.assertEq(_balance(payout), 1_000_000 ether, "paid");
        vm.assertEq(channels.hubOf(vaultHub).owed, 1 ether, "owed");
    }

    function test_nobody_agrees_in_the_name_of_a_hub() public {
        ChannelParams memory params = _custodial(vaultHub);
        params.hubSigner = vm.addr(0x99);
        CoopSettlement memory agreement = _agreement(params, 60 ether);
        vm.expectPartialRevert(IHubErrors.HubChannels_BadParams.selector);
        channels.coopSettle(params, agreement);
    }
}

contract EquivocationTest is Fixture {
    function _attested(uint256 key, State memory state) private view returns (Attestation memory) {
        return _direct(key, channels.domainSeparator(), state);
    }

    function test_two_states_of_one_version_cost_the_hub_its_cap_once_per_epoch() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory first = _state(params, 5, 10 ether);
        State memory second = _state(params, 5, 11 ether);
        (Attestation memory one, Attestation memory two) = (_attested(HUB_KEY, first), _attested(HUB_KEY, second));
        vm.prank(stranger);
        channels.proveEquivocation(params, first, one, second, two);
        vm.assertEq(_balance(payout), 9_500 ether, "user");
        vm.assertEq(_balance(stranger), 500 ether, "bounty");
        vm.assertEq(channels.hubOf(vaultHub).bond, 990_000 ether, "bond");
        vm.expectPartialRevert(IHubErrors.HubChannels_NoEquivocation.selector);
        channels.proveEquivocation(params, first, one, second, two);
    }

    function test_I7_two_leaves_of_one_batch_are_an_equivocation_even_by_its_anchor() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory first = _state(params, 5, 10 ether);
        State memory second = _state(params, 5, 11 ether);
        bytes32[] memory leaves = new bytes32[](2);
        (leaves[0], leaves[1]) = (Types.hash(first), Types.hash(second));
        bytes32 domain = channels.domainSeparator();
        Attestation memory one = _batched(HUB_KEY, domain, vaultHub, leaves, 0, 1);
        Attestation memory two = _batched(HUB_KEY, domain, vaultHub, leaves, 1, 1);
        vm.prank(vaultHub);
        channels.anchor(1, 7, Types.hash(one.batch), vm.addr(HUB_KEY), one.signature);
        two.signature = "";
        channels.proveEquivocation(params, first, one, second, two);
        vm.assertEq(channels.hubOf(vaultHub).bond, 990_000 ether, "bond");
    }

    function test_what_is_no_equivocation_is_refused() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory first = _state(params, 5, 10 ether);
        State[4] memory others =
            [first, _state(params, 6, 10 ether), _state(params, 5, 10 ether), _state(params, 5, 10 ether)];
        others[2].epoch = 1;
        others[3].channelId = bytes32(uint256(1));
        for (uint256 i = 0; i < 4; ++i) {
            Attestation memory one = _attested(HUB_KEY, first);
            Attestation memory two = _attested(HUB_KEY, others[i]);
            vm.expectPartialRevert(IHubErrors.HubChannels_NoEquivocation.selector);
            channels.proveEquivocation(params, first, one, others[i], two);
        }
        State memory second = _state(params, 5, 11 ether);
        Attestation memory byHub = _attested(HUB_KEY, first);
        Attestation memory byUser = _attested(CUSTODY_KEY, second);
        vm.expectPartialRevert(IHubErrors.HubChannels_BadAttestation.selector);
        channels.proveEquivocation(params, first, byHub, second, byUser);
    }
}
