// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHubErrors} from "../src/interfaces/IHubErrors.sol";
import {IHubEvents} from "../src/interfaces/IHubEvents.sol";
import {
    Attestation,
    ChannelParams,
    Cheque,
    CoSigned,
    CoopSettlement,
    Dispute,
    Evidence,
    FundingMode,
    LockList,
    State,
    Withdrawal
} from "../src/lib/Types.sol";
import {Fixture} from "./support/Fixture.sol";
import {HostileToken} from "./support/HostileToken.sol";
import {vm} from "./Vm.sol";

/// Nothing a token or a receiver does stops an exit: what can't be delivered becomes a claim.
contract HostileTest is Fixture {
    HostileToken private bad;

    function _deployToken() internal override returns (address) {
        bad = new HostileToken();
        return address(bad);
    }

    function _grantMinting() internal override {
        bad.setReentry(address(channels), "");
    }

    function _give(address to, uint256 amount) internal override {
        bad.mint(to, amount);
    }

    function _settleExit(ChannelParams memory params) private {
        State memory state = _state(params, 5, 100 ether);
        Dispute memory dispute = _close(payout, params, state);
        _passWindow();
        channels.settle(params, dispute, state);
    }

    function _failsAndIsClaimed(HostileToken.Mood mood, address hub) private {
        ChannelParams memory params = _custodial(hub);
        params.salt = keccak256(abi.encode(mood, hub));
        uint256 before = _balance(payout);
        bad.setMood(mood);
        _settleExit(params);
        vm.assertEq(channels.channelOf(_id(params)).epoch, 1, "settled all the same");
        vm.assertEq(_balance(payout), before, "not delivered");
        vm.assertEq(channels.reclaimable(payout), 100 ether, "claim");
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_TokenRefused.selector));
        channels.claimReclaim(payout, payout);
        bad.setMood(HostileToken.Mood.Good);
        channels.claimReclaim(payout, payout);
        vm.assertEq(_balance(payout) - before, 100 ether, "delivered later");
        vm.assertEq(channels.reclaimable(payout), 0, "once");
    }

    function test_I8_a_reverting_false_or_gas_burning_transfer_becomes_a_claim() public {
        _failsAndIsClaimed(HostileToken.Mood.Reverts, vaultHub);
        _failsAndIsClaimed(HostileToken.Mood.ReturnsFalse, vaultHub);
        _failsAndIsClaimed(HostileToken.Mood.BurnsGas, vaultHub);
    }

    function test_I8_a_failing_mint_becomes_a_claim_that_mints() public {
        _failsAndIsClaimed(HostileToken.Mood.Reverts, mintHub);
        _failsAndIsClaimed(HostileToken.Mood.BurnsGas, mintHub);
    }

    function test_I8_tokens_that_are_here_do_not_wait_for_a_mint_that_is_refused() public {
        bad.setMood(HostileToken.Mood.Reverts);
        _settleExit(_custodial(vaultHub));
        _settleExit(_custodial(mintHub));
        vm.assertEq(channels.reclaimable(payout), 200 ether, "both wait");
        bad.setMood(HostileToken.Mood.RefusesToMint);
        channels.claimReclaim(payout, payout);
        vm.assertEq(_balance(payout), 100 ether, "what is held");
        vm.assertEq(channels.reclaimable(payout), 100 ether, "what must be minted waits");
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_TokenRefused.selector));
        channels.claimReclaim(payout, payout);
        bad.setMood(HostileToken.Mood.Good);
        channels.claimReclaim(payout, payout);
        vm.assertEq(_balance(payout), 200 ether, "all");
    }

    function test_I8_a_payee_that_burns_gas_stops_no_batch() public {
        Withdrawal[] memory items = new Withdrawal[](5);
        for (uint256 i = 0; i < items.length; ++i) {
            ChannelParams memory params = _custodial(vaultHub);
            params.salt = bytes32(i);
            items[i] = _withdrawal(params, 1 ether, payout);
        }
        bad.setMood(HostileToken.Mood.BurnsGas);
        vm.assertEq(channels.batchWithdraw{gas: 2_000_000}(items), 5, "all went through");
        vm.assertEq(channels.reclaimable(payout), 5 ether, "as claims");
    }

    /// Each call is refused because of the guard and for no other reason, from a payout and from a deposit.
    function test_I8_every_guarded_function_refuses_reentry() public {
        bytes[] memory calls = _guardedCalls();
        bad.setMood(HostileToken.Mood.Reenters);
        bytes4 guarded = bytes4(keccak256("ReentrancyGuardReentrantCall()"));
        for (uint256 i = 0; i < calls.length; ++i) {
            bad.setReentry(address(channels), calls[i]);
            channels.withdraw(_withdrawal(_custodial(vaultHub), 1 ether, payout));
            vm.assertEq(bytes32(bad.refusal()), bytes32(guarded), vm.toString(i));
            bad.setMood(HostileToken.Mood.Good);
            _arm(stranger, 1 ether);
            bad.setMood(HostileToken.Mood.Reenters);
            bad.setReentry(address(channels), calls[calls.length - 1 - i]);
            vm.prank(stranger);
            channels.deposit(_custodial(vaultHub), 1 ether);
            vm.assertEq(bytes32(bad.refusal()), bytes32(guarded), vm.toString(i));
        }
        vm.assertTrue(!bad.reentered(), "none");
    }

    function _guardedCalls() private view returns (bytes[] memory calls) {
        ChannelParams memory params;
        CoSigned memory posted;
        Dispute memory dispute;
        State memory state;
        Evidence memory evidence;
        CoopSettlement memory agreement;
        LockList memory list;
        Cheque memory cheque;
        Attestation memory none;
        calls = new bytes[](21);
        calls[0] = abi.encodeCall(channels.registerHub, (_rules(FundingMode.Vault), stranger, 1, ""));
        calls[1] = abi.encodeCall(channels.fundVault, (vaultHub, 1));
        calls[2] = abi.encodeCall(channels.fundBond, (vaultHub, 1));
        calls[3] = abi.encodeCall(channels.hubWithdraw, (stranger, 1));
        calls[4] = abi.encodeCall(channels.deposit, (params, 1));
        calls[5] = abi.encodeCall(channels.depositWithPermit, (params, 1, 1, 27, 0, 0));
        calls[6] = abi.encodeCall(channels.onTransferReceived, (stranger, stranger, 1, abi.encode(params)));
        calls[7] = abi.encodeCall(channels.batchCollateral, (new bytes32[](1), new uint96[](1)));
        calls[8] = abi.encodeCall(channels.withdraw, (_withdrawal(_custodial(mintHub), 1, stranger)));
        calls[9] = abi.encodeCall(channels.batchWithdraw, (new Withdrawal[](0)));
        calls[10] = abi.encodeCall(channels.close, (params, posted, _noIntent(), _noCredit()));
        calls[11] = abi.encodeCall(channels.challenge, (params, dispute, posted));
        calls[12] = abi.encodeCall(channels.addCredit, (params, dispute, _noCredit()));
        calls[13] = abi.encodeCall(channels.penalize, (params, 0, dispute, evidence));
        calls[14] = abi.encodeCall(channels.acceptClose, (params, dispute, state, ""));
        calls[15] = abi.encodeCall(channels.settle, (params, dispute, state));
        calls[16] = abi.encodeCall(channels.coopSettle, (params, agreement));
        calls[17] = abi.encodeCall(channels.proveEquivocation, (params, state, none, state, none));
        calls[18] = abi.encodeCall(channels.unlock, (params, 0, list));
        calls[19] = abi.encodeCall(channels.cashCheque, (params, 0, list, 0, cheque));
        calls[20] = abi.encodeCall(channels.payOwed, (params, 0));
    }

    /// What can't be stopped by anything but its own rules: paused or not, the same refusal.
    function test_I8_no_exit_looks_at_the_pause() public {
        bytes[] memory calls = _guardedCalls();
        bool[21] memory pausable;
        (pausable[0], pausable[4], pausable[5], pausable[6]) = (true, true, true, true);
        for (uint256 paused = 0; paused < 2; ++paused) {
            vm.prank(guardian);
            channels.setPaused(paused == 1);
            for (uint256 i = 0; i < calls.length; ++i) {
                vm.prank(i == 6 ? asset : stranger);
                (bool success, bytes memory reason) = address(channels).call(calls[i]);
                bool stopped = !success && bytes4(reason) == IHubErrors.HubChannels_Paused.selector;
                vm.assertTrue(stopped == (paused == 1 && pausable[i]), vm.toString(i));
            }
        }
    }

    function test_I8_an_empty_or_oversized_answer_is_a_success() public {
        bad.setMood(HostileToken.Mood.ReturnsNothing);
        _settleExit(_custodial(vaultHub));
        bad.setMood(HostileToken.Mood.ReturnsMuch);
        _settleExit(_selfCustodied(vaultHub));
        vm.warp(block.timestamp + SELF_DELAY);
        channels.claimDelayed(_selfCustodied(vaultHub), 0);
        vm.assertEq(_balance(payout), 200 ether, "both delivered");
        vm.assertEq(channels.reclaimable(payout), 0, "no claim");
    }

    function test_no_function_can_be_reentered_from_a_payout() public {
        // Each call would succeed by itself at that moment.
        Withdrawal memory other = _withdrawal(_selfCustodied(vaultHub), 1 ether, stranger);
        State memory state = _null(_selfCustodied(mintHub));
        Dispute memory dispute = _close(payout, _selfCustodied(mintHub), state);
        _passWindow();
        other.validUntil = uint40(block.timestamp);
        _signWithdrawal(other);
        Withdrawal[] memory others = new Withdrawal[](1);
        others[0] = other;
        bytes[3] memory calls = [
            abi.encodeCall(channels.withdraw, (other)),
            abi.encodeCall(channels.batchWithdraw, (others)),
            abi.encodeCall(channels.settle, (_selfCustodied(mintHub), dispute, state))
        ];
        bad.setMood(HostileToken.Mood.Reenters);
        for (uint256 i = 0; i < calls.length; ++i) {
            bad.setReentry(address(channels), calls[i]);
            channels.withdraw(_withdrawal(_custodial(vaultHub), 10 ether, payout));
        }
        vm.assertTrue(!bad.reentered(), "refused each time");
        vm.assertEq(_balance(payout), 30 ether, "paid once each");
        bad.setMood(HostileToken.Mood.Good);
        channels.withdraw(other);
        channels.settle(_selfCustodied(mintHub), dispute, state);
        vm.assertEq(_balance(stranger), 1 ether, "fine from outside");
    }

    function test_a_fee_on_the_way_in_is_refused() public {
        _arm(stranger, 10 ether);
        bad.setMood(HostileToken.Mood.TakesFee);
        ChannelParams memory params = _custodial(vaultHub);
        vm.expectRevert(
            abi.encodeWithSelector(IHubErrors.HubChannels_TransferMismatch.selector, 10 ether, 10 ether - 1)
        );
        vm.prank(stranger);
        channels.deposit(params, 10 ether);
    }

    function test_a_claim_goes_to_its_account_or_where_the_account_says() public {
        bad.setMood(HostileToken.Mood.Reverts);
        _settleExit(_custodial(vaultHub));
        bad.setMood(HostileToken.Mood.Good);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NotPayee.selector, stranger, payout));
        vm.prank(stranger);
        channels.claimReclaim(payout, stranger);
        vm.prank(payout);
        channels.claimReclaim(payout, address(0xD1));
        vm.assertEq(_balance(address(0xD1)), 100 ether, "redirected by the account");
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingToPay.selector));
        channels.claimReclaim(payout, payout);
    }

    function test_I8_starving_a_payout_of_gas_reverts_instead_of_making_a_claim() public {
        Withdrawal memory item = _withdrawal(_custodial(vaultHub), 10 ether, payout);
        (bool success,) = address(channels).call{gas: 150_000}(abi.encodeCall(channels.withdraw, (item)));
        vm.assertTrue(!success, "reverted");
        vm.assertEq(channels.reclaimable(payout), 0, "no claim");
        channels.withdraw(item);
        vm.assertEq(_balance(payout), 10 ether, "still payable");
    }
}

contract BatchTest is Fixture {
    function test_a_batch_skips_and_reports_what_fails_and_keeps_the_sender() public {
        ChannelParams memory first = _custodial(vaultHub);
        ChannelParams memory second = _custodial(mintHub);
        State memory one = _state(first, 5, 10 ether);
        State memory two = _state(second, 5, 20 ether);
        Dispute memory disputeOne = _close(payout, first, one);
        Dispute memory disputeTwo = _close(payout, second, two);
        _passWindow();
        bytes[] memory calls = new bytes[](4);
        calls[0] = abi.encodeCall(channels.settle, (first, disputeOne, one));
        calls[1] = abi.encodeCall(channels.settle, (first, disputeOne, one));
        calls[2] = abi.encodeCall(channels.setHubUri, ("https://batch.example"));
        calls[3] = abi.encodeCall(channels.settle, (second, disputeTwo, two));
        bytes memory reason = abi.encodeWithSelector(IHubErrors.HubChannels_WrongStatus.selector, _id(first), 0);
        vm.expectEmit(address(channels));
        emit IHubEvents.CallSkipped(1, channels.settle.selector, reason);
        vm.prank(vaultHub);
        vm.assertEq(channels.batch(calls), 3, "done");
        vm.assertEq(_balance(payout), 30 ether, "both settled");
        vm.assertEq(keccak256(bytes(channels.hubOf(vaultHub).uri)), keccak256("https://batch.example"), "as the sender");
    }

    function test_many_stale_closes_are_answered_in_one_transaction() public {
        uint256 count = 20;
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _custodial(vaultHub);
            params.salt = bytes32(i);
            Dispute memory dispute = _close(vm.addr(CUSTODY_KEY), params, _state(params, 1, 100 ether));
            calls[i] =
                abi.encodeCall(channels.challenge, (params, dispute, _coSigned(params, _state(params, 9, 1 ether))));
        }
        vm.prank(stranger);
        vm.assertEq(channels.batch(calls), count, "all");
    }

    function test_an_unknown_function_reverts_and_nothing_takes_value() public {
        (bool success,) = address(channels).call(hex"12345678");
        vm.assertTrue(!success, "unknown");
        (success,) = address(channels).call("");
        vm.assertTrue(!success, "empty");
        (success,) = address(channels).call{value: 1}("");
        vm.assertTrue(!success, "value");
    }
}
