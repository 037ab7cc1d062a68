// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HubChannels} from "../../src/HubChannels.sol";
import {Token} from "../../src/Token.sol";
import {IHubChannels} from "../../src/interfaces/IHubChannels.sol";
import {IHubRegistry} from "../../src/interfaces/IHubRegistry.sol";
import {
    ChannelParams,
    CloseIntent,
    CoSigned,
    Credit,
    Dispute,
    FundingMode,
    State,
    Types,
    Withdrawal
} from "../../src/lib/Types.sol";
import {vm} from "../Vm.sol";
import {Signing} from "./Signing.sol";

/// A token, the contract, and a hub in each funding mode with its keys.
abstract contract Fixture is Signing {
    uint96 internal constant CAPACITY = 10_000_000_000 ether;
    uint96 internal constant PENALTY_CAP = 10_000 ether;
    uint32 internal constant WINDOW = 1 days;
    uint32 internal constant SELF_DELAY = 1 days;
    uint256 internal constant HUB_KEY = 0x11;
    uint256 internal constant CUSTODY_KEY = 0x22;
    uint256 internal constant USER_KEY = 0x33;
    uint256 internal constant START = 1_800_000_000;

    address internal immutable admin = address(0xAD);
    address internal immutable guardian = address(0x6A);
    address internal immutable vaultHub = address(0xA1);
    address internal immutable mintHub = address(0xA2);
    address internal immutable payout = address(0xC1);
    address internal immutable stranger = address(0xEE);

    address internal asset;
    IHubChannels internal channels;

    function setUp() public virtual {
        vm.warp(START);
        asset = _deployToken();
        channels = IHubChannels(_deployChannels(asset));
        _grantMinting();
        _registerHub(vaultHub, FundingMode.Vault);
        _registerHub(mintHub, FundingMode.Mint);
        _fundVault(1_000_000 ether);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       WORLD
    //////////////////////////////////////////////////////////////////////////*/

    function _deployToken() internal virtual returns (address) {
        return address(new Token("Infinite", "INF", address(this)));
    }

    function _deployChannels(address token_) internal virtual returns (address) {
        return address(new HubChannels(token_, admin, guardian, 1 minutes, 7 days));
    }

    function _grantMinting() internal virtual {
        Token(asset).grantRole(keccak256("MINTER_ROLE"), address(channels));
        Token(asset).grantRole(keccak256("MINTER_ROLE"), address(this));
    }

    function _give(address to, uint256 amount) internal virtual {
        Token(asset).mint(to, amount);
    }

    /// Tokens for `from` and an allowance for the contract.
    function _arm(address from, uint256 amount) internal {
        _give(from, amount);
        vm.prank(from);
        Token(asset).approve(address(channels), amount);
    }

    function _rules(FundingMode mode) internal pure returns (IHubRegistry.HubRules memory) {
        return IHubRegistry.HubRules(mode, 1 minutes, 7 days, PENALTY_CAP, true);
    }

    function _registerHub(address hub, FundingMode mode) internal {
        if (mode == FundingMode.Mint) {
            vm.prank(admin);
            channels.allowMint(hub, 1_000_000_000_000 ether);
        }
        uint256 bond = 100 * uint256(PENALTY_CAP);
        _arm(hub, bond);
        vm.prank(hub);
        channels.registerHub(_rules(mode), vm.addr(HUB_KEY), bond, "https://hub.example");
    }

    function _fundVault(uint256 amount) internal {
        _arm(vaultHub, amount);
        vm.prank(vaultHub);
        channels.fundVault(vaultHub, amount);
    }

    function _balance(address account) internal view returns (uint256) {
        return Token(asset).balanceOf(account);
    }

    function _funds(address hub) internal view returns (uint256) {
        return channels.hubOf(hub).funds;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                      CHANNELS
    //////////////////////////////////////////////////////////////////////////*/

    /// Custodial channel of a hub: the custody key signs, `payout` is paid.
    function _custodial(address hub) internal view returns (ChannelParams memory params) {
        params = ChannelParams({
            hub: hub,
            hubSigner: vm.addr(HUB_KEY),
            user: payout,
            userSigner: vm.addr(CUSTODY_KEY),
            custodial: true,
            capacity: CAPACITY,
            challengePeriod: WINDOW,
            selfDelay: SELF_DELAY,
            penaltyCap: PENALTY_CAP,
            bountyBps: 500,
            salt: keccak256("account 1")
        });
    }

    /// Self-custodied channel of a hub: the user signs and is paid elsewhere.
    function _selfCustodied(address hub) internal view returns (ChannelParams memory params) {
        params = _custodial(hub);
        params.userSigner = vm.addr(USER_KEY);
        params.custodial = false;
        params.salt = keccak256("account 2");
    }

    function _id(ChannelParams memory params) internal view returns (bytes32) {
        return channels.channelIdOf(params);
    }

    /// The null state of the channel's present epoch.
    function _null(ChannelParams memory params) internal view returns (State memory state) {
        state.channelId = _id(params);
        state.epoch = channels.channelOf(state.channelId).epoch;
        state.hubBalance = params.capacity;
    }

    /// A state at `version`, derived from the one before, that gives the user `userBalance`.
    function _state(ChannelParams memory params, uint48 version, uint96 userBalance)
        internal
        view
        returns (State memory state)
    {
        state = _null(params);
        state.version = version;
        state.ackVersion = version == 0 ? 0 : version - 1;
        state.userBalance = userBalance;
        state.hubBalance = params.capacity - userBalance;
    }

    function _userKey(ChannelParams memory params) internal pure returns (uint256) {
        return params.custodial ? CUSTODY_KEY : USER_KEY;
    }

    /// Both sides' signatures over the state alone.
    function _coSigned(ChannelParams memory params, State memory state) internal view returns (CoSigned memory) {
        if (state.version == 0) return CoSigned(state, _noAttestation(), _noAttestation());
        bytes32 domain = channels.domainSeparator();
        return CoSigned(state, _direct(HUB_KEY, domain, state), _direct(_userKey(params), domain, state));
    }

    function _signedBy(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        return _sign(key, channels.domainSeparator(), structHash);
    }

    /// A withdrawal with both signatures, following what has been withdrawn.
    function _withdrawal(ChannelParams memory params, uint96 amount, address to)
        internal
        view
        returns (Withdrawal memory item)
    {
        bytes32 id = _id(params);
        item.params = params;
        item.epoch = channels.channelOf(id).epoch;
        item.prevTotal = channels.channelOf(id).withdrawn;
        item.amount = amount;
        item.to = to;
        item.validUntil = uint40(block.timestamp + 1 hours);
        item.requestId = keccak256(abi.encode("request", item.prevTotal));
        _signWithdrawal(item);
    }

    function _signWithdrawal(Withdrawal memory item) internal view {
        bytes32 structHash = Types.withdraw(
            _id(item.params), item.epoch, item.prevTotal, item.amount, item.to, item.validUntil, item.requestId
        );
        item.hubSignature = _signedBy(HUB_KEY, structHash);
        item.userSignature = _signedBy(_userKey(item.params), structHash);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                      DISPUTES
    //////////////////////////////////////////////////////////////////////////*/

    function _noIntent() internal pure returns (CloseIntent memory intent) {}

    function _noCredit() internal pure returns (Credit memory credit) {}

    /// Closes as `sender` and gives the dispute the contract remembers.
    function _close(address sender, ChannelParams memory params, State memory state) internal returns (Dispute memory) {
        CoSigned memory posted = _coSigned(params, state);
        vm.prank(sender);
        channels.close(params, posted, _noIntent(), _noCredit());
        return _disputeOf(state);
    }

    /// Challenges as `sender`; `penalizes` says what the test expects of it.
    function _challenge(
        address sender,
        ChannelParams memory params,
        Dispute memory dispute,
        State memory newer,
        bool penalizes
    ) internal returns (Dispute memory next) {
        CoSigned memory posted = _coSigned(params, newer);
        vm.prank(sender);
        channels.challenge(params, dispute, posted);
        next = Dispute(
            Types.hash(newer),
            newer.version,
            dispute.closedVersion,
            dispute.creditMax,
            dispute.penalized || penalizes,
            penalizes ? sender : dispute.bountyTo
        );
        vm.assertEq(channels.channelOf(_id(params)).disputeHash, Types.hash(next), "dispute as expected");
    }

    /// The dispute a plain close with `state` leaves.
    function _disputeOf(State memory state) internal pure returns (Dispute memory dispute) {
        dispute.stateHash = Types.hash(state);
        dispute.version = state.version;
        dispute.closedVersion = state.version;
    }

    function _passWindow() internal {
        vm.warp(block.timestamp + WINDOW + 1);
    }
}
