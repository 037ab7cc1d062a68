// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelCheques} from "./ChannelCheques.sol";
import {ChannelClaims} from "./ChannelClaims.sol";
import {ChannelEvidence} from "./ChannelEvidence.sol";
import {HubRegistry} from "./HubRegistry.sol";
import {HubStore} from "./HubStore.sol";

/// Code of `HubChannels` for what is rare: hubs, evidence, agreements, claims, cheques. Only useful inside it: called
/// directly it works on a storage of its own, where no hub and no admin exist.
contract SideModule is HubRegistry, ChannelEvidence, ChannelClaims, ChannelCheques {
    /// @param token_ The one token.
    /// @param self The contract this code runs in.
    /// @param minWindow_ Shortest challenge window any hub may choose, seconds.
    /// @param maxWindow_ Longest challenge window any hub may choose, seconds.
    constructor(address token_, address self, uint32 minWindow_, uint32 maxWindow_)
        HubStore(token_, self)
        HubRegistry(minWindow_, maxWindow_)
    {}
}
