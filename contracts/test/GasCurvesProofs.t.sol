// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHubErrors} from "../src/interfaces/IHubErrors.sol";
import {
    Attestation,
    ChannelParams,
    Cheque,
    Dispute,
    Lock,
    LockList,
    State,
    StateBatch,
    Types,
    Withdrawal
} from "../src/lib/Types.sol";
import {Token} from "../src/Token.sol";
import {GasCurve} from "./support/GasCurve.sol";
import {vm} from "./Vm.sol";

/// What is rare, and calls whose sender chooses how long a list or proof is.
/// forge-config: default.isolate = true
contract GasCurvesProofsTest is GasCurve {
    /// Deepest path that the contract accepts.
    uint8 private constant DEEPEST = 20;
    bytes32 private constant TERMS = keccak256("terms of the book");
    address private immutable issuer = vm.addr(USER_KEY);

    /* cheques */

    /// Hash locks, and behind them the cover lock that is cashed.
    function _covered(uint256 length) private view returns (Lock[] memory locks) {
        locks = new Lock[](length);
        for (uint256 i = 0; i < length; ++i) {
            bytes32 condition = keccak256(abi.encode("condition", i));
            locks[i] = Lock(keccak256(abi.encode("lock", i)), 1, false, 1 ether, type(uint40).max, condition, 0);
        }
        locks[length - 1].kind = 3;
        locks[length - 1].condition = Types.book(issuer, TERMS);
    }

    /// A cheque of a beneficiary that never had one, out of a list settled with that many locks.
    function _cashing(uint256 length) private returns (bytes memory) {
        ChannelParams memory params = _fresh();
        LockList memory list = LockList(_covered(length), length * 1 ether, 0);
        State memory state = _state(params, 5, 1 ether);
        state.hubLocked = uint96(list.reserve);
        state.hubBalance -= state.hubLocked;
        state.locksHash = Types.hash(list.locks);
        Dispute memory dispute = _close(hubSigner, params, state);
        _passWindow();
        channels.settle(params, dispute, state);
        address beneficiary = address(bytes20(keccak256(abi.encode("beneficiary", _used))));
        bytes memory signature = _signedBy(USER_KEY, Types.cheque(Types.book(issuer, TERMS), beneficiary, 1 ether));
        Cheque memory cheque = Cheque(issuer, TERMS, beneficiary, 1 ether, signature);
        return abi.encodeCall(channels.cashCheque, (params, 0, list, length - 1, cheque));
    }

    function _cheques(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            calls[i] = _cashing(1);
        }
        return _sent(stranger, calls);
    }

    function _cashedList(uint256 length) private frees returns (uint256) {
        return _alone(_cashing(length));
    }

    function _alone(bytes memory call) private returns (uint256) {
        vm.prank(stranger);
        (bool success,) = address(channels).call(call);
        vm.assertTrue(success, "went through");
        return _gas();
    }

    function test_curve_of_cheques() public {
        _curve("batch of cashCheque", _cheques);
    }

    /// The whole list is read, copied and hashed again, and memory costs more the longer it is: the longest that fits is
    /// looked for between one that does and one that doesn't.
    function test_curve_of_a_cheque_out_of_a_long_list() public {
        uint256 ten = _cashedList(10);
        uint256 hundred = _cashedList(100);
        uint256 each = (hundred - ten) / 90;
        (uint256 most, uint256 above) = (100, BLOCK_GAS / each);
        uint256 last = hundred;
        while (last < BLOCK_GAS * 95 / 100) {
            uint256 middle = (most + above) / 2;
            uint256 used = _cashedList(middle);
            if (used <= BLOCK_GAS) (most, last) = (middle, used);
            else above = middle;
        }
        _value("cashCheque, one list", "1", _cashedList(1));
        _value("cashCheque, one list", "10", ten);
        _value("cashCheque, one list", "100", hundred);
        _value("cashCheque, one list", "each", each);
        _value("cashCheque, one list", "most", most);
        _value("cashCheque, one list", "gas of the most", last);
        vm.assertGe(most, 256, "longer than what one call unlocks");
    }

    /* equivocation */

    /// The hub's consent to a state at the end of a path of that depth, or to the state alone.
    function _byHub(State memory state, uint8 depth) private view returns (Attestation memory attestation) {
        bytes32 domain = channels.domainSeparator();
        if (depth == 0) return _direct(HUB_KEY, domain, state);
        bytes32 root;
        attestation.leafIndex = (uint256(1) << depth) - 1;
        (root, attestation.siblings) = _path(Types.hash(state), attestation.leafIndex, depth);
        attestation.batch = StateBatch(root, depth, 7, keccak256("previous root"), vaultHub);
        attestation.signature = _sign(HUB_KEY, domain, Types.hash(attestation.batch));
    }

    /// Two states of one version in a channel where no proof was shown; the cap leaves bond for all of them.
    function _lie(uint8 depth) private returns (bytes memory) {
        ChannelParams memory params = _fresh();
        params.penaltyCap = 1 ether;
        State memory first = _state(params, 5, 1 ether);
        State memory second = _state(params, 5, 2 ether);
        return abi.encodeCall(
            channels.proveEquivocation, (params, first, _byHub(first, depth), second, _byHub(second, depth))
        );
    }

    function _lies(uint256 count) private returns (uint256) {
        bytes[] memory calls = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            calls[i] = _lie(0);
        }
        return _sent(stranger, calls);
    }

    function test_curve_of_equivocations() public {
        _curve("batch of proveEquivocation", _lies);
    }

    /// Both paths may have 20 levels and no more.
    function test_curve_of_the_paths_of_an_equivocation() public {
        _give(stranger, 1);
        uint256 one = _alone(_lie(1));
        uint256 ten = _alone(_lie(10));
        uint256 most = _alone(_lie(DEEPEST));
        _value("proveEquivocation, levels of both paths", "1", one);
        _value("proveEquivocation, levels of both paths", "10", ten);
        _value("proveEquivocation, levels of both paths", "each", (most - ten) / (DEEPEST - 10));
        _value("proveEquivocation, levels of both paths", "most", DEEPEST);
        _value("proveEquivocation, levels of both paths", "gas of the most", most);
        vm.assertLe(most, BLOCK_GAS / 100, "a hundredth of a block");
        bytes memory deeper = _lie(DEEPEST + 1);
        (, bytes memory reason) = address(channels).call(deeper);
        vm.assertEq(bytes32(bytes4(reason)), bytes32(IHubErrors.HubChannels_BadAttestation.selector), "no deeper");
    }

    /* claims */

    /// Payouts that the token refuses to mint become claims; then it mints again.
    function _claims(uint256 count) private returns (uint256) {
        bytes32 minter = keccak256("MINTER_ROLE");
        Token(asset).revokeRole(minter, address(channels));
        bytes[] memory calls = new bytes[](count);
        Withdrawal[] memory one = new Withdrawal[](1);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _of(mintHub, _used++);
            one[0] = _withdrawal(params, 1 ether, params.user);
            one[0].hubSignature = "";
            vm.prank(mintHub);
            vm.assertEq(channels.batchWithdraw(one), 1, "withdrawn");
            vm.assertEq(channels.reclaimable(params.user), 1 ether, "refused");
            calls[i] = abi.encodeCall(channels.claimReclaim, (params.user, params.user));
        }
        Token(asset).grantRole(minter, address(channels));
        return _sent(stranger, calls);
    }

    function test_curve_of_claims() public {
        _curve("batch of claimReclaim", _claims);
    }
}
