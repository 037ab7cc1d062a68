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
        function batchWithdraw(Withdrawal[] items) external returns (uint256 paid);
        function token() external view returns (address);
        function hubOf(address hub) external view returns (HubView view_);
        function isHubSigner(address hub, address signer) external view returns (bool);
        function channelIdOf(ChannelParams params) external view returns (bytes32);
        function channelOf(bytes32 channelId) external view returns (ChannelView view_);

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
        event CoopSettled(
            bytes32 indexed channelId, address indexed hub,
            uint32 epoch, uint256 userPay, uint256 owed
        );
        event Settled(
            bytes32 indexed channelId, address indexed hub,
            uint32 epoch, uint48 version, bool penalized, uint256 userPay, uint256 userBonus,
            uint256 bounty, address bountyTo, uint256 lockReserve, uint256 owed, uint40 payAt
        );
    }

    #[sol(abi)]
    #[derive(Debug)]
    interface Token {
        function balanceOf(address account) external view returns (uint256);
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
