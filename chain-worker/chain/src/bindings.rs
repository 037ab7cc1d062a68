//! What we use of the contracts' interfaces. Enums are their numbers. A test below holds it to the
//! artefacts, whose creation code is also here.

#![allow(missing_docs, clippy::too_many_arguments)]

use alloy::json_abi::JsonAbi;
use alloy::primitives::{B256, Bytes};
use alloy::sol;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::LazyLock;

sol! {
    #[sol(abi)]
    #[derive(Debug)]
    interface HubChannels {
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
        struct StateBatch {
            bytes32 root;
            uint8 depth;
            uint64 batchId;
            bytes32 prevRoot;
            address hub;
        }
        struct Attestation {
            StateBatch batch;
            uint256 leafIndex;
            bytes32[] siblings;
            bytes signature;
        }
        struct CoSigned {
            State state;
            Attestation hub;
            Attestation user;
        }
        struct Dispute {
            bytes32 stateHash;
            uint48 version;
            uint48 closedVersion;
            uint128 creditMax;
            bool penalized;
            address bountyTo;
        }
        struct CloseIntent {
            uint40 validUntil;
            bytes signature;
        }
        struct Credit {
            uint128 cumulative;
            bytes signature;
        }
        struct Lock {
            bytes32 id;
            uint8 kind;
            bool userPays;
            uint96 amount;
            uint40 expiry;
            bytes32 condition;
            uint64 total;
        }
        struct LockList {
            Lock[] locks;
            uint256 reserve;
            uint256 short;
        }
        struct Evidence {
            State state;
            Attestation attestation;
            uint48 revokedVersion;
            bytes revoke;
        }
        struct CoopSettlement {
            uint128 withdrawn;
            uint128 deposited;
            uint96 userAmount;
            uint40 validUntil;
            bytes hubSignature;
            bytes userSignature;
        }
        struct Meter {
            address signer;
            bytes32 terms;
            uint64 delivered;
            bytes signature;
        }
        struct Cheque {
            address signer;
            bytes32 terms;
            address beneficiary;
            uint128 cumulative;
            bytes signature;
        }
        struct HubRules {
            uint8 mode;
            uint32 minChallengePeriod;
            uint32 maxChallengePeriod;
            uint96 penaltyCap;
            bool operatorPays;
        }
        struct HubView {
            HubRules rules;
            uint256 funds;
            uint256 owed;
            uint256 bond;
            uint256 announcedAmount;
            uint256 announcedAt;
            string uri;
        }
        struct ChannelView {
            uint32 epoch;
            uint128 withdrawn;
            uint128 deposited;
            uint96 collateral;
            uint40 deadline;
            uint8 status;
            uint8 closer;
            bytes32 disputeHash;
        }

        function registerHub(HubRules rules, address signer, uint256 bond, string uri) external;
        function addHubSigner(address signer) external;
        function fundVault(address hub, uint256 amount) external;
        function allowMint(address hub, uint256 amount) external;
        function deposit(ChannelParams params, uint256 amount) external;
        function withdraw(Withdrawal item) external;
        function batchWithdraw(Withdrawal[] items) external returns (uint256 paid);
        function batchCollateral(bytes32[] channelIds, uint96[] amounts) external;
        function batch(bytes[] calls) external returns (uint256 done);
        function close(
            ChannelParams params, CoSigned posted, CloseIntent intent, Credit credit
        ) external;
        function challenge(ChannelParams params, Dispute dispute, CoSigned newer) external;
        function addCredit(ChannelParams params, Dispute dispute, Credit credit) external;
        function penalize(
            ChannelParams params, uint32 epoch, Dispute dispute, Evidence evidence
        ) external;
        function acceptClose(
            ChannelParams params, Dispute dispute, State state, bytes signature
        ) external;
        function settle(ChannelParams params, Dispute dispute, State state) external;
        function coopSettle(ChannelParams params, CoopSettlement agreement) external;
        function proveEquivocation(
            ChannelParams params, State first, Attestation firstByHub,
            State second, Attestation secondByHub
        ) external;
        function claimDelayed(ChannelParams params, uint32 epoch) external;
        function payOwed(ChannelParams params, uint32 epoch) external;
        function claimReclaim(address account, address to) external;
        function registerPreimages(bytes32[] preimages) external;
        function showMeter(Meter meter) external;
        function unlock(ChannelParams params, uint32 epoch, LockList list) external;
        function cashCheque(
            ChannelParams params, uint32 epoch, LockList list, uint256 index, Cheque cheque
        ) external;
        function token() external view returns (address);
        function hubOf(address hub) external view returns (HubView view_);
        function isHubSigner(address hub, address signer) external view returns (bool);
        function channelIdOf(ChannelParams params) external view returns (bytes32);
        function channelOf(bytes32 channelId) external view returns (ChannelView view_);
        function pendingOf(bytes32 channelId, uint32 epoch) external view returns (
            uint256 amount, uint256 dueAt, uint8 closer, uint256 owed, bytes32 lockList
        );
        function reclaimable(address account) external view returns (uint256);
        function preimageTime(bytes32 hash) external view returns (uint256);
        function deliveredOf(bytes32 orderId) external view returns (uint256);

        event Opened(
            bytes32 indexed channelId, address indexed hub, address indexed user,
            ChannelParams params
        );
        event Deposited(
            bytes32 indexed channelId, address indexed hub, address indexed from,
            uint32 epoch, uint256 amount, uint256 depositedAfter
        );
        event Withdrawn(
            bytes32 indexed channelId, address indexed hub, bytes32 indexed requestId,
            uint32 epoch, address to, uint256 amount, uint256 withdrawnAfter
        );
        event WithdrawSkipped(
            bytes32 indexed channelId, address indexed hub, bytes32 indexed requestId,
            uint256 index, uint8 fault
        );
        event Closed(
            bytes32 indexed channelId, address indexed hub,
            State state, uint8 closer, uint128 creditMax, uint40 deadline
        );
        event Challenged(
            bytes32 indexed channelId, address indexed hub,
            State state, bool penalized, address challenger
        );
        event CreditAdded(bytes32 indexed channelId, address indexed hub, uint128 creditMax);
        event Penalized(
            bytes32 indexed channelId, address indexed hub,
            uint48 closedVersion, address bountyTo
        );
        event DelayedForfeited(
            bytes32 indexed channelId, address indexed hub,
            uint32 epoch, uint256 amount, uint256 bounty, address bountyTo
        );
        event EquivocationProved(
            bytes32 indexed channelId, address indexed hub,
            uint32 epoch, uint48 version, uint256 userBonus, uint256 bounty, address bountyTo
        );
        event CoopSettled(
            bytes32 indexed channelId, address indexed hub,
            uint32 epoch, uint256 userPay, uint256 owed
        );
        event Settled(
            bytes32 indexed channelId, address indexed hub,
            uint32 epoch, uint48 version, bool penalized, uint256 userPay, uint256 userBonus,
            uint256 bounty, address bountyTo, uint256 lockReserve, uint256 owed, uint40 payAt
        );
        event DelayedPaid(
            bytes32 indexed channelId, address indexed hub,
            uint32 epoch, address to, uint256 amount
        );
        event Bounced(
            bytes32 indexed channelId, address indexed hub, uint32 epoch, uint256 amount
        );
        event OwedPaid(
            bytes32 indexed channelId, address indexed hub,
            uint32 epoch, uint256 amount, uint256 left
        );
        event Reclaimable(address indexed account, uint256 amount, bool unminted);
        event Reclaimed(address indexed account, address to, uint256 amount);
        event PreimageRegistered(bytes32 indexed hash, bytes32 preimage);
        event MeterShown(bytes32 indexed orderId, uint64 delivered);
        event Unlocked(
            bytes32 indexed channelId, address indexed hub,
            uint32 epoch, uint256 resolved, uint256 userPay, uint256 owed,
            uint256 reserve, uint256 short
        );
        event ChequeCashed(
            bytes32 indexed channelId, bytes32 indexed bookId, address indexed beneficiary,
            uint32 epoch, uint256 index, uint256 amount, uint256 reserve, uint256 short
        );
        event CallSkipped(uint256 index, bytes4 selector, bytes reason);
    }

    #[sol(abi)]
    #[derive(Debug)]
    interface Token {
        function balanceOf(address account) external view returns (uint256);
        function decimals() external view returns (uint8);
        function symbol() external view returns (string);
        function totalSupply() external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 value) external returns (bool);
        function transfer(address to, uint256 value) external returns (bool);
        function mint(address to, uint256 amount) external;
        function grantRole(bytes32 role, address account) external;
    }
}

/// A built contract.
#[derive(Deserialize)]
pub(crate) struct Artifact {
    pub(crate) abi: JsonAbi,
    pub(crate) bytecode: Bytes,
}

pub(crate) static HUB_CHANNELS: LazyLock<Artifact> = LazyLock::new(|| {
    read(include_str!(
        "../../../contracts/artifacts/HubChannels.json"
    ))
});
pub(crate) static TOKEN: LazyLock<Artifact> =
    LazyLock::new(|| read(include_str!("../../../contracts/artifacts/Token.json")));

/// Names of all events of `HubChannels` by their first topic.
pub(crate) static EVENT_NAMES: LazyLock<HashMap<B256, String>> = LazyLock::new(|| {
    HUB_CHANNELS
        .abi
        .events()
        .map(|event| (event.selector(), event.name.clone()))
        .collect()
});

/// Names of all errors of `HubChannels` by their selector.
pub(crate) static ERROR_NAMES: LazyLock<HashMap<[u8; 4], String>> = LazyLock::new(|| {
    HUB_CHANNELS
        .abi
        .errors()
        .map(|error| (error.selector().0, error.name.clone()))
        .collect()
});

#[allow(clippy::expect_used, reason = "compiled in; a test reads both")]
fn read(json: &str) -> Artifact {
    serde_json::from_str(json).expect("an artefact of the build")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn functions(abi: &JsonAbi) -> BTreeSet<String> {
        abi.functions()
            .map(|f| f.signature_with_outputs())
            .collect()
    }

    #[test]
    fn everything_we_call_and_decode_is_in_the_artefacts_with_the_same_types() {
        let channels = HubChannels::abi::contract();
        let token = Token::abi::contract();
        for (ours, theirs) in [(&channels, &HUB_CHANNELS.abi), (&token, &TOKEN.abi)] {
            let known = functions(theirs);
            for function in functions(ours) {
                assert!(known.contains(&function), "{function} not in {known:?}");
            }
            for event in ours.events() {
                let same = theirs.events().find(|other| other.name == event.name);
                let same = same.unwrap_or_else(|| panic!("no event {}", event.name));
                assert_eq!(event.full_signature(), same.full_signature());
            }
        }
        assert!(channels.functions().count() > 10 && channels.events().count() > 5);
    }
}
