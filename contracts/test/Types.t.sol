// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Lock, Types} from "../src/lib/Types.sol";
import {vm} from "./Vm.sol";

/// A signature given for one message counts for no other.
contract TypesTest {
    /// Every struct hash made of the same words, wherever the type lets them in.
    function _all(bytes32 word, uint256 number) private pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](13);
        hashes[0] = keccak256(abi.encode(Types.CHANNEL_PARAMS_TYPEHASH, word, number));
        hashes[1] = keccak256(abi.encode(Types.STATE_TYPEHASH, word, number));
        hashes[2] = keccak256(abi.encode(Types.STATE_BATCH_TYPEHASH, word, number));
        hashes[3] = Types.revoke(word, uint32(number), uint48(number));
        hashes[4] = Types.credit(word, uint32(number), uint128(number));
        hashes[5] = Types.acceptClose(word, uint32(number), bytes32(number));
        hashes[6] = Types.closeIntent(word, uint32(number), bytes32(number), uint40(number));
        hashes[7] = Types.withdraw(
            word, uint32(number), uint128(number), uint96(number), address(uint160(number)), uint40(number), word
        );
        hashes[8] =
            Types.coopSettle(word, uint32(number), uint128(number), uint128(number), uint96(number), uint40(number));
        hashes[9] = Types.leg(word, uint8(number), uint96(number), word);
        hashes[10] = Types.order(address(uint160(number)), word);
        hashes[11] = Types.book(address(uint160(number)), word);
        hashes[12] = Types.meter(word, uint64(number));
    }

    function testFuzz_I7_no_digest_of_one_type_equals_a_digest_of_another(bytes32 word, uint256 number) public pure {
        bytes32[] memory hashes = _all(word, number);
        for (uint256 i = 0; i < hashes.length; ++i) {
            for (uint256 j = 0; j < i; ++j) {
                vm.assertNotEq(hashes[i], hashes[j], "collision");
            }
        }
    }

    function test_I7_type_hashes_differ() public pure {
        bytes32[14] memory types = [
            Types.CHANNEL_PARAMS_TYPEHASH,
            Types.STATE_TYPEHASH,
            Types.STATE_BATCH_TYPEHASH,
            Types.REVOKE_TYPEHASH,
            Types.CREDIT_TYPEHASH,
            Types.WITHDRAW_TYPEHASH,
            Types.CLOSE_INTENT_TYPEHASH,
            Types.ACCEPT_CLOSE_TYPEHASH,
            Types.COOP_SETTLE_TYPEHASH,
            Types.LEG_TYPEHASH,
            Types.ORDER_TYPEHASH,
            Types.METER_TYPEHASH,
            Types.BOOK_TYPEHASH,
            Types.CHEQUE_TYPEHASH
        ];
        for (uint256 i = 0; i < types.length; ++i) {
            for (uint256 j = 0; j < i; ++j) {
                vm.assertNotEq(types[i], types[j], "type hash");
            }
        }
    }

    function testFuzz_I7_a_digest_counts_on_one_chain_and_one_contract(
        bytes32 structHash,
        uint64 chain,
        uint64 otherChain,
        address verifier,
        address otherVerifier
    ) public pure {
        vm.assume(chain != otherChain || verifier != otherVerifier);
        vm.assertNotEq(
            Types.digest(Types.domainSeparator(chain, verifier), structHash),
            Types.digest(Types.domainSeparator(otherChain, otherVerifier), structHash),
            "domain"
        );
    }

    function test_an_empty_lock_list_is_the_zero_word() public pure {
        vm.assertEq(Types.hash(new Lock[](0)), bytes32(0), "empty");
        vm.assertNotEq(Types.hash(new Lock[](1)), bytes32(0), "one");
    }
}
