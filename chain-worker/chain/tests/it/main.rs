//! The crate against a real chain.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod claims;
mod dispute;
mod scene;

use chain::deploy::{self, NewHub, Windows};
use chain::{At, Chain, ChainError, FundingMode, LogBody, Node, Registration, Wallet, calls};
use chain_messages::WithdrawCommand;
use hub_core::types::Withdraw;
use hub_core::{Address, Amount, ChannelParams, Hash32};
use signer::Signer;
use stack::{Anvil, AnvilOptions};

const WINDOWS: Windows = Windows {
    min: 60,
    max: 604_800,
};

fn key(byte: u8) -> Signer {
    Signer::from_bytes(&[byte; 32]).unwrap()
}

/// The first account of anvil's mnemonic, which has native coin.
fn deployer() -> Signer {
    let key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let bytes = hex::decode(key).unwrap();
    Signer::from_bytes(&bytes.try_into().unwrap()).unwrap()
}

fn hub(operator: u8, mode: FundingMode, funds: u128) -> NewHub {
    NewHub {
        operator: key(operator),
        registration: Registration {
            mode,
            min_challenge_period: 60,
            max_challenge_period: 3_600,
            penalty_cap: Amount::new(10),
            signer: key(operator + 1).address(),
            bond: Amount::new(1_000),
            uri: "http://127.0.0.1:1".into(),
        },
        gas: Amount::new(10_u128.pow(18)),
        funds: Amount::new(funds),
        tokens: Amount::new(5_000),
    }
}

fn params(operator: u8) -> ChannelParams {
    ChannelParams {
        hub: key(operator).address(),
        hub_signer: key(operator + 1).address(),
        user: key(9).address(),
        user_signer: key(9).address(),
        custodial: true,
        capacity: Amount::new(10_u128.pow(28)),
        challenge_period: 60,
        self_delay: 60,
        penalty_cap: Amount::new(10),
        bounty_bps: 500,
        salt: Hash32([3; 32]),
    }
}

/// A deployed chain with hub 11 in vault mode and hub 21 in mint mode.
async fn chain(anvil: &Anvil) -> Chain {
    let node = Node::new(&anvil.rpc_url()).unwrap();
    let place = deploy::deploy(&node, &deployer(), WINDOWS).await.unwrap();
    assert!(place.exists(&node).await.unwrap());
    let chain = Chain::connect(node, place.token, place.channels)
        .await
        .unwrap();
    for hub in [
        hub(11, FundingMode::Vault, 700),
        hub(21, FundingMode::Mint, 900),
    ] {
        // Twice: what is done is left as it is.
        for _ in 0..2 {
            deploy::register(&chain, &deployer(), &hub).await.unwrap();
        }
    }
    chain
}

#[tokio::test]
async fn hubs_are_registered_once_with_funds_bond_and_signer() {
    let anvil = Anvil::spawn(AnvilOptions::default()).await.unwrap();
    let chain = chain(&anvil).await;
    for (operator, mode, funds) in [(11, FundingMode::Vault, 700), (21, FundingMode::Mint, 900)] {
        let who = key(operator).address();
        let view = chain.hub(who, At::Latest).await.unwrap();
        assert_eq!(view.mode, Some(mode));
        assert_eq!(view.funds, Amount::new(funds));
        assert_eq!(view.bond, Amount::new(1_000));
        assert_eq!(view.owed, Amount::ZERO);
        let signer = key(operator + 1).address();
        assert!(chain.is_hub_signer(who, signer).await.unwrap());
        assert!(!chain.is_hub_signer(who, who).await.unwrap());
        let tokens = chain.balance_of(who, At::Latest).await.unwrap();
        assert_eq!(tokens, Amount::new(5_000));
    }
    let other = hub(11, FundingMode::Mint, 1);
    let refused = deploy::register(&chain, &deployer(), &other).await;
    assert!(matches!(refused, Err(ChainError::Failed { .. })));
}

#[tokio::test]
async fn deposits_and_withdrawals_are_paid_and_their_logs_decoded() {
    let anvil = Anvil::spawn(AnvilOptions::default()).await.unwrap();
    let chain = chain(&anvil).await;
    let operator = Wallet::new(chain.node().clone(), key(11));
    let channel = params(11);
    let id = channel.channel_id(&chain.domain());
    assert_eq!(chain.channel_id_of(&channel).await.unwrap(), id);

    let deposit = calls::deposit(chain.channels(), &channel, Amount::new(40));
    let first = operator.call(&deposit).await.unwrap().block;
    let payee = Address([0xaa; 20]);
    let withdraw = |prev_total, amount, order| {
        let withdraw = Withdraw {
            channel_id: id,
            epoch: 0,
            prev_total: Amount::new(prev_total),
            amount: Amount::new(amount),
            to: payee,
            valid_until: 4_000_000_000,
            request_id: Hash32([order; 32]),
        };
        WithdrawCommand {
            params: channel,
            withdraw,
            hub_signature: key(12).sign(&chain.domain(), &withdraw),
            user_signature: key(9).sign(&chain.domain(), &withdraw),
        }
    };
    let items = [withdraw(0, 25, 1), withdraw(0, 25, 1), withdraw(25, 5, 2)];
    let call = calls::batch_withdraw(chain.channels(), &items);
    let receipt = operator.call(&call).await.unwrap();
    assert!(receipt.gas_used < call.gas, "{} gas", receipt.gas_used);

    let logs = chain.logs(first, receipt.block).await.unwrap();
    let names = logs.iter().map(|log| match &log.body {
        LogBody::Opened { params, channel_id } => {
            assert_eq!((**params, *channel_id), (channel, id));
            "Opened".into()
        }
        LogBody::Deposited { amount, total, .. } => format!("deposited {amount} {total}"),
        LogBody::Withdrawn {
            amount, total, to, ..
        } => {
            assert_eq!(*to, payee);
            format!("withdrawn {amount} {total}")
        }
        LogBody::WithdrawSkipped { fault, .. } => format!("skipped {}", fault.name()),
        other => format!("{other:?}"),
    });
    let expected = [
        "Opened",
        "deposited 40 40",
        "withdrawn 25 25",
        "skipped wrong_total",
        "withdrawn 5 30",
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    assert_eq!(
        chain.balance_of(payee, At::Latest).await.unwrap(),
        Amount::new(30)
    );
    let view = chain.channel(id, At::Latest).await.unwrap();
    assert_eq!(
        (view.withdrawn, view.deposited),
        (Amount::new(30), Amount::new(40))
    );
    assert!(!view.closing);
    let before = chain.channel(id, At::Block(first)).await.unwrap();
    assert_eq!(before.withdrawn, Amount::ZERO);
}

#[tokio::test]
async fn contracts_that_are_not_there_or_do_not_belong_together_are_refused() {
    let anvil = Anvil::spawn(AnvilOptions::default()).await.unwrap();
    let node = Node::new(&anvil.rpc_url()).unwrap();
    let one = deploy::deploy(&node, &deployer(), WINDOWS).await.unwrap();
    let two = deploy::deploy(&node, &deployer(), WINDOWS).await.unwrap();
    for (token, channels) in [
        (one.token, two.channels),
        (one.channels, one.channels),
        (Address([1; 20]), one.channels),
        (one.token, Address([1; 20])),
    ] {
        let refused = Chain::connect(node.clone(), token, channels).await;
        assert!(
            matches!(refused, Err(ChainError::WrongChain(_))),
            "{refused:?}"
        );
    }
    let nowhere = Node::new("http://127.0.0.1:1").unwrap();
    assert!(matches!(
        nowhere.head().await,
        Err(ChainError::Unreachable { .. })
    ));
}

#[tokio::test]
async fn a_log_that_the_artefact_does_not_explain_is_an_error() {
    let anvil = Anvil::spawn(AnvilOptions::default()).await.unwrap();
    let node = Node::new(&anvil.rpc_url()).unwrap();
    let place = deploy::deploy(&node, &deployer(), WINDOWS).await.unwrap();
    let chain = Chain::connect(node.clone(), place.token, place.channels)
        .await
        .unwrap();
    // Code that logs one unknown topic, put in the contract's place behind our back.
    let code = "7faaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa60006000a1";
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"anvil_setCode","params":["{}","0x{code}"]}}"#,
        place.channels
    );
    let port = anvil.rpc_url().rsplit(':').next().unwrap().parse().unwrap();
    let limit = std::time::Duration::from_secs(5);
    stack::request(port, "POST", "/", &body, limit).unwrap();
    let wallet = Wallet::new(node, deployer());
    let receipt = wallet.pay(place.channels, Amount::ZERO).await.unwrap();
    let refused = chain.logs(receipt.block, receipt.block).await;
    assert!(
        matches!(refused, Err(ChainError::Undecodable { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_program_deploys_once_on_a_chain_and_again_on_a_new_one() {
    let dir = stack::TempDir::new().unwrap();
    let secret = |name: &str, bytes: [u8; 32]| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.path().join(name);
        std::fs::write(&path, hex::encode(bytes)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let admin = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let admin = secret("admin.key", hex::decode(admin).unwrap().try_into().unwrap());
    let hubs = [(11, "vault"), (21, "mint")].map(|(operator, mode)| {
        let file = secret(&format!("{mode}.key"), [operator; 32]);
        let signer = key(operator + 1).address();
        format!("--hub={file},{signer},{mode},http://127.0.0.1:1/{mode}")
    });
    let file = dir.path().join("deployment.json");
    let run = async |rpc: String| {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_deploy-contracts"))
            .args([
                format!("--rpc={rpc}"),
                format!("--deployer-key-file={admin}"),
            ])
            .arg(format!("--deployment-file={}", file.display()))
            .args(&hubs)
            .output()
            .await
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    let written = || -> deploy::Deployment {
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap()
    };
    let anvil = Anvil::spawn(AnvilOptions::default()).await.unwrap();
    let first = run(anvil.rpc_url()).await;
    let place = written();
    let node = Node::new(&anvil.rpc_url()).unwrap();
    let head = node.head().await.unwrap().number;
    assert_eq!(run(anvil.rpc_url()).await, first);
    assert_eq!(written(), place);
    assert_eq!(node.head().await.unwrap().number, head, "nothing was sent");
    assert!(first.contains(&format!("TOKEN_ADDRESS={}", place.token.checksummed())));
    let chain = Chain::connect(node, place.token, place.channels)
        .await
        .unwrap();
    let tokens = |whole: u128| Amount::new(whole * 10_u128.pow(18));
    let vault = chain.hub(key(11).address(), At::Latest).await.unwrap();
    assert_eq!(
        (vault.funds, vault.bond),
        (tokens(1_000_000), tokens(1_000_000))
    );
    let mint = chain.hub(key(21).address(), At::Latest).await.unwrap();
    assert_eq!(
        (mint.mode, mint.owed),
        (Some(FundingMode::Mint), Amount::ZERO)
    );
    assert_eq!(vault.uri, "http://127.0.0.1:1/vault");
    drop(anvil);

    let anvil = Anvil::spawn(AnvilOptions::default()).await.unwrap();
    run(anvil.rpc_url()).await;
    assert!(
        written()
            .exists(&Node::new(&anvil.rpc_url()).unwrap())
            .await
            .unwrap()
    );
}
