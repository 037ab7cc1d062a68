// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubStore} from "./HubStore.sol";
import {IHubRegistry} from "./interfaces/IHubRegistry.sol";
import {FundingMode} from "./lib/Types.sol";

/// Registration of hubs, their funds and their bond.
abstract contract HubRegistry is HubStore, IHubRegistry {
    modifier onlyAdmin() {
        if (msg.sender != _admin) revert HubChannels_NotAdmin(msg.sender);
        _;
    }

    uint32 public immutable override minWindow;
    uint32 public immutable override maxWindow;

    constructor(uint32 minWindow_, uint32 maxWindow_) {
        if (minWindow_ == 0 || minWindow_ > maxWindow_) {
            revert HubChannels_WindowOutOfRange(minWindow_, 1, maxWindow_);
        }
        minWindow = minWindow_;
        maxWindow = maxWindow_;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                        HUBS
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IHubRegistry
    function registerHub(HubRules calldata rules, address signer, uint256 bond, string calldata uri)
        external
        nonReentrant
    {
        _requireUnpaused();
        Hub storage hub = _hubs[msg.sender];
        if (hub.mode != FundingMode.None) revert HubChannels_AlreadyRegistered(msg.sender);
        if (signer == address(0)) revert HubChannels_ZeroAddress();
        if (rules.mode == FundingMode.None) revert HubChannels_WrongMode(msg.sender, rules.mode);
        // An allowance granted for minting must not pass for tokens in a vault.
        if (rules.mode == FundingMode.Vault && hub.funds != 0) revert HubChannels_WrongMode(msg.sender, rules.mode);
        if (rules.mode == FundingMode.Mint && hub.funds == 0) revert HubChannels_NoMintAllowance(msg.sender);
        if (rules.minChallengePeriod < minWindow || rules.minChallengePeriod > rules.maxChallengePeriod) {
            revert HubChannels_WindowOutOfRange(rules.minChallengePeriod, minWindow, rules.maxChallengePeriod);
        }
        if (rules.maxChallengePeriod > maxWindow) {
            revert HubChannels_WindowOutOfRange(rules.maxChallengePeriod, minWindow, maxWindow);
        }
        uint256 required = BOND_CAPS * rules.penaltyCap;
        if (required == 0 || bond < required) revert HubChannels_BondTooSmall(bond, required);

        hub.mode = rules.mode;
        hub.operatorPays = rules.operatorPays;
        hub.minChallengePeriod = rules.minChallengePeriod;
        hub.maxChallengePeriod = rules.maxChallengePeriod;
        hub.penaltyCap = rules.penaltyCap;
        hub.bond = _toUint128(uint256(hub.bond) + bond);
        hub.uri = uri;
        _signers[msg.sender][signer] = true;
        emit HubRegistered(
            msg.sender,
            signer,
            rules.mode,
            rules.minChallengePeriod,
            rules.maxChallengePeriod,
            rules.penaltyCap,
            rules.operatorPays,
            bond,
            uri
        );
        _pull(bond);
    }

    /// @inheritdoc IHubRegistry
    function addHubSigner(address signer) external {
        _requireUnpaused();
        if (signer == address(0)) revert HubChannels_ZeroAddress();
        _registered(msg.sender);
        _signers[msg.sender][signer] = true;
        emit HubSignerAdded(msg.sender, signer);
    }

    /// @inheritdoc IHubRegistry
    function setHubUri(string calldata uri) external {
        _registered(msg.sender).uri = uri;
        emit HubUriChanged(msg.sender, uri);
    }

    /// @inheritdoc IHubRegistry
    function fundVault(address hub, uint256 amount) external nonReentrant {
        Hub storage record = _vaultHub(hub);
        if (amount == 0) revert HubChannels_AmountZero();
        uint128 funds = _toUint128(uint256(record.funds) + amount);
        record.funds = funds;
        emit VaultFunded(hub, amount, funds);
        _pull(amount);
    }

    /// @inheritdoc IHubRegistry
    function fundBond(address hub, uint256 amount) external nonReentrant {
        Hub storage record = _registered(hub);
        if (amount == 0) revert HubChannels_AmountZero();
        uint128 bond = _toUint128(uint256(record.bond) + amount);
        record.bond = bond;
        emit BondFunded(hub, amount, bond);
        _pull(amount);
    }

    /// @inheritdoc IHubRegistry
    function announceHubWithdraw(uint256 amount) external {
        Hub storage record = _vaultHub(msg.sender);
        uint256 from = block.timestamp + 2 * uint256(record.maxChallengePeriod);
        record.announced = _toUint128(amount);
        // Safe: a timestamp fits 40 bits for 34,000 years.
        record.announcedAt = uint40(from);
        emit HubWithdrawAnnounced(msg.sender, amount, from);
    }

    /// @inheritdoc IHubRegistry
    function hubWithdraw(address to, uint256 amount) external nonReentrant {
        Hub storage record = _vaultHub(msg.sender);
        if (amount == 0) revert HubChannels_AmountZero();
        if (to == address(0)) revert HubChannels_ZeroAddress();
        if (record.owed != 0) revert HubChannels_StillOwes(msg.sender, record.owed);
        uint256 from = record.announcedAt;
        uint256 until = from + record.maxChallengePeriod;
        if (from == 0 || block.timestamp < from || block.timestamp > until) {
            revert HubChannels_WithdrawNotDue(from, until);
        }
        uint256 available = record.announced < record.funds ? record.announced : record.funds;
        if (amount > available) revert HubChannels_VaultShort(msg.sender, amount, available);
        // Safe: amount <= both.
        record.announced -= uint128(amount);
        record.funds -= uint128(amount);
        emit HubWithdrawn(msg.sender, to, amount, record.funds);
        _payHeld(to, amount);
    }

    /// @inheritdoc IHubRegistry
    function anchor(uint8 kind, uint64 seq, bytes32 root, address signer, bytes calldata signature) external {
        _registered(msg.sender);
        if (root == 0 || kind == 0) revert HubChannels_BadAnchor(kind, seq);
        bytes32 kept = root;
        if (kind == ANCHOR_STATES) {
            // The operator's own word is not enough to stand for the hub signer's.
            if (!_signers[msg.sender][signer] || !_isSigned(root, signature, signer)) {
                revert HubChannels_BadAnchor(kind, seq);
            }
            kept = keccak256(abi.encode(root, signer));
        }
        _anchors[msg.sender][_anchorPlace(kind, seq)] = kept;
        emit Anchored(msg.sender, kind, seq, root, signer);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                        ROLES
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IHubRegistry
    function allowMint(address hub, uint256 amount) external onlyAdmin {
        Hub storage record = _hubs[hub];
        // A pause must not keep anybody from what is owed: up to that an allowance can still be raised.
        if (uint256(record.funds) + amount > record.owed) _requireUnpaused();
        if (record.mode == FundingMode.Vault) revert HubChannels_WrongMode(hub, record.mode);
        if (amount == 0) revert HubChannels_AmountZero();
        uint128 funds = _toUint128(uint256(record.funds) + amount);
        record.funds = funds;
        emit MintAllowed(hub, amount, funds);
    }

    /// @inheritdoc IHubRegistry
    function transferAdmin(address next) external onlyAdmin {
        _nextAdmin = next;
        emit AdminTransferStarted(msg.sender, next);
    }

    /// @inheritdoc IHubRegistry
    function acceptAdmin() external {
        if (msg.sender != _nextAdmin) revert HubChannels_NotAdmin(msg.sender);
        _admin = msg.sender;
        _nextAdmin = address(0);
        emit AdminChanged(msg.sender);
    }

    /// @inheritdoc IHubRegistry
    function setGuardian(address next) external onlyAdmin {
        _guardian = next;
        emit GuardianChanged(next);
    }

    /// @inheritdoc IHubRegistry
    function setPaused(bool paused_) external {
        if (msg.sender != _guardian) revert HubChannels_NotGuardian(msg.sender);
        _paused = paused_;
        emit PausedChanged(paused_);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                        VIEWS
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IHubRegistry
    function token() external view returns (address) {
        return _token;
    }

    /// @inheritdoc IHubRegistry
    function admin() external view returns (address) {
        return _admin;
    }

    /// @inheritdoc IHubRegistry
    function guardian() external view returns (address) {
        return _guardian;
    }

    /// @inheritdoc IHubRegistry
    function paused() external view returns (bool) {
        return _paused;
    }

    /// @inheritdoc IHubRegistry
    function domainSeparator() external view returns (bytes32) {
        return _domain();
    }

    /// @inheritdoc IHubRegistry
    function hubOf(address hub) external view returns (HubView memory result) {
        Hub storage record = _hubs[hub];
        result.rules = HubRules(
            record.mode, record.minChallengePeriod, record.maxChallengePeriod, record.penaltyCap, record.operatorPays
        );
        result.funds = record.funds;
        result.owed = record.owed;
        result.bond = record.bond;
        result.announcedAmount = record.announced;
        result.announcedAt = record.announcedAt;
        result.uri = record.uri;
    }

    /// @inheritdoc IHubRegistry
    function isHubSigner(address hub, address signer) external view returns (bool) {
        return _signers[hub][signer];
    }

    /// @inheritdoc IHubRegistry
    function anchorOf(address hub, uint8 kind, uint64 seq) external view returns (bytes32) {
        return _anchors[hub][_anchorPlace(kind, seq)];
    }
}
