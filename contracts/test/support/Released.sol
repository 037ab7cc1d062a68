// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "../Vm.sol";
import {Fixture} from "./Fixture.sol";

/// The world of `Fixture` made of the committed artefacts: what is deployed, not what the tests were compiled with.
abstract contract Released is Fixture {
    function _deployToken() internal override returns (address) {
        return _create("artifacts/Token.json", abi.encode("Infinite", "INF", address(this)));
    }

    function _deployChannels(address token_) internal override returns (address) {
        return
            _create(
                "artifacts/HubChannels.json", abi.encode(token_, admin, guardian, uint32(1 minutes), uint32(7 days))
            );
    }

    function _create(string memory file, bytes memory arguments) private returns (address created) {
        bytes memory code = abi.encodePacked(vm.parseJsonBytes(vm.readFile(file), ".bytecode"), arguments);
        assembly {
            created := create(0, add(code, 0x20), mload(code))
        }
        vm.assertTrue(created.code.length != 0, file);
    }
}
