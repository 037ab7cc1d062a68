// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IHubErrors} from "./interfaces/IHubErrors.sol";
import {IHubEvents} from "./interfaces/IHubEvents.sol";
import {IMintable} from "./interfaces/IMintable.sol";
import {Signatures} from "./lib/Signatures.sol";
import {ChannelParams, Closer, FundingMode, Status, Types} from "./lib/Types.sol";

/// Storage, parameter checks and payouts that all parts share.
abstract contract HubStore is IHubEvents, IHubErrors, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Signatures for bytes;

    /// A hub's bond is at least this many of its penalty caps.
    uint256 internal constant BOND_CAPS = 100;
    /// Largest bounty, 1/10,000: more would make proving one's own cheating worth while.
    uint256 internal constant MAX_BOUNTY_BPS = 500;
    /// Deposits of one epoch stay below this, so that no sum of a settlement can overflow.
    uint256 internal constant MAX_DEPOSITED = type(uint112).max;
    /// Gas a payout may burn. A transfer or mint to a fresh address takes about 60,000.
    uint256 internal constant PAYOUT_GAS = 150_000;

    /// The first slot is all that a withdrawal, a close and a settlement without penalty touch.
    struct Hub {
        FundingMode mode;
        bool operatorPays;
        uint32 minChallengePeriod;
        uint32 maxChallengePeriod;
        uint40 announcedAt;
        // Vault mode: tokens held. Mint mode: tokens that may still be created.
        uint128 funds;
        uint96 penaltyCap;
        uint128 bond;
        uint128 owed;
        uint128 announced;
        string uri;
    }

    struct Channel {
        uint32 epoch;
        uint128 withdrawn;
        uint40 deadline;
        Status status;
        Closer closer;
        // The parameters were found valid once. Nothing they were checked against ever changes, so they stay valid.
        bool known;
        uint128 deposited;
        uint96 collateral;
        bytes32 dispute;
    }

    /// A closer's late payout. `closedVersion` is what a late proof is compared with.
    struct Delayed {
        uint128 amount;
        uint40 dueAt;
        uint48 closedVersion;
        Closer closer;
    }

    /// `unminted` failed in mint mode and comes into being only when it is claimed.
    struct Claim {
        uint128 held;
        uint128 unminted;
    }

    /// Anchors of a kind that can still be read.
    uint256 internal constant ANCHOR_RING = 64;
    /// Anchor kind whose roots are signed batches.
    uint8 internal constant ANCHOR_STATES = 1;

    address internal immutable _token;
    bytes32 private immutable _cachedDomain;
    uint256 private immutable _cachedChainId;
    address private immutable _self;

    address internal _admin;
    address internal _nextAdmin;
    address internal _guardian;
    bool internal _paused;

    mapping(address hub => Hub) internal _hubs;
    mapping(address hub => mapping(address signer => bool)) internal _signers;
    mapping(address hub => mapping(uint256 kindAndPlace => bytes32)) internal _anchors;
    mapping(bytes32 channelId => Channel) internal _channels;
    mapping(bytes32 channelEpoch => Delayed) internal _delayed;
    mapping(bytes32 channelEpoch => uint256) internal _owed;
    /// Owed out of locks: never forfeited, and it does not wait for the closer's delay.
    mapping(bytes32 channelEpoch => uint256) internal _lockOwed;
    mapping(bytes32 channelEpoch => bytes32) internal _lockLists;
    mapping(bytes32 channelEpoch => bool) internal _equivocated;
    mapping(address account => Claim) internal _claims;
    mapping(bytes32 hash => uint256) internal _preimageTimes;
    mapping(bytes32 orderId => uint256) internal _delivered;
    mapping(bytes32 bookAndBeneficiary => uint256) internal _cashed;

    /// @param self The contract whose storage this code works on: modules run inside it.
    constructor(address token_, address self) {
        _token = token_;
        _self = self;
        _cachedChainId = block.chainid;
        _cachedDomain = Types.domainSeparator(block.chainid, self);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       CHECKS
    //////////////////////////////////////////////////////////////////////////*/

    /// @dev Recomputed after a fork of the chain: nothing signed before it counts there.
    function _domain() internal view returns (bytes32) {
        return block.chainid == _cachedChainId ? _cachedDomain : Types.domainSeparator(block.chainid, _self);
    }

    function _channelId(ChannelParams calldata params) internal view returns (bytes32) {
        return Types.digest(_domain(), Types.hashed(params));
    }

    /// @dev Keeps anybody from naming a hub it does not own: only a registered signer binds the hub's funds.
    function _areValid(ChannelParams calldata params) internal view returns (bool) {
        Hub storage hub = _hubs[params.hub];
        return hub.mode != FundingMode.None && params.challengePeriod >= hub.minChallengePeriod
            && params.challengePeriod <= hub.maxChallengePeriod && params.selfDelay <= hub.maxChallengePeriod
            && params.bountyBps <= MAX_BOUNTY_BPS && params.capacity != 0 && params.user != address(0)
            && params.user != address(this) && params.userSigner != address(0) && params.userSigner != params.hubSigner
            && _signers[params.hub][params.hubSigner];
    }

    function _requireChannel(ChannelParams calldata params)
        internal
        view
        returns (bytes32 id, Channel storage channel)
    {
        id = _channelId(params);
        channel = _channels[id];
        if (!channel.known && !_areValid(params)) revert HubChannels_BadParams(id);
    }

    function _requireUnpaused() internal view {
        if (_paused) revert HubChannels_Paused();
    }

    function _registered(address hub) internal view returns (Hub storage record) {
        record = _hubs[hub];
        if (record.mode == FundingMode.None) revert HubChannels_NotRegistered(hub);
    }

    function _vaultHub(address hub) internal view returns (Hub storage record) {
        record = _registered(hub);
        if (record.mode != FundingMode.Vault) revert HubChannels_WrongMode(hub, record.mode);
    }

    function _anchorPlace(uint8 kind, uint64 seq) internal pure returns (uint256) {
        return uint256(kind) * ANCHOR_RING + seq % ANCHOR_RING;
    }

    function _isSigned(bytes32 structHash, bytes calldata signature, address signer) internal view returns (bool) {
        return structHash != 0 && signature.isBy(Types.digest(_domain(), structHash), signer);
    }

    /// @dev What cheating costs the hub at most: a channel that names more than its hub's cap gets the hub's.
    function _penaltyLimit(ChannelParams calldata params, Hub storage hub) internal view returns (uint256 limit) {
        limit = params.penaltyCap < hub.penaltyCap ? params.penaltyCap : hub.penaltyCap;
        if (hub.bond < limit) limit = hub.bond;
    }

    function _key(bytes32 id, uint32 epoch) internal pure returns (bytes32) {
        return keccak256(abi.encode(id, epoch));
    }

    function _toUint128(uint256 amount) internal pure returns (uint128) {
        if (amount > type(uint128).max) revert HubChannels_AmountTooLarge(amount);
        // Safe: bounded above.
        return uint128(amount);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       TOKENS
    //////////////////////////////////////////////////////////////////////////*/

    /// @dev Moves the sender's own tokens in and insists on the exact amount.
    function _pull(uint256 amount) internal {
        uint256 before = IERC20(_token).balanceOf(address(this));
        IERC20(_token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = IERC20(_token).balanceOf(address(this)) - before;
        if (received != amount) revert HubChannels_TransferMismatch(amount, received);
    }

    /// @dev Gives back what was taken. Never fails: no exit may depend on how much a hub has, or was allowed, meanwhile.
    function _giveBack(Hub storage hub, uint256 amount) internal {
        uint256 funds = hub.funds + amount;
        // Safe: bounded.
        hub.funds = funds < type(uint128).max ? uint128(funds) : type(uint128).max;
    }

    /// @dev Takes what is there of `wanted` out of the hub's funds.
    function _take(Hub storage hub, uint256 wanted) internal returns (uint256 taken) {
        uint256 funds = hub.funds;
        taken = wanted < funds ? wanted : funds;
        // Safe: the rest of a uint128.
        if (taken != 0) hub.funds = uint128(funds - taken);
    }

    /// @dev Pays what was taken from a hub's funds. Never fails: what can't be delivered becomes a claim.
    function _payFunds(FundingMode mode, address to, uint256 amount) internal {
        if (mode == FundingMode.Vault) return _payHeld(to, amount);
        if (amount == 0 || _callToken(abi.encodeCall(IMintable.mint, (to, amount)))) return;
        _claims[to].unminted += _toUint128(amount);
        emit Reclaimable(to, amount, true);
    }

    /// @dev Pays tokens this contract holds. Never fails: what can't be delivered becomes a claim.
    function _payHeld(address to, uint256 amount) internal {
        if (amount == 0 || _callToken(abi.encodeCall(IERC20.transfer, (to, amount)))) return;
        _claim(to, amount);
    }

    function _claim(address account, uint256 amount) internal {
        _claims[account].held += _toUint128(amount);
        emit Reclaimable(account, amount, false);
    }

    /// @dev One call with a gas cap; reads at most one word of the answer. Success is no revert and an empty or true
    /// answer: a balance difference could be faked by the receiver.
    function _callToken(bytes memory data) internal returns (bool success) {
        // A sender that starves the call could turn any payout into a claim.
        if (gasleft() < PAYOUT_GAS * 64 / 63 + 10_000) revert HubChannels_GasTooLow(gasleft());
        address target = _token;
        uint256 gasCap = PAYOUT_GAS;
        assembly ("memory-safe") {
            success := call(gasCap, target, 0, add(data, 0x20), mload(data), 0x00, 0x20)
            if success {
                switch returndatasize()
                case 0 {}
                default { success := and(gt(returndatasize(), 0x1f), eq(mload(0x00), 1)) }
            }
        }
    }
}
