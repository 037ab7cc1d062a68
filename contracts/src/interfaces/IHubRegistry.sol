// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FundingMode} from "../lib/Types.sol";

/// @notice Hubs: their rules, funds, bond and anchors, and the two roles that watch over new money.
interface IHubRegistry {
    /// @notice Rules a hub fixes for all its channels.
    /// @param mode Where payouts come from.
    /// @param minChallengePeriod Shortest window of a channel of this hub, seconds.
    /// @param maxChallengePeriod Longest window and longest self delay, seconds.
    /// @param penaltyCap Most the hub forfeits in one channel, minor units; a channel that names more gets this.
    /// @param operatorPays Whether a withdrawal sent by the hub itself needs no signature of the hub signer. Convenient
    /// and cheaper; without it a stolen operator key can't pay out on its own.
    struct HubRules {
        FundingMode mode;
        uint32 minChallengePeriod;
        uint32 maxChallengePeriod;
        uint96 penaltyCap;
        bool operatorPays;
    }

    /// @param funds Vault, or mint allowance left. @param owed Sum that this hub owes to users.
    struct HubView {
        HubRules rules;
        uint256 funds;
        uint256 owed;
        uint256 bond;
        uint256 announcedAmount;
        uint256 announcedAt;
        string uri;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                        HUBS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Makes the sender a hub, once. Pulls `bond` from the sender.
    /// @dev The bond must be at least 100 penalty caps. Mint mode needs a mint allowance first (`allowMint`).
    /// @param signer First key that may sign for the hub's side of channels.
    /// @param uri Where the hub's service is found; stored and emitted.
    function registerHub(HubRules calldata rules, address signer, uint256 bond, string calldata uri) external;

    /// @notice Lets one more key sign for the sender's side of new channels. There is no way back: a signer that could
    /// be removed would be a way to disown co-signed states.
    function addHubSigner(address signer) external;

    /// @notice Publishes another place where the sender's service is found.
    function setHubUri(string calldata uri) external;

    /// @notice Moves `amount` of the sender's tokens into the vault of `hub` (vault mode), for payouts.
    function fundVault(address hub, uint256 amount) external;

    /// @notice Moves `amount` of the sender's tokens into the bond of `hub`, for forfeits; there is no way back.
    function fundBond(address hub, uint256 amount) external;

    /// @notice Announces a withdrawal from the sender's vault. It can be taken from 2 x `maxChallengePeriod` on, for
    /// one `maxChallengePeriod`; a user who minds has the time to close and settle before. Zero takes it back.
    function announceHubWithdraw(uint256 amount) external;

    /// @notice Pays an announced withdrawal, at most what is in the vault. Refused while anybody is owed.
    function hubWithdraw(address to, uint256 amount) external;

    /// @notice Writes a root of the sender's: 1 states, 2 audit log, 3 liabilities, 4 ratings. The last 64 of a kind
    /// can be read, all are in the logs.
    /// @dev Kind 1 is the struct hash of a `StateBatch` with batchId `seq`, and `signature` is the hub signer's over it:
    /// from then on an attestation of that batch needs no hub signature. Other kinds take no signature.
    function anchor(uint8 kind, uint64 seq, bytes32 root, address signer, bytes calldata signature) external;

    /*//////////////////////////////////////////////////////////////////////////
                                        ROLES
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Admin: lets `hub`, registered or about to be, create `amount` more tokens by payouts. While paused only up
    /// to what the hub owes.
    function allowMint(address hub, uint256 amount) external;

    /// @notice Admin: names the next admin, who takes over by `acceptAdmin`.
    function transferAdmin(address next) external;

    /// @notice The named next admin takes over.
    function acceptAdmin() external;

    /// @notice Admin: replaces the guardian.
    function setGuardian(address next) external;

    /// @notice Guardian: stops or lets go what brings new obligations: new hubs, new signers, mint allowance beyond what is
    /// owed, deposits.
    /// Withdrawals, closes and everything after them never look at it.
    function setPaused(bool paused_) external;

    /*//////////////////////////////////////////////////////////////////////////
                                        VIEWS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice The one token of this contract.
    function token() external view returns (address);

    /// @notice May grant mint allowance and name the guardian; nothing else.
    function admin() external view returns (address);

    /// @notice May stop new obligations; nothing else.
    function guardian() external view returns (address);

    /// @notice Whether new obligations are stopped.
    function paused() external view returns (bool);

    /// @notice Shortest challenge window any hub may choose, seconds.
    function minWindow() external view returns (uint32);

    /// @notice Longest challenge window any hub may choose, seconds.
    function maxWindow() external view returns (uint32);

    /// @notice EIP-712 domain separator {name "HubChannels", version "1", chainId, this contract}.
    function domainSeparator() external view returns (bytes32);

    function hubOf(address hub) external view returns (HubView memory);

    /// @notice Whether `signer` may sign for `hub`.
    function isHubSigner(address hub, address signer) external view returns (bool);

    /// @notice What an anchor left: the root, or for kind 1 keccak256(abi.encode(root, signer)).
    function anchorOf(address hub, uint8 kind, uint64 seq) external view returns (bytes32);
}
