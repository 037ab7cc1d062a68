// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHubErrors} from "../src/interfaces/IHubErrors.sol";
import {Settlement} from "../src/lib/Settlement.sol";
import {ChannelParams, Closer, Credit, Dispute, State, Status, Types} from "../src/lib/Types.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./Vm.sol";

/// The settlement formula by itself.
contract SettlementMathTest {
    function _split(uint96 capacity, uint96 user, uint96 locked) private pure returns (State memory state) {
        state.userBalance = uint96(user % (uint256(capacity) + 1));
        state.userLocked = uint96(locked % (uint256(capacity) - state.userBalance + 1));
        state.hubBalance = capacity - state.userBalance - state.userLocked;
    }

    function testFuzz_dues_share_exactly_the_pool(uint96 capacity, uint96 user, uint96 locked, uint128[6] memory totals)
        public
        pure
    {
        State memory state = _split(capacity, user, locked);
        (state.withdrawn, state.deposited, state.credited) = (totals[0], totals[1], totals[2]);
        Settlement.Dues memory due = Settlement.dues(state, Settlement.Facts(totals[3], totals[4], totals[5]));
        uint256 pool = uint256(state.hubBalance) + state.userBalance;
        if (totals[4] > totals[1]) pool += totals[4] - totals[1];
        vm.assertEq(due.userDue + due.hubDue, pool, "pool");
        vm.assertEq(due.lockMax, state.userLocked, "locks");
        vm.assertEq(pool + due.lockMax >= capacity ? 1 : 0, 1, "locks stand beside the pool");
    }

    /// For a state an honest side holds, the user gets the same in all whether a withdrawal, deposit or credit was
    /// executed, folded or neither.
    function testFuzz_the_users_total_does_not_depend_on_what_was_executed_or_folded(
        uint96 user,
        uint96 pendingWithdrawal,
        uint96 unfoldedDeposit,
        uint96 unfoldedCredit,
        bool executed
    ) public pure {
        uint96 capacity = 2 ** 95;
        user = user % 2 ** 94;
        // The hub balance covers what is pending (N2.4).
        pendingWithdrawal = pendingWithdrawal % 2 ** 92;
        unfoldedCredit = unfoldedCredit % 2 ** 92;
        State memory state;
        state.userBalance = user;
        state.hubBalance = capacity - user;
        state.withdrawn = 1_000 + pendingWithdrawal;
        state.deposited = 500;
        state.credited = 70;
        uint256 paid = executed ? state.withdrawn : 1_000;
        Settlement.Dues memory due = Settlement.dues(
            state, Settlement.Facts(paid, uint256(500) + unfoldedDeposit, uint256(70) + unfoldedCredit)
        );
        uint256 entitled = uint256(user) + state.withdrawn + unfoldedDeposit + unfoldedCredit;
        vm.assertEq(paid + due.userDue, entitled, "total");
    }

    function testFuzz_penalties_never_pay_more_than_the_forfeit(uint96 user, uint96 hub, uint96 limit, uint16 bps)
        public
        pure
    {
        bps = bps % 501;
        Settlement.Dues memory due = Settlement.Dues(user, hub, 0);
        Settlement.Payout memory cheatedByHub = Settlement.hubCheated(due, limit, bps);
        vm.assertEq(cheatedByHub.userPay, user, "the user's due is whole");
        uint256 bonus = cheatedByHub.userBonus + cheatedByHub.bounty;
        vm.assertLe(bonus, limit, "cap and bond");
        vm.assertLe(bonus, hub, "hub's due");
        Settlement.Payout memory cheatedByUser = Settlement.userCheated(due, bps);
        vm.assertEq(cheatedByUser.userPay, 0, "forfeited");
        vm.assertLe(cheatedByUser.bounty, uint256(user) / 20, "bounty");
    }
}

contract SettleTest is Fixture {
    address private immutable hubSigner = vm.addr(HUB_KEY);
    address private immutable custody = vm.addr(CUSTODY_KEY);

    function _settleAfter(ChannelParams memory params, Dispute memory dispute, State memory state) private {
        _passWindow();
        vm.prank(stranger);
        channels.settle(params, dispute, state);
    }

    function _assertNextEpoch(ChannelParams memory params) private view {
        vm.assertEq(channels.channelOf(_id(params)).epoch, 1, "epoch");
        vm.assertEq(uint256(channels.channelOf(_id(params)).status), uint256(Status.Open), "open again");
        vm.assertEq(channels.channelOf(_id(params)).disputeHash, 0, "no dispute");
        vm.assertEq(channels.channelOf(_id(params)).withdrawn, 0, "withdrawn");
        vm.assertEq(channels.channelOf(_id(params)).deposited, 0, "deposited");
    }

    function test_a_hub_close_pays_the_user_at_settlement_in_both_modes() public {
        address[2] memory hubs = [vaultHub, mintHub];
        for (uint256 i = 0; i < 2; ++i) {
            ChannelParams memory params = _custodial(hubs[i]);
            State memory state = _state(params, 5, 100 ether);
            uint256 before = _funds(hubs[i]);
            _settleAfter(params, _close(hubSigner, params, state), state);
            vm.assertEq(_balance(payout), (i + 1) * 100 ether, "paid");
            vm.assertEq(before - _funds(hubs[i]), 100 ether, "taken");
            _assertNextEpoch(params);
        }
    }

    function test_a_closing_user_is_paid_after_the_self_delay_only() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 5, 100 ether);
        _settleAfter(params, _close(custody, params, state), state);
        vm.assertEq(_balance(payout), 0, "waits");
        vm.assertEq(_funds(vaultHub), 999_900 ether, "but left the vault");
        (uint256 amount, uint256 dueAt,,,) = channels.pendingOf(_id(params), 0);
        vm.assertEq(amount, 100 ether, "recorded");
        vm.warp(dueAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NotDue.selector, dueAt));
        channels.claimDelayed(params, 0);
        vm.warp(dueAt);
        channels.claimDelayed(params, 0);
        vm.assertEq(_balance(payout), 100 ether, "paid");
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingToPay.selector));
        channels.claimDelayed(params, 0);
    }

    function test_an_exit_is_paid_at_settlement() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 5, 100 ether);
        _settleAfter(params, _close(payout, params, state), state);
        vm.assertEq(_balance(payout), 100 ether, "paid");
    }

    function test_a_closing_hubs_collateral_waits_too() public {
        ChannelParams memory params = _custodial(vaultHub);
        _addCollateral(params, 50 ether);
        State memory state = _state(params, 5, 20 ether);
        _settleAfter(params, _close(hubSigner, params, state), state);
        vm.assertEq(_balance(payout), 20 ether, "paid out of the collateral");
        vm.assertEq(_funds(vaultHub), 1_000_000 ether, "the vault is untouched");
        (, uint256 dueAt, Closer closer,,) = channels.pendingOf(_id(params), 0);
        vm.assertEq(uint256(closer), uint256(Closer.Hub), "hub");
        vm.warp(dueAt);
        channels.claimDelayed(params, 0);
        vm.assertEq(_funds(vaultHub), 1_000_030 ether, "rest returned");
    }

    function _addCollateral(ChannelParams memory params, uint96 amount) private {
        bytes32[] memory ids = new bytes32[](1);
        uint96[] memory amounts = new uint96[](1);
        (ids[0], amounts[0]) = (_id(params), amount);
        _arm(vaultHub, amount);
        vm.prank(vaultHub);
        channels.batchCollateral(ids, amounts);
    }

    function test_collateral_of_a_mint_channel_waits_for_the_hub_as_a_claim() public {
        ChannelParams memory params = _custodial(mintHub);
        _addCollateral(params, 50 ether);
        State memory state = _state(params, 5, 20 ether);
        _settleAfter(params, _close(hubSigner, params, state), state);
        vm.assertEq(_balance(payout), 20 ether, "minted");
        vm.assertEq(channels.reclaimable(mintHub), 50 ether, "claim");
        uint256 before = _balance(mintHub);
        channels.claimReclaim(mintHub, mintHub);
        vm.assertEq(_balance(mintHub) - before, 50 ether, "back");
    }

    function test_a_cheating_user_gets_nothing_and_the_bounty_comes_from_its_forfeit() public {
        ChannelParams memory params = _custodial(vaultHub);
        Dispute memory dispute = _close(custody, params, _state(params, 1, 500 ether));
        State memory newest = _state(params, 7, 100 ether);
        dispute = _challenge(stranger, params, dispute, newest, true);
        _settleAfter(params, dispute, newest);
        vm.assertEq(_balance(payout), 0, "forfeited");
        vm.assertEq(_balance(stranger), 5 ether, "5 % of its due in the newest state");
        vm.assertEq(_funds(vaultHub), 999_995 ether, "the rest stays");
        (uint256 amount,,,,) = channels.pendingOf(_id(params), 0);
        vm.assertEq(amount, 0, "nothing waits");
    }

    function test_a_cheating_hub_pays_its_cap_out_of_the_bond_in_both_modes() public {
        address[2] memory hubs = [vaultHub, mintHub];
        for (uint256 i = 0; i < 2; ++i) {
            ChannelParams memory params = _custodial(hubs[i]);
            Dispute memory dispute = _close(hubSigner, params, _state(params, 1, 0));
            State memory newest = _state(params, 7, 100 ether);
            dispute = _challenge(stranger, params, dispute, newest, true);
            uint256 bond = channels.hubOf(hubs[i]).bond;
            _settleAfter(params, dispute, newest);
            vm.assertEq(bond - channels.hubOf(hubs[i]).bond, PENALTY_CAP, "bond");
        }
        vm.assertEq(_balance(payout), 2 * (100 ether + 9_500 ether), "due and bonus");
        vm.assertEq(_balance(stranger), 2 * 500 ether, "bounty");
    }

    function test_a_channel_that_names_more_than_the_hubs_cap_gets_the_hubs() public {
        ChannelParams memory params = _custodial(vaultHub);
        params.penaltyCap = 2 * PENALTY_CAP;
        Dispute memory dispute = _close(hubSigner, params, _state(params, 1, 0));
        State memory newest = _state(params, 7, 100 ether);
        dispute = _challenge(stranger, params, dispute, newest, true);
        _settleAfter(params, dispute, newest);
        vm.assertEq(channels.hubOf(vaultHub).bond, 99 * uint256(PENALTY_CAP), "one cap");
    }

    function test_a_short_vault_pays_what_is_there_and_owes_the_rest() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 5, 1_500_000 ether);
        vm.prank(vaultHub);
        channels.announceHubWithdraw(1);
        _settleAfter(params, _close(payout, params, state), state);
        vm.assertEq(_balance(payout), 1_000_000 ether, "what was there");
        (,,, uint256 owed,) = channels.pendingOf(_id(params), 0);
        vm.assertEq(owed, 500_000 ether, "owed");
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NothingToPay.selector));
        channels.payOwed(params, 0);

        _fundVault(200_000 ether);
        vm.warp(START + 14 days);
        vm.expectPartialRevert(IHubErrors.HubChannels_StillOwes.selector);
        vm.prank(vaultHub);
        channels.hubWithdraw(vaultHub, 1);
        channels.payOwed(params, 0);
        vm.assertEq(_balance(payout), 1_200_000 ether, "more");
        _fundVault(300_001 ether);
        channels.payOwed(params, 0);
        vm.assertEq(_balance(payout), 1_500_000 ether, "all");
        vm.assertEq(channels.hubOf(vaultHub).owed, 0, "nothing owed");
        vm.prank(vaultHub);
        channels.hubWithdraw(vaultHub, 1);
    }

    function test_what_a_closing_user_is_owed_waits_as_long_as_its_payout() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 5, 1_500_000 ether);
        _settleAfter(params, _close(custody, params, state), state);
        _fundVault(500_000 ether);
        vm.expectPartialRevert(IHubErrors.HubChannels_NotDue.selector);
        channels.payOwed(params, 0);
        vm.warp(block.timestamp + SELF_DELAY);
        channels.claimDelayed(params, 0);
        channels.payOwed(params, 0);
        vm.assertEq(_balance(payout), 1_500_000 ether, "all");
    }

    function test_deposits_that_were_never_folded_are_the_users() public {
        ChannelParams memory params = _selfCustodied(vaultHub);
        _arm(stranger, 40 ether);
        vm.prank(stranger);
        channels.deposit(params, 40 ether);
        State memory state = _null(params);
        _settleAfter(params, _close(payout, params, state), state);
        vm.warp(block.timestamp + SELF_DELAY);
        channels.claimDelayed(params, 0);
        vm.assertEq(_balance(payout), 40 ether, "by the null state");
    }

    function test_a_withdrawal_executed_after_the_posted_state_is_not_paid_again() public {
        ChannelParams memory params = _custodial(vaultHub);
        channels.withdraw(_withdrawal(params, 30 ether, payout));
        State memory older = _state(params, 5, 100 ether);
        _settleAfter(params, _close(payout, params, older), older);
        vm.assertEq(_balance(payout), 100 ether, "30 before, 70 now");
    }

    function test_a_withdrawal_that_never_came_is_paid_at_settlement() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 5, 70 ether);
        state.withdrawn = 30 ether;
        _settleAfter(params, _close(payout, params, state), state);
        vm.assertEq(_balance(payout), 100 ether, "whole");
    }

    function test_credits_count_above_what_is_folded() public {
        ChannelParams memory params = _selfCustodied(vaultHub);
        State memory state = _state(params, 5, 70 ether);
        state.credited = 20 ether;
        Dispute memory dispute = _close(hubSigner, params, state);
        Credit memory credit = Credit(50 ether, _signedBy(HUB_KEY, Types.credit(_id(params), 0, 50 ether)));
        channels.addCredit(params, dispute, credit);
        vm.expectPartialRevert(IHubErrors.HubChannels_WrongDispute.selector);
        channels.addCredit(params, dispute, credit);
        dispute.creditMax = 50 ether;
        vm.expectPartialRevert(IHubErrors.HubChannels_NotNewer.selector);
        channels.addCredit(params, dispute, credit);
        _settleAfter(params, dispute, state);
        vm.assertEq(_balance(payout), 100 ether, "70 + (50 - 20)");
    }

    function test_nothing_of_an_earlier_epoch_counts_in_the_next() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory old = _state(params, 9, 100 ether);
        _settleAfter(params, _close(payout, params, old), old);
        bytes memory refusal = abi.encodeWithSelector(IHubErrors.HubChannels_WrongEpoch.selector, _id(params), 1, 0);
        vm.expectRevert(refusal);
        vm.prank(payout);
        this.closeAs(params, old);
        _close(payout, params, _state(params, 1, 3 ether));
        vm.assertEq(channels.channelOf(_id(params)).epoch, 1, "the new epoch starts at version 1 again");
    }

    function closeAs(ChannelParams memory params, State memory state) external {
        _close(payout, params, state);
    }

    function test_settlement_goes_on_while_paused() public {
        ChannelParams memory params = _custodial(vaultHub);
        State memory state = _state(params, 5, 70 ether);
        vm.prank(guardian);
        channels.setPaused(true);
        channels.withdraw(_withdrawal(params, 10 ether, payout));
        Dispute memory dispute = _close(payout, params, state);
        dispute = _challenge(stranger, params, dispute, _state(params, 6, 70 ether), false);
        _settleAfter(params, dispute, _state(params, 6, 70 ether));
        vm.assertEq(_balance(payout), 70 ether, "paid");
    }
}
