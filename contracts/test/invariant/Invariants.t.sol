// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHubChannels} from "../../src/interfaces/IHubChannels.sol";
import {Token} from "../../src/Token.sol";
import {vm} from "../Vm.sol";
import {Handler} from "./Handler.sol";

/// Numbered as in contracts/README.md. I-2, I-3, I-4, I-6 and I-9 are asserted by the handler where money moves.
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

    function invariant_the_books_balance() public view {
        _holdsExactlyWhatIsBooked();
        _mintsNothingBeyondTheAllowance();
        _owesTheSumOfItsDebts();
    }

    /// I-1: every token the contract holds is some hub's vault or bond, or set aside for somebody, and none is missing.
    function _holdsExactlyWhatIsBooked() private view {
        uint256 booked = channels.hubOf(vaultHub).funds + channels.hubOf(vaultHub).bond + channels.hubOf(mintHub).bond
            + handler.setAside(true);
        vm.assertEq(asset.balanceOf(address(channels)), booked, "I-1");
    }

    /// I-1, mint mode: what was granted and burned is what was minted, may be minted, or is set aside to be minted.
    function _mintsNothingBeyondTheAllowance() private view {
        uint256 used = channels.hubOf(mintHub).funds + handler.mintedOut() + handler.setAside(false);
        vm.assertEq(handler.granted() + handler.burnedIn(), used, "I-1 mint");
    }

    /// I-5: a hub's debt is the sum of its debts, so it is blocked exactly while somebody waits.
    function _owesTheSumOfItsDebts() private view {
        vm.assertEq(channels.hubOf(vaultHub).owed, handler.owedInParts(true), "I-5 vault");
        vm.assertEq(channels.hubOf(mintHub).owed, handler.owedInParts(false), "I-5 mint");
    }
}
