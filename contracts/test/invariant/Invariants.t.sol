// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHubChannels} from "../../src/interfaces/IHubChannels.sol";
import {Token} from "../../src/Token.sol";
import {vm} from "../Vm.sol";
import {Handler} from "./Handler.sol";

/// Numbered as in contracts/README.md; I-7, I-8, I-10 and I-11 are tests of their own. What can be seen only where money
/// moves is looked at by the handler and reported here.
contract InvariantTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler private handler;
    IHubChannels private channels;
    Token private asset;
    address private vaultHub;
    address private mintHub;

    function setUp() public {
        handler = new Handler();
        handler.setUp();
        (address channels_, address asset_) = handler.world();
        (channels, asset) = (IHubChannels(channels_), Token(asset_));
        (vaultHub, mintHub) = handler.hubs();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](23);
        selectors[0] = Handler.pay.selector;
        selectors[1] = Handler.fold.selector;
        selectors[2] = Handler.credit.selector;
        selectors[3] = Handler.lock.selector;
        selectors[4] = Handler.failLock.selector;
        selectors[5] = Handler.order.selector;
        selectors[6] = Handler.reverse.selector;
        selectors[7] = Handler.deposit.selector;
        selectors[8] = Handler.execute.selector;
        selectors[9] = Handler.addCollateral.selector;
        selectors[10] = Handler.fund.selector;
        selectors[11] = Handler.drain.selector;
        selectors[12] = Handler.pass.selector;
        selectors[13] = Handler.post.selector;
        selectors[14] = Handler.answer.selector;
        selectors[15] = Handler.accuse.selector;
        selectors[16] = Handler.showCredit.selector;
        selectors[17] = Handler.settle.selector;
        selectors[18] = Handler.accept.selector;
        selectors[19] = Handler.agree.selector;
        selectors[20] = Handler.claim.selector;
        selectors[21] = Handler.accuseLate.selector;
        selectors[22] = Handler.unlock.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function _unbroken(uint256 id) private view {
        string memory what = handler.broken(id);
        vm.assertTrue(bytes(what).length == 0, what);
    }

    /// Every token the contract holds is some hub's vault or bond, or set aside for somebody, and none is missing. In mint
    /// mode: what was granted and burned is what was minted, may be minted, or is set aside to be minted.
    function invariant_I1_every_token_is_booked_and_nothing_is_minted_beyond_the_allowance() public view {
        uint256 booked = channels.hubOf(vaultHub).funds + channels.hubOf(vaultHub).bond + channels.hubOf(mintHub).bond
            + handler.setAside(true);
        vm.assertEq(asset.balanceOf(address(channels)), booked, "I-1 vault");
        uint256 used = channels.hubOf(mintHub).funds + handler.mintedOut() + handler.setAside(false);
        vm.assertEq(handler.granted() + handler.burnedIn(), used, "I-1 mint");
    }

    function invariant_I2_whoever_answers_in_time_gets_its_newest_balance() public view {
        _unbroken(2);
    }

    function invariant_I3_revoked_posts_are_punished_and_no_others() public view {
        _unbroken(3);
    }

    function invariant_I4_epochs_rise_by_one_and_a_withdrawal_pays_once() public view {
        _unbroken(4);
    }

    function invariant_I5_a_settlement_does_not_depend_on_what_was_executed_or_folded_before() public view {
        _unbroken(5);
    }

    function invariant_I6_every_lock_ends_once_on_the_right_side() public view {
        _unbroken(6);
    }

    function invariant_I9_a_closer_is_paid_later() public view {
        _unbroken(9);
    }

    /// So a hub is blocked exactly while somebody waits.
    function invariant_I12_a_hub_owes_the_sum_of_its_debts() public view {
        vm.assertEq(channels.hubOf(vaultHub).owed, handler.owedInParts(true), "I-12 vault");
        vm.assertEq(channels.hubOf(mintHub).owed, handler.owedInParts(false), "I-12 mint");
    }

    /// One random history, faster than forge's own: a step is a call of the handler with legal arguments.
    function _play(uint256 seed, uint256 steps) private {
        bytes4[] memory selectors = this.targetSelectors()[0].selectors;
        for (uint256 i = 0; i < steps; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            bytes4 selector = selectors[dice % selectors.length];
            uint256 second = selector == Handler.accuse.selector ? dice >> 255 : dice >> 160;
            uint256 third = selector == Handler.post.selector ? dice >> 152 & type(uint8).max : dice >> 254 & 1;
            (bool success, bytes memory reason) =
                address(handler).call(abi.encodeWithSelector(selector, dice >> 224, second, third));
            // Every call of the handler is legal: what one is refused for breaks the history.
            if (!success) {
                assembly {
                    revert(add(reason, 0x20), mload(reason))
                }
            }
            if (i % 20 == 19) _holdsAll();
        }
    }

    /// What was seen where it happened comes first: the sums say that something is wrong, but not what.
    function _holdsAll() private view {
        invariant_I2_whoever_answers_in_time_gets_its_newest_balance();
        invariant_I3_revoked_posts_are_punished_and_no_others();
        invariant_I4_epochs_rise_by_one_and_a_withdrawal_pays_once();
        invariant_I5_a_settlement_does_not_depend_on_what_was_executed_or_folded_before();
        invariant_I6_every_lock_ends_once_on_the_right_side();
        invariant_I9_a_closer_is_paid_later();
        invariant_I1_every_token_is_booked_and_nothing_is_minted_beyond_the_allowance();
        invariant_I12_a_hub_owes_the_sum_of_its_debts();
    }

    /// 200 calls each. `contracts/nightly` runs 25,000 of them: five million calls.
    /// forge-config: default.fuzz.runs = 32
    /// forge-config: nightly.fuzz.runs = 1250
    function testFuzz_any_history_keeps_every_invariant(uint256 seed) public {
        _play(seed, 200);
    }

    /// A check that is never reached can't fail: one history reaches all of them.
    function test_one_history_reaches_every_check() public {
        _play(3, 1_000);
        string[15] memory checks = [
            "a withdrawal pays once",
            "a withdrawal pays exactly its amount",
            "an honest post is never punished",
            "a revoked post always is",
            "an exit is never punished",
            "a closing user is paid later than the other side",
            "a cheating user gets nothing",
            "a cheating user costs no bond",
            "a cheating hub pays at most its cap beyond",
            "who did not cheat forfeits no bond",
            "the user has its newest balance",
            "the same in whatever order things came",
            "a user proved a cheat late gets nothing",
            "a lock ends on the right side",
            "a lock ends once"
        ];
        for (uint256 i = 0; i < checks.length; ++i) {
            vm.assertGt(handler.reached(checks[i]), 0, checks[i]);
        }
    }
}
