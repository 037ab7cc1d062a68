// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelParams, Closer, Dispute, Lock, LockList, State, Types, Withdrawal} from "../../src/lib/Types.sol";
import {Fixture} from "../support/Fixture.sol";
import {vm} from "../Vm.sol";

/// What two honest signers know of their channels, beside the contract: every co-signed state of the epoch, orders,
/// credits, and what is still to be paid. Independent of the contract's own sums.
abstract contract Model is Fixture {
    struct Account {
        ChannelParams params;
        bytes32 id;
        // Co-signed states of the epoch, oldest first; the null state is the first.
        uint256 count;
        mapping(uint256 => State) states;
        uint128 deposited;
        uint128 withdrawn;
        uint128 credit;
        bool ordered;
        uint96 orderAmount;
        uint40 orderUntil;
        Closer closer;
        Dispute dispute;
        uint256 postedIndex;
        // Nobody sees this close before its window has ended.
        bool asleep;
        uint40 deadline;
    }

    /// A lock list, a late payout or a debt that an ended epoch left behind.
    struct Ended {
        uint256 account;
        uint32 epoch;
        bool late;
        bool userLate;
        bool owed;
        bool locked;
        uint48 closedVersion;
        uint48 newestAck;
        uint256 reserve;
        uint256 short;
        Lock lock;
        State newest;
    }

    uint256 internal constant ACCOUNTS = 4;
    bytes32 internal constant KNOWN = keccak256("a preimage the handler reveals");

    mapping(uint256 => Account) internal accounts;
    Ended[] internal ended;
    uint256 public mintedOut;
    uint256 public burnedIn;
    uint256 public granted;
    mapping(string => uint256) public calls;
    /// How often each check (by its words) was reached, and what of each invariant (by its number) was found broken.
    mapping(string => uint256) public reached;
    mapping(uint256 => string) public broken;

    function setUp() public override {
        super.setUp();
        granted = 1_000_000_000_000 ether;
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            Account storage account = accounts[i];
            address hub = i < 2 ? vaultHub : mintHub;
            account.params = i % 2 == 0 ? _custodial(hub) : _selfCustodied(hub);
            account.params.user = address(uint160(0xC100 + i));
            account.id = _id(account.params);
            _restart(account);
        }
    }

    function _hold(uint256 id, bool holds, string memory what) internal {
        ++reached[what];
        if (!holds) broken[id] = what;
    }

    function _restart(Account storage account) internal {
        account.count = 1;
        account.states[0] = _null(account.params);
        (account.deposited, account.withdrawn, account.credit) = (0, 0, 0);
        account.ordered = false;
        account.closer = Closer.None;
    }

    function _account(uint256 seed) internal view returns (Account storage) {
        return accounts[seed % ACCOUNTS];
    }

    /// The first account from a random one on that is open, or closing; any when there is none.
    function _open(uint256 seed) internal view returns (Account storage) {
        return _first(seed, false);
    }

    function _closing(uint256 seed) internal view returns (Account storage) {
        return _first(seed, true);
    }

    function _first(uint256 seed, bool closing) private view returns (Account storage) {
        for (uint256 i = seed % ACCOUNTS; i < seed % ACCOUNTS + ACCOUNTS; ++i) {
            if ((accounts[i % ACCOUNTS].closer != Closer.None) == closing) return accounts[i % ACCOUNTS];
        }
        return _account(seed);
    }

    /// The closing account whose window ends first; any when there is none.
    function _nextDue() internal view returns (Account storage account) {
        account = _closing(0);
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            if (accounts[i].closer != Closer.None && accounts[i].deadline < account.deadline) account = accounts[i];
        }
    }

    function _newest(Account storage account) internal view returns (State memory) {
        return account.states[account.count - 1];
    }

    /// Both sides hold and sign `next` now, derived from the newest.
    function _sign(Account storage account, State memory next) internal {
        next.ackVersion = _newest(account).version;
        next.version = next.ackVersion + 1 + uint48(account.count % 3 == 0 ? 1 : 0);
        account.states[account.count++] = next;
    }

    /// What the user is entitled to in all in this epoch: what it was paid and what is to come, locks aside.
    function _entitled(Account storage account) internal view returns (uint256) {
        State memory state = _newest(account);
        return uint256(state.userBalance) + state.withdrawn + account.deposited - state.deposited + account.credit
            - state.credited;
    }

    function _isParty(Account storage account) internal view returns (bool) {
        return account.closer == Closer.Hub || account.closer == Closer.User;
    }

    function _countEnded() external view returns (uint256) {
        return ended.length;
    }

    /* Sums the invariants compare with the contract */

    /// Late payouts, lock reserves and collateral that belong to hubs of one mode, as the contract reports them.
    function setAside(bool vaulted) external view returns (uint256 sum) {
        for (uint256 i = 0; i < ended.length; ++i) {
            if ((ended[i].account < 2) != vaulted) continue;
            (uint256 amount,,,,) = channels.pendingOf(accounts[ended[i].account].id, ended[i].epoch);
            sum += amount;
            if (ended[i].locked) sum += ended[i].reserve;
        }
        for (uint256 i = vaulted ? 0 : 2; i < (vaulted ? 2 : 4); ++i) {
            sum += channels.channelOf(accounts[i].id).collateral;
        }
    }

    /// What the hubs of one mode owe, one by one.
    function owedInParts(bool vaulted) external view returns (uint256 sum) {
        for (uint256 i = 0; i < ended.length; ++i) {
            if ((ended[i].account < 2) != vaulted) continue;
            (,,, uint256 owed,) = channels.pendingOf(accounts[ended[i].account].id, ended[i].epoch);
            sum += owed;
            if (ended[i].locked) sum += ended[i].short;
        }
    }

    function hubs() external view returns (address vaulted, address minted) {
        return (vaultHub, mintHub);
    }

    function world() external view returns (address channels_, address asset_) {
        return (address(channels), asset);
    }
}
