// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// A token whose outgoing transfers and mints misbehave on demand. Moving tokens in works, so that tests can start.
contract HostileToken is ERC20("Hostile", "BAD") {
    enum Mood {
        Good,
        Reverts,
        ReturnsFalse,
        ReturnsNothing,
        BurnsGas,
        ReturnsMuch,
        Reenters,
        TakesFee,
        RefusesToMint
    }

    Mood public mood;
    address private _target;
    bytes private _call;
    bool public reentered;
    bytes4 public refusal;

    function setMood(Mood mood_) external {
        mood = mood_;
    }

    /// What to call back with in mood `Reenters`.
    function setReentry(address target, bytes calldata data) external {
        _target = target;
        _call = data;
    }

    function mint(address to, uint256 amount) external {
        if (msg.sender == _target) _misbehave();
        if (msg.sender == _target && mood == Mood.RefusesToMint) revert("no minting");
        _mint(to, amount);
    }

    function burn(uint256 amount) external {
        _burn(msg.sender, amount);
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        _misbehave();
        if (mood == Mood.ReturnsFalse) return false;
        super.transfer(to, amount);
        if (mood == Mood.ReturnsNothing) {
            assembly {
                return(0, 0)
            }
        }
        if (mood == Mood.ReturnsMuch) {
            assembly {
                mstore(0, 1)
                return(0, 0x10000)
            }
        }
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        // As a token with hooks would: the sender is told before its tokens move.
        if (mood == Mood.Reenters) _misbehave();
        super.transferFrom(from, to, amount);
        if (mood == Mood.TakesFee) _burn(to, 1);
        return true;
    }

    function _misbehave() private {
        if (mood == Mood.Reverts) revert("no");
        if (mood == Mood.BurnsGas) while (true) {}
        if (mood == Mood.Reenters) {
            (bool success, bytes memory reason) = _target.call(_call);
            reentered = reentered || success;
            refusal = bytes4(reason);
        }
    }
}
