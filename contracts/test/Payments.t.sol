// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHubErrors} from "../src/interfaces/IHubErrors.sol";
import {IHubEvents} from "../src/interfaces/IHubEvents.sol";
import {IHubRegistry} from "../src/interfaces/IHubRegistry.sol";
import {IHubChannels} from "../src/interfaces/IHubChannels.sol";
import {ChannelParams, CoSigned, FundingMode, State, WithdrawFault, Withdrawal} from "../src/lib/Types.sol";
import {Token} from "../src/Token.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./Vm.sol";

contract DepositTest is Fixture {
    function test_anybody_deposits_into_a_vault_channel_and_the_first_announces_it() public {
        ChannelParams memory params = _custodial(vaultHub);
        bytes32 id = _id(params);
        _arm(stranger, 30 ether);
        vm.expectEmit(address(channels));
        emit IHubEvents.Opened(id, vaultHub, payout, params);
        vm.expectEmit(address(channels));
        emit IHubEvents.Deposited(id, vaultHub, stranger, 0, 10 ether, 10 ether);
        vm.prank(stranger);
        channels.deposit(params, 10 ether);
        vm.prank(stranger);
        channels.deposit(params, 20 ether);
        vm.assertEq(channels.channelOf(id).deposited, 30 ether, "cumulative");
        vm.assertEq(_funds(vaultHub), 1_000_030 ether, "vault");
    }

    function test_a_deposit_in_mint_mode_burns_and_raises_the_allowance() public {
        ChannelParams memory params = _custodial(mintHub);
        _arm(stranger, 10 ether);
        uint256 supply = Token(asset).totalSupply();
        uint256 allowance = _funds(mintHub);
        vm.prank(stranger);
        channels.deposit(params, 10 ether);
        vm.assertEq(Token(asset).totalSupply(), supply - 10 ether, "burned");
        vm.assertEq(_funds(mintHub), allowance + 10 ether, "allowance");
    }

    function test_a_permit_and_the_deposit_go_in_one_call_and_a_used_permit_does_not_matter() public {
        ChannelParams memory params = _custodial(vaultHub);
        address payer = vm.addr(0x77);
        _give(payer, 10 ether);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                payer,
                address(channels),
                10 ether,
                0,
                START + 1
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", Token(asset).DOMAIN_SEPARATOR(), structHash));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(0x77, digest);
        vm.prank(stranger);
        Token(asset).permit(payer, address(channels), 10 ether, START + 1, v, r, s);
        vm.prank(payer);
        channels.depositWithPermit(params, 10 ether, START + 1, v, r, s);
        vm.assertEq(channels.channelOf(_id(params)).deposited, 10 ether, "deposited");
    }

    function test_transferAndCall_deposits_in_both_modes() public {
        _give(stranger, 20 ether);
        ChannelParams memory vaulted = _custodial(vaultHub);
        ChannelParams memory minted = _custodial(mintHub);
        vm.prank(stranger);
        Token(asset).transferAndCall(address(channels), 10 ether, abi.encode(vaulted));
        uint256 supply = Token(asset).totalSupply();
        vm.prank(stranger);
        Token(asset).transferAndCall(address(channels), 10 ether, abi.encode(minted));
        vm.assertEq(channels.channelOf(_id(vaulted)).deposited, 10 ether, "vault");
        vm.assertEq(channels.channelOf(_id(minted)).deposited, 10 ether, "mint");
        vm.assertEq(Token(asset).totalSupply(), supply - 10 ether, "burned");
    }

    function test_only_the_token_says_that_tokens_came() public {
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NotToken.selector, stranger));
        vm.prank(stranger);
        channels.onTransferReceived(stranger, stranger, 1 ether, abi.encode(_custodial(vaultHub)));
        _give(stranger, 1 ether);
        vm.expectRevert();
        vm.prank(stranger);
        Token(asset).transferAndCall(address(channels), 1 ether, hex"00");
    }

    function test_zero_and_too_much_are_refused() public {
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_AmountZero.selector));
        channels.deposit(_custodial(vaultHub), 0);
        uint256 amount = uint256(type(uint112).max) + 1;
        _arm(stranger, amount);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_AmountTooLarge.selector, amount));
        vm.prank(stranger);
        channels.deposit(_custodial(vaultHub), amount);
    }

    function test_parameters_that_no_hub_stands_behind_are_refused() public {
        for (uint256 i = 0; i < 10; ++i) {
            ChannelParams memory params = _broken(i);
            bytes memory refusal = abi.encodeWithSelector(IHubErrors.HubChannels_BadParams.selector, _id(params));
            vm.expectRevert(refusal);
            channels.deposit(params, 1);
        }
    }

    function _broken(uint256 which) private view returns (ChannelParams memory params) {
        params = _custodial(vaultHub);
        if (which == 0) params.hub = stranger;
        if (which == 1) params.hubSigner = vm.addr(0x99);
        if (which == 2) params.user = address(0);
        if (which == 3) params.userSigner = address(0);
        if (which == 4) params.userSigner = params.hubSigner;
        if (which == 5) params.capacity = 0;
        if (which == 6) params.challengePeriod = 59;
        if (which == 7) params.challengePeriod = 7 days + 1;
        if (which == 8) params.selfDelay = 7 days + 1;
        if (which == 9) params.bountyBps = 501;
    }

    function test_deposits_stop_while_closing_and_while_paused() public {
        ChannelParams memory params = _custodial(vaultHub);
        _close(payout, params, _null(params));
        _arm(stranger, 2);
        vm.expectPartialRevert(IHubErrors.HubChannels_WrongStatus.selector);
        vm.prank(stranger);
        channels.deposit(params, 1);
        vm.prank(guardian);
        channels.setPaused(true);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_Paused.selector));
        vm.prank(stranger);
        channels.deposit(_selfCustodied(vaultHub), 1);
    }

    function test_collateral_is_pulled_once_and_returns_to_the_vault_at_settlement() public {
        ChannelParams memory params = _custodial(vaultHub);
        bytes32[] memory ids = new bytes32[](2);
        uint96[] memory amounts = new uint96[](2);
        (ids[0], ids[1]) = (_id(params), _id(_selfCustodied(vaultHub)));
        (amounts[0], amounts[1]) = (5 ether, 7 ether);
        _arm(vaultHub, 12 ether);
        vm.prank(vaultHub);
        channels.batchCollateral(ids, amounts);
        vm.assertEq(channels.channelOf(ids[0]).collateral, 5 ether, "collateral");
        State memory state = _null(params);
        _close(payout, params, state);
        _passWindow();
        channels.settle(params, _disputeOf(state), state);
        vm.assertEq(channels.channelOf(ids[0]).collateral, 0, "gone");
        vm.assertEq(_funds(vaultHub), 1_000_005 ether, "back in the vault");
    }

    function test_collateral_lists_must_match_and_come_from_a_vault_hub() public {
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_LengthMismatch.selector, 1, 0));
        vm.prank(vaultHub);
        channels.batchCollateral(new bytes32[](1), new uint96[](0));
        vm.expectPartialRevert(IHubErrors.HubChannels_WrongMode.selector);
        vm.prank(mintHub);
        channels.batchCollateral(new bytes32[](1), new uint96[](1));
    }
}

contract WithdrawTest is Fixture {
    function _refused(Withdrawal memory item, WithdrawFault fault) private {
        bytes memory refusal = abi.encodeWithSelector(
            IHubErrors.HubChannels_WithdrawRefused.selector, _id(item.params), item.requestId, fault
        );
        vm.expectRevert(refusal);
        channels.withdraw(item);
    }

    function test_a_withdrawal_pays_from_the_vault_and_the_channel_stays_open() public {
        ChannelParams memory params = _custodial(vaultHub);
        Withdrawal memory item = _withdrawal(params, 10 ether, payout);
        vm.expectEmit(address(channels));
        emit IHubEvents.Withdrawn(_id(params), vaultHub, item.requestId, 0, payout, 10 ether, 10 ether);
        vm.prank(stranger);
        channels.withdraw(item);
        channels.withdraw(_withdrawal(params, 5 ether, payout));
        vm.assertEq(_balance(payout), 15 ether, "paid");
        vm.assertEq(channels.channelOf(_id(params)).withdrawn, 15 ether, "total");
        vm.assertEq(_funds(vaultHub), 999_985 ether, "vault");
    }

    function test_a_withdrawal_in_mint_mode_creates_tokens_against_the_allowance() public {
        uint256 supply = Token(asset).totalSupply();
        uint256 allowance = _funds(mintHub);
        channels.withdraw(_withdrawal(_custodial(mintHub), 10 ether, payout));
        vm.assertEq(_balance(payout), 10 ether, "paid");
        vm.assertEq(Token(asset).totalSupply(), supply + 10 ether, "minted");
        vm.assertEq(_funds(mintHub), allowance - 10 ether, "allowance");
    }

    function test_a_withdrawal_pays_at_most_once() public {
        Withdrawal memory item = _withdrawal(_custodial(vaultHub), 10 ether, payout);
        channels.withdraw(item);
        _refused(item, WithdrawFault.WrongTotal);
    }

    function test_each_reason_to_refuse_is_named() public {
        ChannelParams memory params = _custodial(vaultHub);
        Withdrawal memory item = _withdrawal(_custodial(vaultHub), 10 ether, payout);
        item.params.capacity = 0;
        _refused(item, WithdrawFault.ChannelParams);
        item = _withdrawal(params, 10 ether, payout);
        item.epoch = 1;
        _refused(item, WithdrawFault.WrongEpoch);
        item = _withdrawal(params, 10 ether, payout);
        item.validUntil = uint40(block.timestamp - 1);
        _refused(item, WithdrawFault.Expired);
        item = _withdrawal(params, 10 ether, payout);
        item.prevTotal = 1;
        _refused(item, WithdrawFault.WrongTotal);
        _refused(_withdrawal(params, 0, payout), WithdrawFault.Amount);
        _refused(_withdrawal(params, 1, address(0)), WithdrawFault.Payee);
        _refused(_withdrawal(params, 1, address(channels)), WithdrawFault.Payee);
        _refused(_withdrawal(params, 1_000_001 ether, payout), WithdrawFault.FundsShort);
        item = _withdrawal(params, 10 ether, payout);
        item.amount = 11 ether;
        _refused(item, WithdrawFault.HubSignature);
        item = _withdrawal(params, 10 ether, payout);
        item.userSignature = item.hubSignature;
        _refused(item, WithdrawFault.UserSignature);
        item = _withdrawal(params, 10 ether, payout);
        _close(payout, params, _null(params));
        _refused(item, WithdrawFault.NotOpen);
    }

    function test_the_operator_needs_no_hub_signature_unless_its_hub_wants_one() public {
        Withdrawal memory item = _withdrawal(_custodial(vaultHub), 10 ether, payout);
        item.hubSignature = "";
        _refused(item, WithdrawFault.HubSignature);
        vm.prank(vaultHub);
        channels.withdraw(item);
        vm.assertEq(_balance(payout), 10 ether, "paid");

        address careful = address(0xB1);
        IHubRegistry.HubRules memory rules = _rules(FundingMode.Vault);
        rules.operatorPays = false;
        _arm(careful, 2_000_000 ether);
        vm.prank(careful);
        channels.registerHub(rules, vm.addr(HUB_KEY), 1_000_000 ether, "");
        vm.prank(careful);
        channels.fundVault(careful, 1_000_000 ether);
        item = _withdrawal(_custodial(careful), 10 ether, payout);
        bytes memory signature = item.hubSignature;
        item.hubSignature = "";
        vm.expectPartialRevert(IHubErrors.HubChannels_WithdrawRefused.selector);
        vm.prank(careful);
        channels.withdraw(item);
        item.hubSignature = signature;
        vm.prank(careful);
        channels.withdraw(item);
        vm.assertEq(_balance(payout), 20 ether, "paid with both signatures");
    }

    function test_the_user_signature_is_always_needed() public {
        Withdrawal memory item = _withdrawal(_custodial(vaultHub), 10 ether, payout);
        item.userSignature = "";
        bytes memory refusal = abi.encodeWithSelector(
            IHubErrors.HubChannels_WithdrawRefused.selector,
            _id(item.params),
            item.requestId,
            WithdrawFault.UserSignature
        );
        vm.expectRevert(refusal);
        vm.prank(vaultHub);
        channels.withdraw(item);
    }

    function test_a_malleable_or_misshapen_signature_is_refused() public {
        Withdrawal memory item = _withdrawal(_custodial(vaultHub), 10 ether, payout);
        bytes memory good = item.userSignature;
        bytes32 r;
        bytes32 s;
        assembly {
            r := mload(add(good, 0x20))
            s := mload(add(good, 0x40))
        }
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        item.userSignature = abi.encodePacked(r, order - uint256(s), uint8(good[64]) == 27 ? uint8(28) : uint8(27));
        _refused(item, WithdrawFault.UserSignature);
        item.userSignature = abi.encodePacked(r, s, uint8(good[64]) - 27);
        _refused(item, WithdrawFault.UserSignature);
        item.userSignature = abi.encodePacked(good, hex"00");
        _refused(item, WithdrawFault.UserSignature);
    }

    function test_I7_a_withdrawal_of_one_channel_contract_or_chain_pays_in_no_other() public {
        Withdrawal memory item = _withdrawal(_custodial(vaultHub), 10 ether, payout);
        item.params.salt = keccak256("another account");
        _refused(item, WithdrawFault.HubSignature);
        item = _withdrawal(_custodial(vaultHub), 10 ether, payout);
        vm.chainId(2);
        _refused(item, WithdrawFault.HubSignature);
        vm.chainId(31337);
        IHubChannels first = channels;
        channels = IHubChannels(_deployChannels(asset));
        _registerHub(vaultHub, FundingMode.Vault);
        _fundVault(10 ether);
        _refused(item, WithdrawFault.HubSignature);
        first.withdraw(item);
        vm.assertEq(_balance(payout), 10 ether, "where it was meant");
    }

    /// What a channel was checked against stays true, so a second look is spared; a first one never is.
    function test_parameters_are_checked_the_first_time_whatever_comes_first() public {
        ChannelParams memory params = _custodial(vaultHub);
        params.hubSigner = vm.addr(0x99);
        Withdrawal memory item = _withdrawal(params, 1 ether, payout);
        _refused(item, WithdrawFault.ChannelParams);
        CoSigned memory posted = _coSigned(params, _null(params));
        vm.expectPartialRevert(IHubErrors.HubChannels_BadParams.selector);
        vm.prank(payout);
        channels.close(params, posted, _noIntent(), _noCredit());
        vm.prank(vaultHub);
        channels.addHubSigner(vm.addr(0x99));
        _close(payout, params, _null(params));
    }

    function test_collateral_pays_when_the_vault_is_short() public {
        ChannelParams memory params = _custodial(vaultHub);
        bytes32[] memory ids = new bytes32[](1);
        uint96[] memory amounts = new uint96[](1);
        (ids[0], amounts[0]) = (_id(params), 5 ether);
        _arm(vaultHub, 5 ether);
        vm.prank(vaultHub);
        channels.batchCollateral(ids, amounts);
        channels.withdraw(_withdrawal(params, 1_000_004 ether, payout));
        vm.assertEq(channels.channelOf(ids[0]).collateral, 1 ether, "rest");
        vm.assertEq(_funds(vaultHub), 0, "vault");
    }

    function test_a_batch_pays_the_good_and_reports_the_bad() public {
        ChannelParams memory params = _custodial(vaultHub);
        Withdrawal[] memory items = new Withdrawal[](4);
        items[0] = _withdrawal(params, 10 ether, payout);
        items[1] = _withdrawal(params, 20 ether, payout);
        items[2] = _withdrawal(_selfCustodied(vaultHub), 5 ether, address(0xD1));
        items[3] = _withdrawal(_custodial(mintHub), 7 ether, address(0xD2));
        items[3].validUntil = 1;
        vm.expectEmit(address(channels));
        emit IHubEvents.WithdrawSkipped(_id(params), vaultHub, items[1].requestId, 1, WithdrawFault.WrongTotal);
        vm.expectEmit(address(channels));
        emit IHubEvents.WithdrawSkipped(_id(items[3].params), mintHub, items[3].requestId, 3, WithdrawFault.Expired);
        vm.prank(vaultHub);
        uint256 paid = channels.batchWithdraw(items);
        vm.assertEq(paid, 2, "paid");
        vm.assertEq(_balance(payout), 10 ether, "first");
        vm.assertEq(_balance(address(0xD1)), 5 ether, "third");
        vm.assertEq(_balance(address(0xD2)), 0, "fourth");
    }

    function test_withdrawals_of_one_channel_chain_within_a_batch() public {
        ChannelParams memory params = _custodial(vaultHub);
        Withdrawal[] memory items = new Withdrawal[](3);
        for (uint256 i = 0; i < 3; ++i) {
            items[i] = _withdrawal(params, 10 ether, payout);
            items[i].prevTotal = uint128(i * 10 ether);
            _signWithdrawal(items[i]);
        }
        vm.assertEq(channels.batchWithdraw(items), 3, "all");
        vm.assertEq(_balance(payout), 30 ether, "paid");
    }

    function testFuzz_a_withdrawal_moves_exactly_its_amount(uint96 amount, bool minted) public {
        amount = uint96(1 + amount % 1_000_000 ether);
        ChannelParams memory params = _custodial(minted ? mintHub : vaultHub);
        uint256 before = _funds(params.hub);
        channels.withdraw(_withdrawal(params, amount, payout));
        vm.assertEq(_balance(payout), amount, "paid");
        vm.assertEq(before - _funds(params.hub), amount, "taken");
    }
}
