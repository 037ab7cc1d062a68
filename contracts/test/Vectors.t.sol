// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "../src/lib/Merkle.sol";
import {ChannelParams, State, StateBatch, Types} from "../src/lib/Types.sol";
import {vm} from "./Vm.sol";

/// Digests made by the Rust side, recomputed with the contract's own functions.
contract VectorsTest {
    string private constant FILE = "vectors/digests.json";
    string private json;
    bytes32 private domain;

    function setUp() public {
        json = vm.readFile(FILE);
        domain = Types.domainSeparator(_uint(".domain.chainId"), vm.parseJsonAddress(json, ".domain.verifyingContract"));
    }

    function test_domain_separator_equals_the_vector() public view {
        vm.assertEq(domain, vm.parseJsonBytes32(json, ".domainSeparator"), "domain separator");
    }

    function test_every_digest_equals_the_vector() public view {
        uint256 count;
        while (vm.keyExistsJson(json, _case(count, ""))) {
            string memory path = _case(count, ".fields");
            bytes32 structHash = _hash(vm.parseJsonString(json, _case(count, ".type")), path);
            vm.assertEq(structHash, vm.parseJsonBytes32(json, _case(count, ".hashStruct")), path);
            vm.assertEq(Types.digest(domain, structHash), vm.parseJsonBytes32(json, _case(count, ".digest")), path);
            ++count;
        }
        vm.assertGe(count, 14 * 8, "vectors cover every type");
    }

    function test_every_merkle_path_leads_to_the_vectors_root() public view {
        uint256 count;
        while (vm.keyExistsJson(json, _tree(count, ""))) {
            bytes32[] memory leaves = vm.parseJsonBytes32Array(json, _tree(count, ".leaves"));
            bytes32[] memory siblings = vm.parseJsonBytes32Array(json, _tree(count, ".siblings"));
            uint256 index = vm.parseJsonUint(json, _tree(count, ".index"));
            vm.assertEq(siblings.length, vm.parseJsonUint(json, _tree(count, ".depth")), "depth");
            vm.assertEq(
                this.rootOf(leaves[index], index, siblings),
                vm.parseJsonBytes32(json, _tree(count, ".root")),
                _tree(count, ".root")
            );
            ++count;
        }
        vm.assertGe(count, 1, "vectors have trees");
    }

    function rootOf(bytes32 leaf, uint256 index, bytes32[] calldata siblings) external pure returns (bytes32) {
        return Merkle.rootOf(leaf, index, siblings);
    }

    function hashedParams(ChannelParams calldata params) external pure returns (bytes32) {
        return Types.hashed(params);
    }

    function hashedState(State calldata state) external pure returns (bytes32) {
        return Types.hashed(state);
    }

    function hashedBatch(StateBatch calldata batch) external pure returns (bytes32) {
        return Types.hashed(batch);
    }

    function _case(uint256 index, string memory rest) private pure returns (string memory) {
        return string.concat(".cases[", vm.toString(index), "]", rest);
    }

    function _tree(uint256 index, string memory rest) private pure returns (string memory) {
        return string.concat(".merkle[", vm.toString(index), "]", rest);
    }

    /// Integers are decimal strings, which the JSON cheatcodes coerce.
    function _uint(string memory path) private view returns (uint256) {
        return vm.parseJsonUint(json, path);
    }

    function _u(string memory path, string memory name) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(path, ".", name));
    }

    function _b(string memory path, string memory name) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(path, ".", name));
    }

    function _a(string memory path, string memory name) private view returns (address) {
        return vm.parseJsonAddress(json, string.concat(path, ".", name));
    }

    function _hash(string memory kind, string memory path) private view returns (bytes32) {
        bytes32 name = keccak256(bytes(kind));
        if (name == keccak256("ChannelParams")) return this.hashedParams(_params(path));
        if (name == keccak256("State")) return this.hashedState(_state(path));
        if (name == keccak256("StateBatch")) {
            return this.hashedBatch(
                StateBatch(
                    _b(path, "root"),
                    uint8(_u(path, "depth")),
                    uint64(_u(path, "batchId")),
                    _b(path, "prevRoot"),
                    _a(path, "hub")
                )
            );
        }
        if (name == keccak256("Leg")) {
            return Types.leg(
                _b(path, "operation"), uint8(_u(path, "kind")), uint96(_u(path, "amount")), _b(path, "counterparty")
            );
        }
        if (_isTrade(name)) return _trade(name, path);
        bytes32 id = _b(path, "channelId");
        uint32 epoch = uint32(_u(path, "epoch"));
        if (name == keccak256("Revoke")) return Types.revoke(id, epoch, uint48(_u(path, "version")));
        if (name == keccak256("Credit")) return Types.credit(id, epoch, uint128(_u(path, "cumulative")));
        if (name == keccak256("AcceptClose")) return Types.acceptClose(id, epoch, _b(path, "stateHash"));
        if (name == keccak256("CloseIntent")) {
            return Types.closeIntent(id, epoch, _b(path, "stateHash"), uint40(_u(path, "validUntil")));
        }
        if (name == keccak256("Withdraw")) return _withdraw(id, epoch, path);
        if (name == keccak256("CoopSettle")) return _coopSettle(id, epoch, path);
        revert(string.concat("no such type: ", kind));
    }

    function _isTrade(bytes32 name) private pure returns (bool) {
        return name == keccak256("Order") || name == keccak256("Book") || name == keccak256("Meter")
            || name == keccak256("Cheque");
    }

    function _trade(bytes32 name, string memory path) private view returns (bytes32) {
        if (name == keccak256("Order")) return Types.order(_a(path, "signer"), _b(path, "terms"));
        if (name == keccak256("Book")) return Types.book(_a(path, "signer"), _b(path, "terms"));
        if (name == keccak256("Meter")) return Types.meter(_b(path, "orderId"), uint64(_u(path, "delivered")));
        return Types.cheque(_b(path, "bookId"), _a(path, "beneficiary"), uint128(_u(path, "cumulative")));
    }

    function _params(string memory path) private view returns (ChannelParams memory params) {
        params.hub = _a(path, "hub");
        params.hubSigner = _a(path, "hubSigner");
        params.user = _a(path, "user");
        params.userSigner = _a(path, "userSigner");
        params.custodial = vm.parseJsonBool(json, string.concat(path, ".custodial"));
        params.capacity = uint96(_u(path, "capacity"));
        params.challengePeriod = uint32(_u(path, "challengePeriod"));
        params.selfDelay = uint32(_u(path, "selfDelay"));
        params.penaltyCap = uint96(_u(path, "penaltyCap"));
        params.bountyBps = uint16(_u(path, "bountyBps"));
        params.salt = _b(path, "salt");
    }

    function _state(string memory path) private view returns (State memory state) {
        state.channelId = _b(path, "channelId");
        state.epoch = uint32(_u(path, "epoch"));
        state.version = uint48(_u(path, "version"));
        state.ackVersion = uint48(_u(path, "ackVersion"));
        state.hubBalance = uint96(_u(path, "hubBalance"));
        state.userBalance = uint96(_u(path, "userBalance"));
        state.hubLocked = uint96(_u(path, "hubLocked"));
        state.userLocked = uint96(_u(path, "userLocked"));
        state.withdrawn = uint128(_u(path, "withdrawn"));
        state.deposited = uint128(_u(path, "deposited"));
        state.credited = uint128(_u(path, "credited"));
        state.locksHash = _b(path, "locksHash");
        state.transfersRoot = _b(path, "transfersRoot");
    }

    function _withdraw(bytes32 id, uint32 epoch, string memory path) private view returns (bytes32) {
        return Types.withdraw(
            id,
            epoch,
            uint128(_u(path, "prevTotal")),
            uint96(_u(path, "amount")),
            _a(path, "to"),
            uint40(_u(path, "validUntil")),
            _b(path, "requestId")
        );
    }

    function _coopSettle(bytes32 id, uint32 epoch, string memory path) private view returns (bytes32) {
        return Types.coopSettle(
            id,
            epoch,
            uint128(_u(path, "withdrawn")),
            uint128(_u(path, "deposited")),
            uint96(_u(path, "userAmount")),
            uint40(_u(path, "validUntil"))
        );
    }
}
