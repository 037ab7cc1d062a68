// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    ChannelParams,
    Closer,
    CoSigned,
    CoopSettlement,
    Credit,
    Dispute,
    Evidence,
    FundingMode,
    Lock,
    LockList,
    State,
    Status,
    Types,
    Withdrawal
} from "../../src/lib/Types.sol";
import {vm} from "../Vm.sol";
import {Model} from "./Model.sol";

/// Random histories of honest signers, cheating posters, towers, and a chain. Every call is legal; what it must do is
/// asserted where it is made.
contract Handler is Model {
    uint256 private constant STEP = 1_000 ether;

    modifier counted(string memory name) {
        ++calls[name];
        _;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     OFF THE CHAIN
    //////////////////////////////////////////////////////////////////////////*/

    /// One to five payments: a state is revoked once two more were signed.
    function pay(uint256 seed, uint96 amount, bool toUser) external counted("pay") {
        Account storage account = _open(seed);
        if (account.closer != Closer.None) return;
        for (uint256 i = 0; i <= amount / STEP % 5; ++i) {
            State memory next = _newest(account);
            uint96 moved = uint96(amount % STEP);
            if (!toUser && moved > next.userBalance) moved = next.userBalance;
            if (toUser) (next.userBalance, next.hubBalance) = (next.userBalance + moved, next.hubBalance - moved);
            else (next.userBalance, next.hubBalance) = (next.userBalance - moved, next.hubBalance + moved);
            _sign(account, next);
        }
    }

    function fold(uint256 seed) external counted("fold") {
        Account storage account = _open(seed);
        if (account.closer != Closer.None) return;
        State memory next = _newest(account);
        uint96 added = uint96(account.deposited - next.deposited + account.credit - next.credited);
        (next.deposited, next.credited) = (account.deposited, account.credit);
        (next.userBalance, next.hubBalance) = (next.userBalance + added, next.hubBalance - added);
        _sign(account, next);
    }

    function credit(uint256 seed, uint96 amount) external counted("credit") {
        Account storage account = _open(seed);
        if (account.closer == Closer.None) account.credit += uint128(amount % STEP);
    }

    /// One lock of the hub's to the user, on a preimage that is known or one that never will be.
    function lock(uint256 seed, uint96 amount, bool known) external counted("lock") {
        Account storage account = _open(seed);
        State memory next = _newest(account);
        if (account.closer != Closer.None || next.hubLocked != 0) return;
        Lock[] memory locks = _locksOf(1 + uint96(amount % STEP), known);
        next.hubLocked = locks[0].amount;
        next.hubBalance -= locks[0].amount;
        next.locksHash = Types.hash(locks);
        _sign(account, next);
    }

    function failLock(uint256 seed) external counted("failLock") {
        Account storage account = _open(seed);
        State memory next = _newest(account);
        if (account.closer != Closer.None || next.hubLocked == 0) return;
        next.hubBalance += next.hubLocked;
        (next.hubLocked, next.locksHash) = (0, 0);
        _sign(account, next);
    }

    function _locksOf(uint96 amount, bool known) private pure returns (Lock[] memory locks) {
        locks = new Lock[](1);
        bytes32 hash = known ? sha256(abi.encode(KNOWN)) : keccak256("no preimage");
        locks[0] = Lock("lock", 1, false, amount, type(uint40).max, hash, 0);
        if (!known) locks[0].expiry = uint40(START);
    }

    function order(uint256 seed, uint96 amount) external counted("order") {
        Account storage account = _open(seed);
        State memory next = _newest(account);
        if (account.closer != Closer.None || account.ordered || next.userBalance == 0) return;
        account.orderAmount = uint96(1 + amount % next.userBalance);
        account.orderUntil = uint40(block.timestamp + 1 hours);
        account.ordered = true;
        next.userBalance -= account.orderAmount;
        next.hubBalance += account.orderAmount;
        next.withdrawn += account.orderAmount;
        _sign(account, next);
        if (amount % 2 == 0) _execute(account);
    }

    function reverse(uint256 seed) external counted("reverse") {
        Account storage account = _open(seed);
        if (account.closer != Closer.None || !account.ordered || block.timestamp <= account.orderUntil) return;
        State memory next = _newest(account);
        account.ordered = false;
        next.userBalance += account.orderAmount;
        next.hubBalance -= account.orderAmount;
        next.withdrawn -= account.orderAmount;
        _sign(account, next);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     OPEN CHANNELS
    //////////////////////////////////////////////////////////////////////////*/

    function deposit(uint256 seed, uint96 amount) external counted("deposit") {
        Account storage account = _open(seed);
        if (account.closer != Closer.None) return;
        uint256 paid = 1 + amount % STEP;
        _arm(stranger, paid);
        vm.prank(stranger);
        channels.deposit(account.params, paid);
        account.deposited += uint128(paid);
        if (account.params.hub == mintHub) burnedIn += paid;
    }

    function execute(uint256 seed) external counted("execute") {
        _execute(_open(seed));
    }

    /// A withdrawal pays its amount, once: the second try is refused.
    function _execute(Account storage account) private {
        if (account.closer != Closer.None || !account.ordered || block.timestamp > account.orderUntil) return;
        Withdrawal memory item = _withdrawal(account.params, account.orderAmount, account.params.user);
        item.validUntil = account.orderUntil;
        _signWithdrawal(item);
        if (_funds(account.params.hub) < item.amount) return;
        uint256 before = _balance(account.params.user);
        Withdrawal[] memory items = new Withdrawal[](2);
        (items[0], items[1]) = (item, item);
        _hold(4, channels.batchWithdraw(items) == 1, "a withdrawal pays once");
        _hold(4, _balance(account.params.user) - before == item.amount, "a withdrawal pays exactly its amount");
        account.withdrawn += item.amount;
        account.ordered = false;
        if (account.params.hub == mintHub) mintedOut += item.amount;
    }

    function addCollateral(uint256 seed, uint96 amount) external counted("addCollateral") {
        bytes32[] memory ids = new bytes32[](1);
        uint96[] memory amounts = new uint96[](1);
        (ids[0], amounts[0]) = (_account(seed % 2).id, uint96(1 + amount % STEP));
        _arm(vaultHub, amounts[0]);
        vm.prank(vaultHub);
        channels.batchCollateral(ids, amounts);
    }

    function fund(uint96 amount) external counted("fund") {
        _fundVault(1 + amount % (10 * STEP));
    }

    /// The hub takes out nearly all it may, so that payouts fall short. It takes so long that no window outlasts it.
    function drain() external counted("drain") {
        uint256 funds = _funds(vaultHub);
        if (_closing(0).closer != Closer.None || channels.hubOf(vaultHub).owed != 0 || funds < 2) return;
        vm.prank(vaultHub);
        channels.announceHubWithdraw(funds - 1);
        vm.warp(block.timestamp + 14 days);
        vm.prank(vaultHub);
        channels.hubWithdraw(vaultHub, funds - 1);
    }

    function pass(uint32 time) external counted("pass") {
        vm.warp(block.timestamp + time % 12 hours);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       DISPUTES
    //////////////////////////////////////////////////////////////////////////*/

    /// Anybody posts anything it holds: the newest, its base, or a revoked state.
    function post(uint256 seed, uint256 index, uint8 who) external counted("post") {
        Account storage account = _open(seed);
        if (account.closer != Closer.None) return;
        bool custodial = account.params.custodial;
        address sender = vm.addr(HUB_KEY);
        account.closer = Closer.Hub;
        if (who % 3 == 1) (sender, account.closer) = (account.params.userSigner, Closer.User);
        if (who % 3 == 2) (sender, account.closer) = (account.params.user, custodial ? Closer.Exit : Closer.User);
        // A third of all posts are honest, the newest or its base; the others revoked, when there are revoked ones.
        bool honest = index % 3 == 0 || account.count < 3;
        uint256 span = account.count < 3 ? account.count : honest ? 2 : account.count - 2;
        account.postedIndex = account.count - 1 - (index / 3) % span - (honest ? 0 : 2);
        account.dispute = _close(sender, account.params, account.states[account.postedIndex]);
        account.deadline = uint40(block.timestamp + WINDOW);
        // Of four closes two are answered at once, one perhaps later, and one while everybody sleeps.
        account.asleep = who / 3 % 4 == 0;
        if (who / 3 % 4 > 1) _answer(account);
    }

    function answer(uint256 seed) external counted("answer") {
        _answer(_closing(seed));
    }

    /// A tower answers with the newest state. Honest posts are never punished, revoked ones always.
    function _answer(Account storage account) private {
        State memory newest = _newest(account);
        if (account.closer == Closer.None || block.timestamp > account.deadline) return;
        if (account.asleep || account.dispute.version >= newest.version) return;
        bool before = account.dispute.penalized;
        bool punished = _challengedAndPunished(account, newest) || before;
        if (account.postedIndex + 2 >= account.count) _hold(3, !punished, "an honest post is never punished");
        else if (_isParty(account)) _hold(3, punished, "a revoked post always is");
        else _hold(3, !punished, "an exit is never punished");
    }

    /// What the contract makes of the answer, by the hash it keeps: the newest state, with a penalty or without.
    function _challengedAndPunished(Account storage account, State memory newest) private returns (bool punished) {
        Dispute memory next = account.dispute;
        CoSigned memory posted = _coSigned(account.params, newest);
        vm.prank(stranger);
        channels.challenge(account.params, next, posted);
        (next.stateHash, next.version) = (Types.hash(newest), newest.version);
        bytes32 kept = channels.channelOf(account.id).disputeHash;
        if (kept != Types.hash(next)) {
            (next.penalized, next.bountyTo, punished) = (true, stranger, true);
            vm.assertEq(kept, Types.hash(next), "the newest state is kept");
        }
        account.dispute = next;
    }

    function accuse(uint256 seed, bool byRevoke) external counted("accuse") {
        Account storage account = _closing(seed);
        State memory newest = _newest(account);
        if (!_isParty(account) || block.timestamp > account.deadline) return;
        if (account.asleep || account.dispute.penalized) return;
        if (newest.ackVersion <= account.dispute.closedVersion) return;
        Evidence memory evidence = _evidence(account, newest, byRevoke);
        vm.prank(guardian);
        channels.penalize(account.params, newest.epoch, account.dispute, evidence);
        account.dispute.penalized = true;
        account.dispute.bountyTo = guardian;
    }

    function _evidence(Account storage account, State memory newest, bool byRevoke)
        private
        view
        returns (Evidence memory evidence)
    {
        uint256 key = account.closer == Closer.Hub ? HUB_KEY : _userKey(account.params);
        if (byRevoke) {
            evidence.revokedVersion = account.dispute.closedVersion;
            evidence.revoke = _signedBy(key, Types.revoke(account.id, newest.epoch, account.dispute.closedVersion));
        } else {
            evidence.state = newest;
            evidence.attestation = _direct(key, channels.domainSeparator(), newest);
        }
    }

    function showCredit(uint256 seed) external counted("showCredit") {
        Account storage account = _closing(seed);
        if (account.closer == Closer.None || block.timestamp > account.deadline) return;
        if (account.credit <= account.dispute.creditMax) return;
        bytes32 structHash = Types.credit(account.id, account.states[0].epoch, account.credit);
        channels.addCredit(account.params, account.dispute, Credit(account.credit, _signedBy(HUB_KEY, structHash)));
        account.dispute.creditMax = account.credit;
    }

    /// The next window to end, so that the others stay open.
    function settle() external counted("settle") {
        Account storage account = _nextDue();
        if (account.closer == Closer.None) return;
        if (block.timestamp <= account.deadline) vm.warp(uint256(account.deadline) + 1);
        _end(account, false);
    }

    function accept(uint256 seed) external counted("accept") {
        Account storage account = _closing(seed);
        if (account.closer == Closer.None || account.dispute.penalized || account.asleep) return;
        _end(account, true);
    }

    /// Settles and compares what everybody got with what the signers know.
    function _end(Account storage account, bool accepted) private {
        State memory state = _current(account);
        uint256 before = _balance(account.params.user);
        uint256 supply = _supply();
        uint256 bond = channels.hubOf(account.params.hub).bond;
        Dispute memory dispute = account.dispute;
        if (accepted) {
            uint256 key = account.closer == Closer.Hub ? _userKey(account.params) : HUB_KEY;
            bytes memory consent = _signedBy(key, Types.acceptClose(account.id, state.epoch, dispute.stateHash));
            channels.acceptClose(account.params, dispute, state, consent);
        } else {
            vm.prank(stranger);
            channels.settle(account.params, dispute, state);
        }
        if (account.params.hub == mintHub) mintedOut += _supply() - supply;
        _checkShares(account, state, _balance(account.params.user) - before, bond, accepted);
        _remember(account, state);
        _hold(4, channels.channelOf(account.id).epoch == state.epoch + 1, "the epoch rises by one");
        _restart(account);
    }

    function _current(Account storage account) private view returns (State memory) {
        for (uint256 i = account.count; i > 0; --i) {
            if (account.states[i - 1].version == account.dispute.version) return account.states[i - 1];
        }
        revert("no such state");
    }

    function _checkShares(Account storage account, State memory state, uint256 got, uint256 bond, bool accepted)
        private
    {
        if (account.closer == Closer.User && !accepted) {
            _hold(9, got == 0, "a closing user is paid later than the other side");
        }
        uint256 bonus = bond - channels.hubOf(account.params.hub).bond;
        got += _coming(account, state.epoch);
        if (account.dispute.penalized && account.closer == Closer.User) {
            _hold(2, got == 0, "a cheating user gets nothing");
            _hold(2, bonus == 0, "a cheating user costs no bond");
            return;
        }
        if (account.dispute.penalized) _hold(2, bonus <= PENALTY_CAP, "a cheating hub pays at most its cap beyond");
        else _hold(3, bonus == 0, "who did not cheat forfeits no bond");
        // A post that nobody answered settles as it stands: for those only the sums are kept.
        if (state.version != _newest(account).version) return;
        uint128 shown = account.dispute.creditMax > state.credited ? account.dispute.creditMax : state.credited;
        uint256 entitled = _entitled(account) + shown - account.credit;
        bonus -= bonus * account.params.bountyBps / 10_000;
        _hold(2, account.withdrawn + got >= entitled, "the user has its newest balance");
        _hold(5, account.withdrawn + got == entitled + bonus, "the same in whatever order things came");
    }

    /// What an ended epoch will still pay its user, locks aside.
    function _coming(Account storage account, uint32 epoch) private view returns (uint256) {
        (uint256 late,, Closer closer, uint256 owed,) = channels.pendingOf(account.id, epoch);
        return closer == Closer.Hub ? owed : late + owed;
    }

    function _remember(Account storage account, State memory state) private {
        Ended storage past = ended.push();
        past.account = account.params.hub == vaultHub ? 0 : 2;
        if (!account.params.custodial) ++past.account;
        past.epoch = state.epoch;
        past.closedVersion = account.dispute.closedVersion;
        past.newest = _newest(account);
        past.userLate = account.closer == Closer.User;
        if (state.hubLocked == 0) return;
        past.locked = true;
        (,,,, bytes32 list) = channels.pendingOf(account.id, state.epoch);
        Lock[] memory locks = _locksOf(state.hubLocked, true);
        if (Types.hash(locks) != state.locksHash) locks = _locksOf(state.hubLocked, false);
        past.lock = locks[0];
        // The reserve is what the funds allowed: find it by the hash the contract keeps.
        past.reserve = _reserveOf(list, state, account.params.hub);
        past.short = state.hubLocked - past.reserve;
    }

    function _reserveOf(bytes32 list, State memory state, address hub) private view returns (uint256) {
        if (list == Types.lockList(state.locksHash, state.hubLocked, 0)) return state.hubLocked;
        // Short: everything but what other debts show is missing.
        uint256 others = this.owedInParts(hub == vaultHub);
        // `ended` holds the new entry already, so its own debt is in `others`.
        uint256 short = channels.hubOf(hub).owed - others;
        bytes32 expected = Types.lockList(state.locksHash, state.hubLocked - short, short);
        vm.assertEq(list, expected, "the list is what was recorded");
        return state.hubLocked - short;
    }

    function agree(uint256 seed) external counted("agree") {
        Account storage account = _account(seed);
        CoopSettlement memory agreement;
        agreement.withdrawn = account.withdrawn;
        agreement.deposited = account.deposited;
        agreement.userAmount = uint96(_entitled(account) - account.withdrawn);
        agreement.validUntil = uint40(block.timestamp);
        State memory newest = _newest(account);
        bytes32 structHash = Types.coopSettle(
            account.id,
            newest.epoch,
            agreement.withdrawn,
            agreement.deposited,
            agreement.userAmount,
            agreement.validUntil
        );
        agreement.hubSignature = _signedBy(HUB_KEY, structHash);
        agreement.userSignature = _signedBy(_userKey(account.params), structHash);
        uint256 supply = _supply();
        channels.coopSettle(account.params, agreement);
        if (account.params.hub == mintHub) mintedOut += _supply() - supply;
        Ended storage past = ended.push();
        past.account = seed % ACCOUNTS;
        past.epoch = newest.epoch;
        _restart(account);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                        CLAIMS
    //////////////////////////////////////////////////////////////////////////*/

    function claim(uint256 seed) external counted("claim") {
        if (ended.length == 0) return;
        Ended storage past = ended[seed % ended.length];
        Account storage account = accounts[past.account];
        (, uint256 dueAt,, uint256 owed,) = channels.pendingOf(account.id, past.epoch);
        uint256 supply = _supply();
        if (dueAt != 0) {
            if (block.timestamp < dueAt) vm.warp(dueAt);
            channels.claimDelayed(account.params, past.epoch);
        }
        if (owed != 0 && _funds(account.params.hub) != 0) channels.payOwed(account.params, past.epoch);
        if (account.params.hub == mintHub) mintedOut += _supply() - supply;
    }

    /// The first closing user from a random place on that posted a revoked state and still waits.
    function _lateCheat(uint256 seed) private view returns (bool, uint256) {
        for (uint256 i = 0; i < ended.length; ++i) {
            uint256 place = (seed % ended.length + i) % ended.length;
            Ended storage past = ended[place];
            if (!past.userLate || past.newest.ackVersion <= past.closedVersion) continue;
            (, uint256 dueAt,,,) = channels.pendingOf(accounts[past.account].id, past.epoch);
            if (dueAt != 0) return (true, place);
        }
        return (false, 0);
    }

    /// A proof that comes after the settlement, while the closing user still waits.
    function accuseLate(uint256 seed) external counted("accuseLate") {
        (bool found, uint256 place) = _lateCheat(seed);
        if (!found) return;
        Ended storage past = ended[place];
        Account storage account = accounts[past.account];
        Evidence memory evidence;
        evidence.state = past.newest;
        evidence.attestation = _direct(_userKey(account.params), channels.domainSeparator(), past.newest);
        uint256 supply = _supply();
        uint256 before = _balance(account.params.user);
        Dispute memory none;
        channels.penalize(account.params, past.epoch, none, evidence);
        (uint256 late,,,,) = channels.pendingOf(account.id, past.epoch);
        _hold(2, late == 0 && _balance(account.params.user) == before, "a user proved a cheat late gets nothing");
        if (account.params.hub == mintHub) mintedOut += _supply() - supply;
    }

    /// The first list from a random place on that is still there.
    function unlock(uint256 seed) external counted("unlock") {
        uint256 tried;
        while (tried < ended.length && !ended[(seed % ended.length + tried) % ended.length].locked) {
            ++tried;
        }
        if (tried == ended.length) return;
        Ended storage past = ended[(seed % ended.length + tried) % ended.length];
        Account storage account = accounts[past.account];
        bool known = past.lock.expiry == type(uint40).max;
        if (known) {
            bytes32[] memory preimages = new bytes32[](1);
            preimages[0] = KNOWN;
            channels.registerPreimages(preimages);
        }
        LockList memory list = LockList(new Lock[](1), past.reserve, past.short);
        list.locks[0] = past.lock;
        (,,, uint256 owedBefore,) = channels.pendingOf(account.id, past.epoch);
        uint256 before = _balance(account.params.user);
        uint256 supply = _supply();
        channels.unlock(account.params, past.epoch, list);
        (,,, uint256 owedAfter,) = channels.pendingOf(account.id, past.epoch);
        uint256 got = _balance(account.params.user) - before + owedAfter - owedBefore;
        _hold(6, got == (known ? past.lock.amount : 0), "a lock ends on the right side");
        if (account.params.hub == mintHub) mintedOut += _supply() - supply;
        past.locked = false;
        (bool again,) = address(channels).call(abi.encodeCall(channels.unlock, (account.params, past.epoch, list)));
        _hold(6, !again, "a lock ends once");
    }

    function _supply() private view returns (uint256) {
        (, bytes memory supply) = asset.staticcall(abi.encodeWithSignature("totalSupply()"));
        return abi.decode(supply, (uint256));
    }
}
