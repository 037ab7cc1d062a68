// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelDisputes} from "./ChannelDisputes.sol";
import {ChannelLocks} from "./ChannelLocks.sol";
import {ChannelPayments} from "./ChannelPayments.sol";
import {HubStore} from "./HubStore.sol";
import {SideModule} from "./SideModule.sol";

/// The deployed contract. What it does is written in `IHubChannels`. It is longer than one contract may be, so what is
/// rare lives in a module, created here, never changed, and run in this contract's storage; what must stay cheap when
/// everybody comes at once (withdrawals, closes, answers, settlements, unlocks) is answered here.
contract HubChannels is ChannelPayments, ChannelDisputes, ChannelLocks {
    /// Code that answers whatever this contract does not.
    address public immutable module;

    /// @param token_ The one token; in mint mode this contract must be allowed to mint it.
    /// @param admin_ Grants mint allowance.
    /// @param guardian_ Stops new obligations, never an exit.
    /// @param minWindow_ Shortest challenge window any hub may choose, seconds.
    /// @param maxWindow_ Longest challenge window any hub may choose, seconds.
    constructor(address token_, address admin_, address guardian_, uint32 minWindow_, uint32 maxWindow_)
        HubStore(token_, address(this))
    {
        if (token_.code.length == 0 || admin_ == address(0) || guardian_ == address(0)) {
            revert HubChannels_ZeroAddress();
        }
        _admin = admin_;
        _guardian = guardian_;
        module = address(new SideModule(token_, address(this), minWindow_, maxWindow_));
    }

    /// Runs many calls as the sender; see `IHubChannels.batch`.
    function batch(bytes[] calldata calls) external returns (uint256 done) {
        for (uint256 i = 0; i < calls.length; ++i) {
            // No function takes value, and each guards itself against re-entry: a delegated call is as good as a call.
            (bool success, bytes memory reason) = address(this).delegatecall(calls[i]);
            if (success) ++done;
            else emit CallSkipped(i, bytes4(calls[i]), reason);
        }
    }

    /// Hands everything else to the module; a function that does not exist there reverts.
    fallback() external {
        address target = module;
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, 0, calldatasize())
            let success := delegatecall(gas(), target, free, calldatasize(), 0, 0)
            returndatacopy(free, 0, returndatasize())
            switch success
            case 0 { revert(free, returndatasize()) }
            default { return(free, returndatasize()) }
        }
    }
}
