// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// How a hub pays. Fixed at registration.
enum FundingMode {
    None,
    /// The contract mints; the hub has a mint allowance, and a deposit burns what it credits.
    Mint,
    /// The hub moves tokens in first.
    Vault
}

/// Open also stands for a channel the contract has never heard of: opening costs no transaction.
enum Status {
    Open,
    Closing
}

/// Who posted the closing state. `Exit` is the payout address of a custodial channel: it never forfeits.
enum Closer {
    None,
    Hub,
    User,
    Exit
}

/// Why a withdrawal was not paid.
enum WithdrawFault {
    None,
    ChannelParams,
    NotOpen,
    WrongEpoch,
    Expired,
    WrongTotal,
    Amount,
    Payee,
    FundsShort,
    HubSignature,
    UserSignature
}

/// Parameters of a channel. They never change: the channel id is the EIP-712 digest of this struct.
/// @param hub Operator account: owner of vault and bond.
/// @param hubSigner Key that signs for the hub's side; registered by `hub`.
/// @param user Payout address of the user's side.
/// @param userSigner Key that signs for the user's side: the custody key, or the user's own.
/// @param custodial True when `userSigner` is a custodian's key: then a close by `user` is an exit, which never forfeits.
/// @param capacity hub balance + user balance + locks, minor units, constant within an epoch.
/// @param challengePeriod Window for answering a close, seconds.
/// @param selfDelay Extra wait of a closer for its own payout, seconds.
/// @param penaltyCap Most that a cheating hub forfeits in this channel, minor units.
/// @param bountyBps Share of a forfeit that goes to who proved it, 1/10,000.
/// @param salt Tells apart several channels of the same parties.
struct ChannelParams {
    address hub;
    address hubSigner;
    address user;
    address userSigner;
    bool custodial;
    uint96 capacity;
    uint32 challengePeriod;
    uint32 selfDelay;
    uint96 penaltyCap;
    uint16 bountyBps;
    bytes32 salt;
}

/// One allocation of a channel.
/// @param ackVersion Version of the co-signed state this one was derived from.
/// @param hubLocked Sum of the locks paid by the hub's side; `userLocked` likewise.
/// @param withdrawn What left the user's balance for withdrawals in this epoch.
/// @param deposited Deposits of this epoch already folded into the balances.
/// @param credited Hub credits of this epoch already folded into the balances.
/// @param locksHash keccak256(abi.encode(Lock[])), zero for an empty list.
struct State {
    bytes32 channelId;
    uint32 epoch;
    uint48 version;
    uint48 ackVersion;
    uint96 hubBalance;
    uint96 userBalance;
    uint96 hubLocked;
    uint96 userLocked;
    uint128 withdrawn;
    uint128 deposited;
    uint128 credited;
    bytes32 locksHash;
    bytes32 transfersRoot;
}

/// Up to 2^depth states signed at once: `root` is the Merkle root over their struct hashes.
struct StateBatch {
    bytes32 root;
    uint8 depth;
    uint64 batchId;
    bytes32 prevRoot;
    address hub;
}

/// One side's consent to a state. With `batch.batchId` 0 the signature is over the state itself and
/// everything else is empty. Otherwise it is over the batch, and `siblings` has exactly `depth` entries.
/// An empty signature stands for the hub's when the batch is anchored.
struct Attestation {
    StateBatch batch;
    uint256 leafIndex;
    bytes32[] siblings;
    bytes signature;
}

/// A state with both sides' consent. `user.siblings` may be left empty when both sides signed the same batch.
struct CoSigned {
    State state;
    Attestation hub;
    Attestation user;
}

/// A dispute as the contract remembers it, by hash. Rebuilt from the events `Closed`, `Challenged`,
/// `CreditAdded` and `Penalized`.
struct Dispute {
    bytes32 stateHash;
    uint48 version;
    uint48 closedVersion;
    uint128 creditMax;
    bool penalized;
    address bountyTo;
}

/// Consent of a party to a close sent by somebody else. Empty signature: none.
struct CloseIntent {
    uint40 validUntil;
    bytes signature;
}

/// Newest cumulative promise of the hub to the user. Empty signature: none.
struct Credit {
    uint128 cumulative;
    bytes signature;
}

/// One withdrawal order with its consents.
/// @param prevTotal Withdrawn total of the epoch before this withdrawal: gives the order of withdrawals.
/// @param hubSignature May be empty when the operator account sends the transaction itself.
struct Withdrawal {
    ChannelParams params;
    uint32 epoch;
    uint128 prevTotal;
    uint96 amount;
    address to;
    uint40 validUntil;
    bytes32 requestId;
    bytes hubSignature;
    bytes userSignature;
}

/// Conditional payment inside a channel.
/// @param kind 1 hash, 2 metered, 3 cover.
/// @param userPays True when the user's side is the payer.
/// @param expiry Unix time from which on the payer may take it back.
/// @param condition sha256 of a 32-byte preimage, order id, or book id.
/// @param total Granules of a metered order, else 0.
struct Lock {
    bytes32 id;
    uint8 kind;
    bool userPays;
    uint96 amount;
    uint40 expiry;
    bytes32 condition;
    uint64 total;
}

/// A settled lock list as the contract remembers it, by hash. Rebuilt from the state and the events `Settled`,
/// `Unlocked` and `ChequeCashed`.
/// @param reserve Set aside for these locks.
/// @param short What the hub's funds could not cover when it was set aside.
struct LockList {
    Lock[] locks;
    uint256 reserve;
    uint256 short;
}

/// Proof that a closer had given up the version it posted. Empty `revoke`: the state counts.
struct Evidence {
    State state;
    Attestation attestation;
    uint48 revokedVersion;
    bytes revoke;
}

/// Agreement of both sides to end the epoch.
struct CoopSettlement {
    uint128 withdrawn;
    uint128 deposited;
    uint96 userAmount;
    uint40 validUntil;
    bytes hubSignature;
    bytes userSignature;
}

/// Granules of an order that its buyer confirms. The order id commits to the key that signs: hashStruct(Order).
struct Meter {
    address signer;
    bytes32 terms;
    uint64 delivered;
    bytes signature;
}

/// Cumulative promise out of a chequebook. The book id commits to the key that signs: hashStruct(Book).
struct Cheque {
    address signer;
    bytes32 terms;
    address beneficiary;
    uint128 cumulative;
    bytes signature;
}

/// EIP-712 struct hashes and digests of every signed message.
library Types {
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant CHANNEL_PARAMS_TYPEHASH = keccak256(
        "ChannelParams(address hub,address hubSigner,address user,address userSigner,bool custodial,uint96 capacity,uint32 challengePeriod,uint32 selfDelay,uint96 penaltyCap,uint16 bountyBps,bytes32 salt)"
    );
    bytes32 internal constant STATE_TYPEHASH = keccak256(
        "State(bytes32 channelId,uint32 epoch,uint48 version,uint48 ackVersion,uint96 hubBalance,uint96 userBalance,uint96 hubLocked,uint96 userLocked,uint128 withdrawn,uint128 deposited,uint128 credited,bytes32 locksHash,bytes32 transfersRoot)"
    );
    bytes32 internal constant STATE_BATCH_TYPEHASH =
        keccak256("StateBatch(bytes32 root,uint8 depth,uint64 batchId,bytes32 prevRoot,address hub)");
    bytes32 internal constant REVOKE_TYPEHASH = keccak256("Revoke(bytes32 channelId,uint32 epoch,uint48 version)");
    bytes32 internal constant CREDIT_TYPEHASH = keccak256("Credit(bytes32 channelId,uint32 epoch,uint128 cumulative)");
    bytes32 internal constant WITHDRAW_TYPEHASH = keccak256(
        "Withdraw(bytes32 channelId,uint32 epoch,uint128 prevTotal,uint96 amount,address to,uint40 validUntil,bytes32 requestId)"
    );
    bytes32 internal constant CLOSE_INTENT_TYPEHASH =
        keccak256("CloseIntent(bytes32 channelId,uint32 epoch,bytes32 stateHash,uint40 validUntil)");
    bytes32 internal constant ACCEPT_CLOSE_TYPEHASH =
        keccak256("AcceptClose(bytes32 channelId,uint32 epoch,bytes32 stateHash)");
    bytes32 internal constant COOP_SETTLE_TYPEHASH = keccak256(
        "CoopSettle(bytes32 channelId,uint32 epoch,uint128 withdrawn,uint128 deposited,uint96 userAmount,uint40 validUntil)"
    );
    bytes32 internal constant ORDER_TYPEHASH = keccak256("Order(address signer,bytes32 terms)");
    bytes32 internal constant METER_TYPEHASH = keccak256("Meter(bytes32 orderId,uint64 delivered)");
    bytes32 internal constant BOOK_TYPEHASH = keccak256("Book(address signer,bytes32 terms)");
    bytes32 internal constant CHEQUE_TYPEHASH =
        keccak256("Cheque(bytes32 bookId,address beneficiary,uint128 cumulative)");
    bytes32 internal constant LEG_TYPEHASH =
        keccak256("Leg(bytes32 operation,uint8 kind,uint96 amount,bytes32 counterparty)");

    /// Domain {name "HubChannels", version "1", chainId, verifyingContract}.
    function domainSeparator(uint256 chainId, address verifyingContract) internal pure returns (bytes32) {
        return
            keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("HubChannels"), keccak256("1"), chainId, verifyingContract));
    }

    /// What a key signs: 0x1901, domain separator, struct hash.
    function digest(bytes32 domain, bytes32 structHash) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, hex"1901")
            mstore(add(free, 0x02), domain)
            mstore(add(free, 0x22), structHash)
            result := keccak256(free, 0x42)
        }
    }

    function hash(ChannelParams memory params) internal pure returns (bytes32) {
        return keccak256(abi.encode(CHANNEL_PARAMS_TYPEHASH, params));
    }

    function hash(State memory state) internal pure returns (bytes32) {
        return keccak256(abi.encode(STATE_TYPEHASH, state));
    }

    function hash(StateBatch memory batch) internal pure returns (bytes32) {
        return keccak256(abi.encode(STATE_BATCH_TYPEHASH, batch));
    }

    /// Like `hash`, straight from calldata. Words with stray bits give a hash that nobody signs.
    function hashed(ChannelParams calldata params) internal pure returns (bytes32) {
        uint256 offset;
        assembly ("memory-safe") {
            offset := params
        }
        return _hashWords(CHANNEL_PARAMS_TYPEHASH, offset, 11 * 32);
    }

    /// Like `hash`, straight from calldata.
    function hashed(State calldata state) internal pure returns (bytes32) {
        uint256 offset;
        assembly ("memory-safe") {
            offset := state
        }
        return _hashWords(STATE_TYPEHASH, offset, 13 * 32);
    }

    /// Like `hash`, straight from calldata.
    function hashed(StateBatch calldata batch) internal pure returns (bytes32) {
        uint256 offset;
        assembly ("memory-safe") {
            offset := batch
        }
        return _hashWords(STATE_BATCH_TYPEHASH, offset, 5 * 32);
    }

    /// Like `hash`, straight from calldata.
    function hashed(Lock[] calldata locks) internal pure returns (bytes32 result) {
        if (locks.length == 0) return 0;
        assembly ("memory-safe") {
            let free := mload(0x40)
            let length := mul(locks.length, 0xe0)
            mstore(free, 0x20)
            mstore(add(free, 0x20), locks.length)
            calldatacopy(add(free, 0x40), locks.offset, length)
            result := keccak256(free, add(length, 0x40))
        }
    }

    function _hashWords(bytes32 typeHash, uint256 start, uint256 length) private pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            calldatacopy(add(free, 0x20), start, length)
            result := keccak256(free, add(length, 0x20))
        }
    }

    function revoke(bytes32 channelId, uint32 epoch, uint48 version) internal pure returns (bytes32) {
        return keccak256(abi.encode(REVOKE_TYPEHASH, channelId, epoch, version));
    }

    function credit(bytes32 channelId, uint32 epoch, uint128 cumulative) internal pure returns (bytes32) {
        return keccak256(abi.encode(CREDIT_TYPEHASH, channelId, epoch, cumulative));
    }

    function withdraw(
        bytes32 channelId,
        uint32 epoch,
        uint128 prevTotal,
        uint96 amount,
        address to,
        uint40 validUntil,
        bytes32 requestId
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(WITHDRAW_TYPEHASH, channelId, epoch, prevTotal, amount, to, validUntil, requestId));
    }

    /// Like `withdraw`, straight from calldata, where the signed fields stand side by side.
    function withdraw(bytes32 channelId, Withdrawal calldata item) internal pure returns (bytes32 result) {
        bytes32 typeHash = WITHDRAW_TYPEHASH;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            mstore(add(free, 0x20), channelId)
            // Six words from `epoch` to `requestId`, behind the eleven of the parameters.
            calldatacopy(add(free, 0x40), add(item, 0x160), 0xc0)
            result := keccak256(free, 0x100)
        }
    }

    function closeIntent(bytes32 channelId, uint32 epoch, bytes32 stateHash, uint40 validUntil)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(CLOSE_INTENT_TYPEHASH, channelId, epoch, stateHash, validUntil));
    }

    function acceptClose(bytes32 channelId, uint32 epoch, bytes32 stateHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACCEPT_CLOSE_TYPEHASH, channelId, epoch, stateHash));
    }

    function coopSettle(
        bytes32 channelId,
        uint32 epoch,
        uint128 withdrawn,
        uint128 deposited,
        uint96 userAmount,
        uint40 validUntil
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(COOP_SETTLE_TYPEHASH, channelId, epoch, withdrawn, deposited, userAmount, validUntil)
        );
    }

    /// One operation inside a state's `transfersRoot`; off-chain evidence only, hashed here so that both sides agree.
    function leg(bytes32 operation, uint8 kind, uint96 amount, bytes32 counterparty) internal pure returns (bytes32) {
        return keccak256(abi.encode(LEG_TYPEHASH, operation, kind, amount, counterparty));
    }

    /// Order id: what a metered lock names as its condition.
    function order(address signer, bytes32 terms) internal pure returns (bytes32) {
        return keccak256(abi.encode(ORDER_TYPEHASH, signer, terms));
    }

    function meter(bytes32 orderId, uint64 delivered) internal pure returns (bytes32) {
        return keccak256(abi.encode(METER_TYPEHASH, orderId, delivered));
    }

    /// Book id: what a cover lock names as its condition.
    function book(address signer, bytes32 terms) internal pure returns (bytes32) {
        return keccak256(abi.encode(BOOK_TYPEHASH, signer, terms));
    }

    function cheque(bytes32 bookId, address beneficiary, uint128 cumulative) internal pure returns (bytes32) {
        return keccak256(abi.encode(CHEQUE_TYPEHASH, bookId, beneficiary, cumulative));
    }

    /// Hash of a lock list; zero for an empty one.
    function hash(Lock[] memory locks) internal pure returns (bytes32) {
        return locks.length == 0 ? bytes32(0) : keccak256(abi.encode(locks));
    }

    /// How the contract remembers a dispute.
    function hash(Dispute memory dispute) internal pure returns (bytes32) {
        return keccak256(abi.encode(dispute));
    }

    /// Like `hash`, straight from calldata. Words with stray bits give a hash that nothing remembers.
    function hashed(Dispute calldata dispute) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, dispute, 0xc0)
            result := keccak256(free, 0xc0)
        }
    }

    /// How the contract remembers a settled lock list.
    function lockList(bytes32 locksHash, uint256 reserve, uint256 short) internal pure returns (bytes32) {
        return keccak256(abi.encode(locksHash, reserve, short));
    }
}
