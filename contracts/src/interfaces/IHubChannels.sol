// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHubErrors} from "./IHubErrors.sol";
import {IHubEvents} from "./IHubEvents.sol";
import {
    ChannelParams,
    CloseIntent,
    Closer,
    CoSigned,
    Credit,
    Dispute,
    FundingMode,
    State,
    Status,
    Withdrawal
} from "../lib/Types.sol";

/// @title Channels between hubs and users, settled in one ERC20
/// @notice A channel is a pair of balances that both sides sign off chain. This contract pays withdrawals both sides
/// ordered, takes deposits, and, when one side posts a state, gives the other a window to answer with a newer one; who
/// posts a revoked state forfeits. Whoever holds a co-signed state can be paid without anybody's goodwill.
/// @dev A channel never needs to be opened: it is its parameters, and their EIP-712 digest is its id. After a
/// settlement it is open again in the next epoch, and nothing signed for an earlier epoch has any effect.
///
/// Trust: nobody can change this contract, its token, or a channel. The admin only grants mint allowance; the guardian
/// only stops what puts new money in. Neither can stop or redirect a withdrawal, a close or anything after it.
///
/// Safety assumes of the token: a transfer moves exactly what it says, balances change by transfers only. Liveness
/// assumes nothing: a payout that fails becomes a claim of its receiver (`reclaimable`) and the rest goes on.
interface IHubChannels is IHubErrors, IHubEvents {
    /*//////////////////////////////////////////////////////////////////////////
                                        HUBS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Rules a hub fixes for all its channels.
    /// @param mode Where payouts come from.
    /// @param minChallengePeriod Shortest window of a channel of this hub, seconds.
    /// @param maxChallengePeriod Longest window and longest self delay, seconds.
    /// @param penaltyCap Most any channel may name as its forfeit cap, minor units.
    /// @param operatorPays Whether a withdrawal sent by the hub itself needs no signature of the hub signer. Convenient
    /// and cheaper; without it a stolen operator key can't pay out on its own.
    struct HubRules {
        FundingMode mode;
        uint32 minChallengePeriod;
        uint32 maxChallengePeriod;
        uint96 penaltyCap;
        bool operatorPays;
    }

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

    /// @notice Moves `amount` of the sender's tokens into the bond of `hub`, for forfeits.
    function fundBond(address hub, uint256 amount) external;

    /// @notice Admin: lets `hub`, registered or about to be, create `amount` more tokens by payouts.
    function allowMint(address hub, uint256 amount) external;

    /// @notice Announces a withdrawal from the sender's vault. It can be taken from 2 x `maxChallengePeriod` on, for
    /// one `maxChallengePeriod`; a user who minds has the time to close and settle before. Zero takes it back.
    function announceHubWithdraw(uint256 amount) external;

    /// @notice Pays an announced withdrawal, at most what is in the vault. Refused while anybody is owed.
    function hubWithdraw(address to, uint256 amount) external;

    /*//////////////////////////////////////////////////////////////////////////
                               DEPOSITS AND WITHDRAWALS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Pays `amount` of the sender's tokens into a channel; anybody may. In mint mode they are burned and the
    /// hub's mint allowance grows by as much. Only while the channel is open.
    function deposit(ChannelParams calldata params, uint256 amount) external;

    /// @notice Pays one withdrawal both sides ordered. The channel stays open and usable.
    /// @dev Withdrawals of an epoch form a chain: `prevTotal` must equal what has been withdrawn so far.
    function withdraw(Withdrawal calldata item) external;

    /// @notice Pays many withdrawals; one that can't be paid is skipped and reported by `WithdrawSkipped`.
    /// @return paid How many were paid.
    function batchWithdraw(Withdrawal[] calldata items) external returns (uint256 paid);

    /*//////////////////////////////////////////////////////////////////////////
                                      DISPUTES
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Posts a state and starts the window. The closer is who signed `intent`, else the sender: the hub signer,
    /// the user signer, or `user` (a party in a self-custodied channel, an exit in a custodial one).
    /// @dev Version 0 is the null state: hub balance = capacity, all else zero, no attestation.
    /// @param credit Newest credit of the hub that the state may not have folded.
    function close(
        ChannelParams calldata params,
        CoSigned calldata posted,
        CloseIntent calldata intent,
        Credit calldata credit
    ) external;

    /// @notice Replaces the posted state by a newer one, until the deadline, by anybody. When the new state shows that
    /// the closer had moved past what it posted, the closer forfeits and the sender earns the bounty.
    function challenge(ChannelParams calldata params, Dispute calldata dispute, CoSigned calldata newer) external;

    /// @notice Ends the epoch after the deadline, by anybody. Pays the side that did not close; a closing user is paid
    /// from deadline + self delay on (`claimDelayed`). The channel is open again, in the next epoch.
    function settle(ChannelParams calldata params, Dispute calldata dispute, State calldata state) external;

    /*//////////////////////////////////////////////////////////////////////////
                                       CLAIMS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Pays the closer of an ended `epoch`: a user its balance, a hub its collateral back into the vault.
    function claimDelayed(ChannelParams calldata params, uint32 epoch) external;

    /// @notice Pays what the hub's funds could not at the end of `epoch`, as far as they reach now.
    function payOwed(ChannelParams calldata params, uint32 epoch) external;

    /// @notice Pays again what failed to arrive at `account`. Anybody may push it to `account`; only `account` itself
    /// may name another receiver.
    function claimReclaim(address account, address to) external;

    /*//////////////////////////////////////////////////////////////////////////
                                        VIEWS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice The one token of this contract.
    function token() external view returns (address);

    /// @notice May grant mint allowance; nothing else.
    function admin() external view returns (address);

    /// @notice May stop new money; nothing else.
    function guardian() external view returns (address);

    /// @notice Bounds of every hub's challenge windows, seconds.
    function minWindow() external view returns (uint32);
    function maxWindow() external view returns (uint32);

    /// @notice EIP-712 domain separator {name "HubChannels", version "1", chainId, this contract}.
    function domainSeparator() external view returns (bytes32);

    /// @notice Id of a channel: the EIP-712 digest of its parameters.
    function channelIdOf(ChannelParams calldata params) external view returns (bytes32);

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

    function hubOf(address hub) external view returns (HubView memory);

    /// @notice Whether `signer` may sign for `hub`.
    function isHubSigner(address hub, address signer) external view returns (bool);

    /// @param deadline Last second for a challenge while Closing, else 0.
    /// @param disputeHash keccak256(abi.encode(Dispute)) while Closing, else 0.
    struct ChannelView {
        uint32 epoch;
        uint128 withdrawn;
        uint128 deposited;
        uint96 collateral;
        uint40 deadline;
        Status status;
        Closer closer;
        bytes32 disputeHash;
    }

    function channelOf(bytes32 channelId) external view returns (ChannelView memory);

    /// @notice What `epoch` of a channel still has to pay: `amount` from `dueAt` on to its closer, and `owed` to its user.
    function pendingOf(bytes32 channelId, uint32 epoch)
        external
        view
        returns (uint256 amount, uint256 dueAt, Closer closer, uint256 owed);

    /// @notice What waits for `account` after failed payouts.
    function reclaimable(address account) external view returns (uint256);
}
