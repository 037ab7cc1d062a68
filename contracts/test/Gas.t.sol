// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, CoSigned, Dispute, Lock, LockList, State, Types, Withdrawal} from "../src/lib/Types.sol";
import {Released} from "./support/Released.sol";
import {vm} from "./Vm.sol";

/// Gas of whole transactions against the committed artefacts: `gas/HubChannels.json`, compared at every run.
/// Update with FORGE_SNAPSHOT_CHECK=false; `gas/README.md` sets the figures beside their targets.
/// forge-config: default.isolate = true
contract GasTest is Released {
    address private immutable hubSigner = vm.addr(HUB_KEY);
    address private immutable custody = vm.addr(CUSTODY_KEY);

    /// Refuses a figure that differs from the file's.
    function _measured(string memory name) private {
        vm.assertGt(vm.snapshotGasLastCall("HubChannels", name), 21_000, name);
    }

    function test_gas_of_hubs_and_anchors() public {
        _arm(stranger, 10 ether);
        vm.prank(stranger);
        channels.fundVault(vaultHub, 10 ether);
        _measured("fundVault");
        for (uint256 i = 0; i < 2; ++i) {
            bytes32 root = keccak256(abi.encode(i));
            bytes memory signature = _signedBy(HUB_KEY, root);
            vm.prank(vaultHub);
            channels.anchor(1, uint64(5 + 64 * i), root, hubSigner, signature);
            _measured(i == 0 ? "anchor, new place" : "anchor, used place");
        }
    }

    function test_gas_of_collateral() public {
        uint256 count = 100;
        bytes32[] memory ids = new bytes32[](count);
        uint96[] memory amounts = new uint96[](count);
        for (uint256 i = 0; i < count; ++i) {
            (ids[i], amounts[i]) = (keccak256(abi.encode(i)), 1 ether);
        }
        _arm(vaultHub, 200 ether);
        vm.prank(vaultHub);
        channels.batchCollateral(ids, amounts);
        _measured("batchCollateral, 100 new");
        vm.prank(vaultHub);
        channels.batchCollateral(ids, amounts);
        _measured("batchCollateral, 100 top-ups");
    }

    function test_gas_of_deposits() public {
        _arm(stranger, 20 ether);
        ChannelParams memory params = _custodial(vaultHub);
        vm.prank(stranger);
        channels.deposit(params, 10 ether);
        _measured("deposit, first");
        vm.prank(stranger);
        channels.deposit(params, 10 ether);
        _measured("deposit, later");
    }

    function _withdrawTwice(address hub, string memory mode) private {
        ChannelParams memory params = _custodial(hub);
        Withdrawal memory item = _withdrawal(params, 10 ether, payout);
        channels.withdraw(item);
        _measured(string.concat("withdraw, ", mode, ", first"));
        item = _withdrawal(params, 10 ether, payout);
        channels.withdraw(item);
        _measured(string.concat("withdraw, ", mode, ", later"));
    }

    function test_gas_of_withdrawals() public {
        _withdrawTwice(vaultHub, "vault");
        _withdrawTwice(mintHub, "mint");
    }

    function _batch(address hub, uint256 count) private view returns (Withdrawal[] memory items) {
        items = new Withdrawal[](count);
        for (uint256 i = 0; i < count; ++i) {
            ChannelParams memory params = _custodial(hub);
            params.salt = keccak256(abi.encode(i));
            params.user = address(uint160(uint256(keccak256(abi.encode("user", i)))));
            items[i] = _withdrawal(params, 10 ether, params.user);
            items[i].hubSignature = "";
        }
    }

    function _batchTwice(address hub, string memory mode) private {
        uint256 count = 50;
        Withdrawal[] memory items = _batch(hub, count);
        vm.prank(hub);
        channels.batchWithdraw(items);
        _measured(string.concat("batchWithdraw, 50, ", mode, ", first"));
        items = _batch(hub, count);
        vm.prank(hub);
        channels.batchWithdraw(items);
        _measured(string.concat("batchWithdraw, 50, ", mode, ", later"));
    }

    function test_gas_of_batched_withdrawals() public {
        _batchTwice(vaultHub, "vault");
        _batchTwice(mintHub, "mint");
    }

    function test_gas_of_close_and_challenge() public {
        ChannelParams memory params = _custodial(vaultHub);
        CoSigned memory posted = _coSigned(params, _state(params, 5, 10 ether));
        vm.prank(custody);
        channels.close(params, posted, _noIntent(), _noCredit());
        _measured("close, two signatures");
        Dispute memory dispute = _disputeOf(posted.state);
        posted = _coSigned(params, _state(params, 6, 20 ether));
        vm.prank(stranger);
        channels.challenge(params, dispute, posted);
        _measured("challenge");
        dispute.stateHash = Types.hash(posted.state);
        dispute.version = 6;
        posted = _coSigned(params, _state(params, 8, 20 ether));
        vm.prank(stranger);
        channels.challenge(params, dispute, posted);
        _measured("challenge with penalty");
    }

    /// What the target of a first close and of a settlement leaves out: slots and balances that were used before.
    function test_gas_of_disputes_of_used_channels() public {
        ChannelParams memory params = _custodial(vaultHub);
        channels.withdraw(_withdrawal(params, 10 ether, payout));
        State memory state = _state(params, 5, 10 ether);
        state.withdrawn = 10 ether;
        CoSigned memory posted = _coSigned(params, state);
        vm.prank(hubSigner);
        channels.close(params, posted, _noIntent(), _noCredit());
        _measured("close, two signatures, used channel");
        _passWindow();
        channels.settle(params, _disputeOf(state), state);
        _measured("settle, vault, hub closed, payee with a balance");
    }

    function test_gas_of_withdrawals_by_the_operator() public {
        address[2] memory hubs = [vaultHub, mintHub];
        string[2] memory modes = ["vault", "mint"];
        for (uint256 i = 0; i < 2; ++i) {
            ChannelParams memory params = _custodial(hubs[i]);
            params.user = address(uint160(0xF0 + i));
            for (uint256 j = 0; j < 2; ++j) {
                Withdrawal memory item = _withdrawal(params, 10 ether, params.user);
                item.hubSignature = "";
                vm.prank(hubs[i]);
                channels.withdraw(item);
                _measured(string.concat("withdraw by the operator, ", modes[i], j == 0 ? ", first" : ", later"));
            }
        }
    }

    function test_gas_of_closes_by_batch() public {
        uint8[3] memory depths = [10, 12, 17];
        for (uint256 i = 0; i < 3; ++i) {
            ChannelParams memory params = _custodial(vaultHub);
            params.salt = bytes32(i);
            CoSigned memory posted;
            posted.state = _state(params, 5, 10 ether);
            posted.hub.batch.depth = depths[i];
            posted.hub.batch.batchId = 7;
            posted.hub.batch.hub = vaultHub;
            posted.hub.leafIndex = 5;
            (posted.hub.batch.root, posted.hub.siblings) = _path(Types.hash(posted.state), 5, depths[i]);
            posted.user.batch = posted.hub.batch;
            bytes32 structHash = Types.hash(posted.hub.batch);
            posted.hub.signature = _signedBy(HUB_KEY, structHash);
            posted.user.signature = _signedBy(CUSTODY_KEY, structHash);
            vm.prank(custody);
            channels.close(params, posted, _noIntent(), _noCredit());
            _measured(string.concat("close, batch of depth ", vm.toString(depths[i])));
        }
    }

    function test_gas_of_settlements() public {
        address[2] memory hubs = [vaultHub, mintHub];
        string[2] memory modes = ["vault", "mint"];
        for (uint256 i = 0; i < 2; ++i) {
            ChannelParams memory params = _custodial(hubs[i]);
            params.user = address(uint160(0xF0 + i));
            State memory state = _state(params, 5, 10 ether);
            Dispute memory dispute = _close(hubSigner, params, state);
            _passWindow();
            channels.settle(params, dispute, state);
            _measured(string.concat("settle, ", modes[i], ", hub closed"));
            state = _state(params, 5, 10 ether);
            dispute = _close(custody, params, state);
            _passWindow();
            channels.settle(params, dispute, state);
            _measured(string.concat("settle, ", modes[i], ", user closed"));
            vm.warp(block.timestamp + SELF_DELAY);
            channels.claimDelayed(params, 1);
            _measured(string.concat("claimDelayed, ", modes[i]));
        }
    }

    function _locks(uint256 count) private pure returns (Lock[] memory locks) {
        locks = new Lock[](count);
        for (uint256 i = 0; i < count; ++i) {
            locks[i] = Lock(
                keccak256(abi.encode("lock", i)),
                1,
                false,
                1 ether,
                uint40(START + 3 days),
                sha256(abi.encode(keccak256(abi.encode("preimage", i)))),
                0
            );
        }
    }

    function test_gas_of_locks() public {
        uint256[3] memory counts = [uint256(1), 6, 32];
        bytes32[] memory preimages = new bytes32[](1);
        for (uint256 i = 0; i < 32; ++i) {
            preimages[0] = keccak256(abi.encode("preimage", i));
            channels.registerPreimages(preimages);
            if (i == 0) _measured("registerPreimages, 1");
        }
        _give(payout, 1);
        for (uint256 i = 0; i < 3; ++i) {
            ChannelParams memory params = _custodial(vaultHub);
            params.salt = bytes32(i);
            vm.warp(START);
            Lock[] memory locks = _locks(counts[i]);
            State memory state = _state(params, 5, 10 ether);
            state.hubLocked = uint96(counts[i] * 1 ether);
            state.hubBalance -= state.hubLocked;
            state.locksHash = Types.hash(locks);
            Dispute memory dispute = _close(hubSigner, params, state);
            _passWindow();
            channels.settle(params, dispute, state);
            if (i == 0) _measured("settle, vault, hub closed, with locks");
            channels.unlock(params, 0, LockList(locks, state.hubLocked, 0));
            _measured(string.concat("unlock, ", vm.toString(counts[i]), " hash locks"));
        }
    }
}
