// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubChannels} from "../src/HubChannels.sol";
import {IHubErrors} from "../src/interfaces/IHubErrors.sol";
import {IHubEvents} from "../src/interfaces/IHubEvents.sol";
import {IHubRegistry} from "../src/interfaces/IHubRegistry.sol";
import {ChannelParams, Dispute, FundingMode, Lock, LockList, State, Types} from "../src/lib/Types.sol";
import {Token} from "../src/Token.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./Vm.sol";

contract RegistryTest is Fixture {
    address private immutable newcomer = address(0xB1);
    uint256 private constant BOND = 100 * uint256(PENALTY_CAP);

    function _register(address hub, IHubRegistry.HubRules memory rules, uint256 bond) private {
        vm.prank(hub);
        channels.registerHub(rules, vm.addr(HUB_KEY), bond, "https://new.example");
    }

    /* registerHub */

    function test_registration_stores_rules_bond_and_uri_and_pulls_the_bond() public {
        _arm(newcomer, BOND);
        uint256 before = _balance(address(channels));
        IHubRegistry.HubRules memory rules = _rules(FundingMode.Vault);
        vm.expectEmit(address(channels));
        emit IHubEvents.HubRegistered(
            newcomer,
            vm.addr(HUB_KEY),
            FundingMode.Vault,
            1 minutes,
            7 days,
            PENALTY_CAP,
            true,
            BOND,
            "https://new.example"
        );
        _register(newcomer, rules, BOND);

        IHubRegistry.HubView memory hub = channels.hubOf(newcomer);
        vm.assertEq(uint256(hub.rules.mode), uint256(FundingMode.Vault), "mode");
        vm.assertEq(hub.rules.penaltyCap, PENALTY_CAP, "cap");
        vm.assertEq(hub.bond, BOND, "bond");
        vm.assertEq(keccak256(bytes(hub.uri)), keccak256("https://new.example"), "uri");
        vm.assertTrue(channels.isHubSigner(newcomer, vm.addr(HUB_KEY)), "signer");
        vm.assertEq(_balance(address(channels)) - before, BOND, "tokens");
    }

    function test_a_hub_registers_once() public {
        _arm(vaultHub, BOND);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_AlreadyRegistered.selector, vaultHub));
        _register(vaultHub, _rules(FundingMode.Vault), BOND);
    }

    function test_a_bond_below_100_caps_is_refused() public {
        _arm(newcomer, BOND);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_BondTooSmall.selector, BOND - 1, BOND));
        _register(newcomer, _rules(FundingMode.Vault), BOND - 1);
    }

    function test_a_cap_of_zero_is_refused() public {
        IHubRegistry.HubRules memory rules = _rules(FundingMode.Vault);
        rules.penaltyCap = 0;
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_BondTooSmall.selector, 0, 0));
        _register(newcomer, rules, 0);
    }

    function test_windows_outside_the_contracts_bounds_are_refused() public {
        IHubRegistry.HubRules memory rules = _rules(FundingMode.Vault);
        rules.minChallengePeriod = 59;
        vm.expectPartialRevert(IHubErrors.HubChannels_WindowOutOfRange.selector);
        _register(newcomer, rules, BOND);
        rules.minChallengePeriod = 2 days;
        rules.maxChallengePeriod = 1 days;
        vm.expectPartialRevert(IHubErrors.HubChannels_WindowOutOfRange.selector);
        _register(newcomer, rules, BOND);
        rules.maxChallengePeriod = 7 days + 1;
        vm.expectPartialRevert(IHubErrors.HubChannels_WindowOutOfRange.selector);
        _register(newcomer, rules, BOND);
    }

    function test_mint_mode_needs_an_allowance_first() public {
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NoMintAllowance.selector, newcomer));
        _register(newcomer, _rules(FundingMode.Mint), BOND);
    }

    function test_a_mint_allowance_cannot_become_a_vault() public {
        vm.prank(admin);
        channels.allowMint(newcomer, 1);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_WrongMode.selector, newcomer, FundingMode.Vault));
        _register(newcomer, _rules(FundingMode.Vault), BOND);
    }

    /* funding */

    function test_anybody_funds_a_vault_and_a_bond() public {
        _arm(stranger, 30 ether);
        vm.expectEmit(address(channels));
        emit IHubEvents.VaultFunded(vaultHub, 10 ether, 1_000_010 ether);
        vm.prank(stranger);
        channels.fundVault(vaultHub, 10 ether);
        vm.prank(stranger);
        channels.fundBond(vaultHub, 20 ether);
        vm.assertEq(channels.hubOf(vaultHub).bond, BOND + 20 ether, "bond");
    }

    function test_a_mint_hub_has_no_vault() public {
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_WrongMode.selector, mintHub, FundingMode.Mint));
        channels.fundVault(mintHub, 1);
    }

    function test_nothing_is_funded_with_zero_or_for_a_stranger() public {
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_AmountZero.selector));
        channels.fundVault(vaultHub, 0);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NotRegistered.selector, stranger));
        channels.fundBond(stranger, 1);
    }

    /* hubWithdraw */

    function test_a_hub_takes_out_only_what_it_announced_and_only_in_time() public {
        vm.prank(vaultHub);
        channels.announceHubWithdraw(100 ether);
        vm.expectPartialRevert(IHubErrors.HubChannels_WithdrawNotDue.selector);
        vm.prank(vaultHub);
        channels.hubWithdraw(stranger, 100 ether);

        vm.warp(START + 14 days);
        vm.expectRevert(
            abi.encodeWithSelector(IHubErrors.HubChannels_VaultShort.selector, vaultHub, 100 ether + 1, 100 ether)
        );
        vm.prank(vaultHub);
        channels.hubWithdraw(stranger, 100 ether + 1);
        vm.prank(vaultHub);
        channels.hubWithdraw(stranger, 60 ether);
        vm.assertEq(_balance(stranger), 60 ether, "paid");
        vm.assertEq(_funds(vaultHub), 999_940 ether, "vault");

        vm.expectPartialRevert(IHubErrors.HubChannels_VaultShort.selector);
        vm.prank(vaultHub);
        channels.hubWithdraw(stranger, 41 ether);
        vm.warp(START + 21 days + 1);
        vm.expectPartialRevert(IHubErrors.HubChannels_WithdrawNotDue.selector);
        vm.prank(vaultHub);
        channels.hubWithdraw(stranger, 40 ether);
    }

    /* roles */

    function test_only_the_admin_allows_minting() public {
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_NotAdmin.selector, stranger));
        vm.prank(stranger);
        channels.allowMint(mintHub, 1);
    }

    function test_admin_changes_hands_in_two_steps() public {
        vm.prank(admin);
        channels.transferAdmin(newcomer);
        vm.assertEq(channels.admin(), admin, "not yet");
        vm.expectPartialRevert(IHubErrors.HubChannels_NotAdmin.selector);
        vm.prank(stranger);
        channels.acceptAdmin();
        vm.prank(newcomer);
        channels.acceptAdmin();
        vm.assertEq(channels.admin(), newcomer, "now");
        vm.prank(newcomer);
        channels.setGuardian(stranger);
        vm.assertEq(channels.guardian(), stranger, "guardian");
    }

    function test_a_pause_stops_new_hubs_signers_allowance_and_nothing_that_strengthens() public {
        vm.expectPartialRevert(IHubErrors.HubChannels_NotGuardian.selector);
        channels.setPaused(true);
        vm.prank(guardian);
        channels.setPaused(true);
        bytes memory paused = abi.encodeWithSelector(IHubErrors.HubChannels_Paused.selector);
        vm.expectRevert(paused);
        _register(newcomer, _rules(FundingMode.Vault), BOND);
        vm.expectRevert(paused);
        vm.prank(vaultHub);
        channels.addHubSigner(stranger);
        vm.expectRevert(paused);
        vm.prank(admin);
        channels.allowMint(mintHub, 1);
        _fundVault(1 ether);
        vm.assertEq(_funds(vaultHub), 1_000_001 ether, "funding goes on");
    }

    function _owing(uint96 owed) private returns (ChannelParams memory params) {
        vm.prank(admin);
        channels.allowMint(newcomer, 1 ether);
        _arm(newcomer, BOND);
        _register(newcomer, _rules(FundingMode.Mint), BOND);
        params = _custodial(newcomer);
        State memory state = _state(params, 5, 1 ether + owed);
        Dispute memory dispute = _close(payout, params, state);
        _passWindow();
        channels.settle(params, dispute, state);
        vm.assertEq(channels.hubOf(newcomer).owed, owed, "owed");
    }

    function test_I8_a_pause_does_not_keep_an_allowance_from_what_is_owed() public {
        ChannelParams memory params = _owing(5 ether);
        vm.prank(guardian);
        channels.setPaused(true);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_Paused.selector));
        vm.prank(admin);
        channels.allowMint(newcomer, 5 ether + 1);
        vm.prank(admin);
        channels.allowMint(newcomer, 5 ether);
        channels.payOwed(params, 0);
        vm.assertEq(_balance(payout), 6 ether, "paid");
    }

    /// The admin must not be able to stop an unlock by granting so much that nothing can return to the allowance.
    function test_I8_an_allowance_at_its_limit_stops_no_unlock() public {
        ChannelParams memory params = _custodial(mintHub);
        Lock[] memory locks = new Lock[](2);
        locks[0] = Lock("known", 1, false, 10 ether, type(uint40).max, sha256(abi.encode(bytes32("x"))), 0);
        locks[1] = Lock("expired", 1, false, 7 ether, 1, "nobody knows", 0);
        State memory state = _state(params, 5, 0);
        state.hubLocked = 17 ether;
        state.hubBalance -= 17 ether;
        state.locksHash = Types.hash(locks);
        Dispute memory dispute = _close(vm.addr(HUB_KEY), params, state);
        _passWindow();
        channels.settle(params, dispute, state);
        uint256 rest = type(uint128).max - _funds(mintHub);
        vm.prank(admin);
        channels.allowMint(mintHub, rest);
        bytes32[] memory preimages = new bytes32[](1);
        preimages[0] = "x";
        channels.registerPreimages(preimages);
        channels.unlock(params, 0, LockList(locks, 17 ether, 0));
        vm.assertEq(_balance(payout), 10 ether, "paid");
        vm.assertEq(_funds(mintHub), type(uint128).max, "the rest has no room");
    }

    function test_only_a_registered_hub_adds_a_signer_or_changes_its_uri() public {
        vm.expectPartialRevert(IHubErrors.HubChannels_NotRegistered.selector);
        channels.addHubSigner(stranger);
        vm.expectPartialRevert(IHubErrors.HubChannels_NotRegistered.selector);
        channels.setHubUri("x");
        vm.prank(vaultHub);
        channels.addHubSigner(stranger);
        vm.assertTrue(channels.isHubSigner(vaultHub, stranger), "added");
        vm.prank(vaultHub);
        channels.setHubUri("https://moved.example");
        vm.assertEq(keccak256(bytes(channels.hubOf(vaultHub).uri)), keccak256("https://moved.example"), "uri");
    }

    /* construction */

    function test_the_contract_needs_a_token_and_roles_and_sane_windows() public {
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_ZeroAddress.selector));
        new HubChannels(address(0x99), admin, guardian, 1, 2);
        vm.expectRevert(abi.encodeWithSelector(IHubErrors.HubChannels_ZeroAddress.selector));
        new HubChannels(asset, address(0), guardian, 1, 2);
        vm.expectPartialRevert(IHubErrors.HubChannels_WindowOutOfRange.selector);
        new HubChannels(asset, admin, guardian, 2, 1);
    }
}

contract TokenTest is Fixture {
    function test_only_minters_mint() public {
        vm.expectRevert();
        vm.prank(stranger);
        Token(asset).mint(stranger, 1);
        vm.assertEq(_balance(stranger), 0, "nothing");
    }

    function test_a_holder_burns_its_own() public {
        _give(stranger, 5);
        uint256 supply = Token(asset).totalSupply();
        vm.prank(stranger);
        Token(asset).burn(2);
        vm.assertEq(_balance(stranger), 3, "balance");
        vm.assertEq(Token(asset).totalSupply(), supply - 2, "supply");
        vm.assertEq(uint256(Token(asset).decimals()), 18, "decimals");
    }

    function test_the_token_says_what_it_supports() public view {
        vm.assertTrue(Token(asset).supportsInterface(0xb0202a11), "ERC-1363");
        vm.assertTrue(Token(asset).supportsInterface(0x7965db0b), "access control");
        vm.assertTrue(!Token(asset).supportsInterface(0xffffffff), "not everything");
    }
}
