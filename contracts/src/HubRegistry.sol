// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubStore} from "./HubStore.sol";
import {IHubChannels} from "./interfaces/IHubChannels.sol";
import {FundingMode} from "./lib/Types.sol";

/// Registration of hubs, their funds and their bond.
abstract contract HubRegistry is HubStore {
    modifier onlyAdmin() {
        if (msg.sender != admin) revert HubChannels_NotAdmin(msg.sender);
        _;
    }

    /// @inheritdoc IHubChannels
    function registerHub(HubRules calldata rules, address signer, uint256 bond, string calldata uri)
        external
        nonReentrant
    {
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

    /// @inheritdoc IHubChannels
    function addHubSigner(address signer) external {
        if (signer == address(0)) revert HubChannels_ZeroAddress();
        _registered(msg.sender);
        _signers[msg.sender][signer] = true;
        emit HubSignerAdded(msg.sender, signer);
    }

    /// @inheritdoc IHubChannels
    function setHubUri(string calldata uri) external {
        _registered(msg.sender).uri = uri;
        emit HubUriChanged(msg.sender, uri);
    }

    /// @inheritdoc IHubChannels
    function fundVault(address hub, uint256 amount) external nonReentrant {
        Hub storage record = _vaultHub(hub);
        if (amount == 0) revert HubChannels_AmountZero();
        uint128 funds = _toUint128(uint256(record.funds) + amount);
        record.funds = funds;
        emit VaultFunded(hub, amount, funds);
        _pull(amount);
    }

    /// @inheritdoc IHubChannels
    function fundBond(address hub, uint256 amount) external nonReentrant {
        Hub storage record = _registered(hub);
        if (amount == 0) revert HubChannels_AmountZero();
        uint128 bond = _toUint128(uint256(record.bond) + amount);
        record.bond = bond;
        emit BondFunded(hub, amount, bond);
        _pull(amount);
    }

    /// @inheritdoc IHubChannels
    function allowMint(address hub, uint256 amount) external onlyAdmin {
        Hub storage record = _hubs[hub];
        if (record.mode == FundingMode.Vault) revert HubChannels_WrongMode(hub, record.mode);
        if (amount == 0) revert HubChannels_AmountZero();
        uint128 funds = _toUint128(uint256(record.funds) + amount);
        record.funds = funds;
        emit MintAllowed(hub, amount, funds);
    }

    /// @inheritdoc IHubChannels
    function announceHubWithdraw(uint256 amount) external {
        Hub storage record = _vaultHub(msg.sender);
        uint256 from = block.timestamp + 2 * uint256(record.maxChallengePeriod);
        record.announced = _toUint128(amount);
        // Safe: a timestamp fits 40 bits for 34,000 years.
        record.announcedAt = uint40(from);
        emit HubWithdrawAnnounced(msg.sender, amount, from);
    }

    /// @inheritdoc IHubChannels
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

    function _registered(address hub) internal view returns (Hub storage record) {
        record = _hubs[hub];
        if (record.mode == FundingMode.None) revert HubChannels_NotRegistered(hub);
    }

    function _vaultHub(address hub) internal view returns (Hub storage record) {
        record = _registered(hub);
        if (record.mode != FundingMode.Vault) revert HubChannels_WrongMode(hub, record.mode);
    }
}
