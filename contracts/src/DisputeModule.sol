// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelDisputes} from "./ChannelDisputes.sol";
import {HubStore} from "./HubStore.sol";

/// Code of `HubChannels` for disputes. Only useful inside it: called directly it knows no hub.
contract DisputeModule is ChannelDisputes {
    /// @param token_ The one token.
    /// @param self The contract this code runs in.
    constructor(address token_, address self) HubStore(token_, self) {}
}
