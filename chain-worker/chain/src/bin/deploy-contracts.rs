//! Puts contracts and hubs on a local chain. Safe to run again.

use anyhow::Context as _;
use chain::deploy::{self, Deployment, NewHub, Windows};
use chain::{Chain, FundingMode, Node, Registration};
use clap::Parser;
use hub_core::{Address, Amount};
use signer::Signer;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Deploys Token and HubChannels, registers hubs, and writes where everything is. What is on the
/// chain already is left as it is; a new chain gets everything anew. Amounts in minor units.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// JSON-RPC of the chain.
    #[arg(long, env = "CHAIN_RPC")]
    rpc: String,
    /// Key file of the deployer, who pays for everything.
    #[arg(long, env = "DEPLOYER_KEY_FILE")]
    deployer_key_file: PathBuf,
    /// File that tells where the contracts are: read first, written in the end.
    #[arg(long, env = "DEPLOYMENT_FILE")]
    deployment_file: PathBuf,
    /// A hub: operator key file, hub signer address, `vault` or `mint`, URI. May be repeated.
    #[arg(long = "hub", value_name = "KEY_FILE,SIGNER,MODE,URI")]
    hubs: Vec<HubArg>,
    /// Shortest challenge window, seconds.
    #[arg(long, default_value_t = 60)]
    min_window_s: u32,
    /// Longest challenge window, seconds.
    #[arg(long, default_value_t = 604_800)]
    max_window_s: u32,
    /// The most a hub forfeits on one channel. Default: 10,000 tokens.
    #[arg(long, default_value = "10000000000000000000000")]
    penalty_cap: Amount,
    /// A hub's bond. Default: 1,000,000 tokens, 100 caps.
    #[arg(long, default_value = "1000000000000000000000000")]
    bond: Amount,
    /// First funds of a vault. Default: 1,000,000 tokens.
    #[arg(long, default_value = "1000000000000000000000000")]
    vault: Amount,
    /// What a hub in mint mode may create. Default: 10,000,000,000 tokens.
    #[arg(long, default_value = "10000000000000000000000000000")]
    mint_allowance: Amount,
    /// Tokens an operator keeps for later funding. Default: 10,000,000,000 tokens.
    #[arg(long, default_value = "10000000000000000000000000000")]
    operator_tokens: Amount,
    /// Native coin of an operator, for gas, in wei. Default: 100 coins.
    #[arg(long, default_value = "100000000000000000000")]
    operator_gas: Amount,
}

#[derive(Clone)]
struct HubArg {
    key_file: PathBuf,
    signer: Address,
    mode: FundingMode,
    uri: String,
}

impl FromStr for HubArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.splitn(4, ',').collect();
        let [key_file, signer, mode, uri] = parts[..] else {
            return Err("expected KEY_FILE,SIGNER,MODE,URI".into());
        };
        Ok(Self {
            key_file: key_file.into(),
            signer: Address::parse_checked(signer).map_err(|error| error.to_string())?,
            mode: match mode {
                "vault" => FundingMode::Vault,
                "mint" => FundingMode::Mint,
                _ => return Err(format!("the mode is vault or mint, not {mode:?}")),
            },
            uri: uri.into(),
        })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let node = Node::new(&args.rpc)?;
    let deployer = Signer::from_file(&args.deployer_key_file)?;
    let windows = Windows {
        min: args.min_window_s,
        max: args.max_window_s,
    };
    let deployment = match read(&args.deployment_file)? {
        Some(known) if known.exists(&node).await? => known,
        _ => deploy::deploy(&node, &deployer, windows).await?,
    };
    // Written before the hubs, so that a failure there does not deploy everything again.
    write(&args.deployment_file, &deployment)?;
    let chain = Chain::connect(node, deployment.token, deployment.channels).await?;
    for hub in &args.hubs {
        let hub = new_hub(&args, hub)?;
        deploy::register(&chain, &deployer, &hub)
            .await
            .with_context(|| format!("registering hub {}", hub.operator.address()))?;
    }
    println!("CHAIN_ID={}", deployment.chain_id);
    println!("TOKEN_ADDRESS={}", deployment.token.checksummed());
    println!("CHANNELS_ADDRESS={}", deployment.channels.checksummed());
    println!("DEPLOY_BLOCK={}", deployment.block);
    Ok(())
}

fn new_hub(args: &Args, hub: &HubArg) -> anyhow::Result<NewHub> {
    let vault = hub.mode == FundingMode::Vault;
    Ok(NewHub {
        operator: Signer::from_file(&hub.key_file)?,
        registration: Registration {
            mode: hub.mode,
            min_challenge_period: args.min_window_s,
            max_challenge_period: args.max_window_s,
            penalty_cap: args.penalty_cap,
            signer: hub.signer,
            bond: args.bond,
            uri: hub.uri.clone(),
        },
        gas: args.operator_gas,
        funds: if vault {
            args.vault
        } else {
            args.mint_allowance
        },
        tokens: if vault {
            args.operator_tokens
        } else {
            Amount::ZERO
        },
    })
}

fn read(path: &Path) -> anyhow::Result<Option<Deployment>> {
    if !path.exists() {
        return Ok(None);
    }
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
    let known = serde_json::from_str(&text)
        .with_context(|| format!("{shown} is no deployment; remove it to deploy anew"))?;
    Ok(Some(known))
}

/// In one step, so that no reader sees half a file.
fn write(path: &Path, deployment: &Deployment) -> anyhow::Result<()> {
    let next = path.with_extension("next");
    let text = serde_json::to_string_pretty(deployment)? + "\n";
    fs::write(&next, text).with_context(|| format!("writing {}", next.display()))?;
    fs::rename(&next, path).with_context(|| format!("writing {}", path.display()))
}
