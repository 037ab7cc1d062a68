//! `acctl exit`: everything that a proof is worth, on chain, with nobody's help.

pub mod decide;
pub mod look;
pub mod say;

use crate::args::Exit;
use crate::commands::End;
use crate::config::Config;
use crate::dispute::material::{self, Material};
use crate::dispute::tell::{self, Unit};
use crate::dispute::{connect, keys};
use crate::progress::Progress;
use anyhow::{Context as _, bail};
use chain::calls::{Call, claims, dispute};
use chain::{At, Chain, ChainError, Wallet};
use decide::{Leave, Next, Role, Step};
use look::Sight;
use say::{Outcome, Said};
use std::time::Duration;

/// Tries of one step that the chain refuses or that does not get there: somebody else may have
/// been faster, and then the next look shows another step.
const TRIES: u32 = 5;

/// Runs the command.
///
/// # Errors
/// The files, the key or the chain can't be used, or a step fails again and again.
pub async fn run(config: &Config, args: &Exit, json: bool, quiet: bool) -> anyhow::Result<End> {
    let held = args
        .files
        .iter()
        .map(|file| material::read(file))
        .reduce(|one, other| one?.join(other?))
        .context("no proof file")??;
    let rpc = args.rpc.clone().or_else(|| config.get("CHAIN_RPC"));
    let rpc = rpc.context("no chain: name a node by --rpc, or set CHAIN_RPC")?;
    let signer = match keys::read(config, args.key_file.as_deref(), "EXIT_KEY") {
        Err(_) if args.plan && args.key_file.is_none() && config.get("EXIT_KEY").is_none() => None,
        other => Some(other?),
    };
    let chain = connect(&rpc, held.domain).await?;
    let id = chain.channel_id_of(&held.params).await?;
    if id != held.channel_id() {
        bail!(
            "wrong contract: {} computes another id for the channel",
            chain.channels().checksummed()
        );
    }
    let (decimals, symbol) = chain.unit().await?;
    let sender = signer.as_ref().map(signer::Signer::address);
    let exit = Run {
        role: Role::of(&held.params, sender.unwrap_or(held.params.user)),
        wallet: signer.map(|signer| Wallet::new(chain.node().clone(), signer).replacing()),
        unit: Unit { decimals, symbol },
        leave: Leave {
            accept_newer: args.accept_newer,
            old_state: args.old_state,
        },
        chain,
        held,
        args,
    };
    let mut said = Said::new(json);
    let outcome = exit.go(&mut said, quiet).await?;
    said.end(&exit.held, &outcome);
    Ok(match outcome {
        Outcome::Refused(_) => End::Differs,
        _ => End::Agrees,
    })
}

struct Run<'a> {
    chain: Chain,
    held: Material,
    role: Role,
    wallet: Option<Wallet>,
    unit: Unit,
    leave: Leave,
    args: &'a Exit,
}

impl Run<'_> {
    async fn go(&self, said: &mut Said, quiet: bool) -> anyhow::Result<Outcome> {
        let first = look::look(&self.chain, &self.held).await?;
        let next = decide::next(&self.held, self.role, &first, self.leave);
        said.situation(&self.held, self.role, &first, &self.unit);
        if self.args.plan {
            said.plan(&self.held, self.role, &first, &next, &self.unit);
            return Ok(match next {
                Next::Refuse(why) => Outcome::Refused(why),
                _ => Outcome::Planned,
            });
        }
        let mut progress = Progress::new(quiet);
        let (mut sight, mut failures) = (first, 0);
        loop {
            match decide::next(&self.held, self.role, &sight, self.leave) {
                Next::Refuse(why) => return Ok(Outcome::Refused(why)),
                Next::Done => return self.done(&sight).await,
                Next::Wait { until, what } if !self.args.watch => {
                    return Ok(Outcome::Waiting { until, what });
                }
                Next::Wait { until, what } => {
                    progress.update(|| say::waiting(until, what, sight.now()));
                    tokio::time::sleep(Duration::from_secs(self.args.poll.into())).await;
                }
                Next::Do(step) => {
                    progress.clear();
                    match self.send(&step, &sight, said).await {
                        Ok(()) => failures = 0,
                        Err(error) if failures + 1 < TRIES => {
                            failures += 1;
                            said.trouble(&step, &error);
                            tokio::time::sleep(Duration::from_millis(500)).await;
                        }
                        Err(error) => {
                            let text = format!("`{}` fails again and again", step.name());
                            return Err(error).context(text);
                        }
                    }
                }
            }
            sight = self.look(&mut progress).await?;
        }
    }

    /// Looks; with --watch it asks until there is an answer.
    async fn look(&self, progress: &mut Progress) -> anyhow::Result<Sight> {
        loop {
            match look::look(&self.chain, &self.held).await {
                Err(error @ ChainError::Unreachable { .. }) if self.args.watch => {
                    progress.update(|| error.to_string());
                    tokio::time::sleep(Duration::from_secs(self.args.poll.into())).await;
                }
                answer => return Ok(answer?),
            }
        }
    }

    async fn send(&self, step: &Step, sight: &Sight, said: &mut Said) -> anyhow::Result<()> {
        let Some(wallet) = &self.wallet else {
            bail!("no key: name a file by --key-file, or set EXIT_KEY");
        };
        if self.chain.node().gas_coin(wallet.address()).await? == 0 {
            bail!(
                "{} has no coin of the chain to pay for gas: send it some and run this again",
                wallet.address().checksummed()
            );
        }
        let Some(call) = self.call(step, sight) else {
            bail!("the chain changed meanwhile");
        };
        let receipt = wallet.call(&call).await?;
        let logs = self
            .chain
            .channel_logs(self.held.channel_id(), receipt.block, receipt.block)
            .await?;
        let lines = logs
            .iter()
            .filter_map(|log| tell::log(&log.body, self.held.params.user, &self.unit))
            .collect();
        let transaction = logs.first().map(|log| log.place.tx_hash);
        said.step(step.name(), receipt.block, transaction, lines);
        Ok(())
    }

    fn call(&self, step: &Step, sight: &Sight) -> Option<Call> {
        let (at, params, held) = (self.chain.channels(), &self.held.params, &self.held);
        let epoch = held.state().epoch;
        let running = sight.dispute.as_ref();
        Some(match step {
            Step::Register(preimages) => claims::register_preimages(at, preimages),
            Step::ShowMeter(meter) => claims::show_meter(at, meter),
            Step::Close => dispute::close(at, params, &held.held, None, held.credit.as_ref()),
            Step::Challenge => dispute::challenge(at, params, running?, &held.held),
            Step::AddCredit(credit) => dispute::add_credit(at, params, running?, credit),
            Step::Penalize(evidence) => {
                dispute::penalize(at, params, epoch, Some(running?), evidence)
            }
            Step::Settle => dispute::settle(at, params, running?),
            Step::Cash(place, cheque) => {
                let list = sight.list.as_ref()?;
                claims::cash_cheque(at, params, epoch, list, *place, cheque)
            }
            Step::Unlock => claims::unlock(at, params, epoch, sight.list.as_ref()?),
            Step::ClaimDelayed => claims::claim_delayed(at, params, epoch),
            Step::PayOwed => claims::pay_owed(at, params, epoch),
            Step::Reclaim => claims::claim_reclaim(at, params.user, params.user),
        })
    }

    async fn done(&self, sight: &Sight) -> anyhow::Result<Outcome> {
        let user = self.held.params.user;
        let holds = self.chain.balance_of(user, At::Latest).await?;
        // A list that is not ours to name can still hold something for the user.
        let unknown = sight.pending.lock_list != hub_core::Hash32::ZERO && sight.list.is_none();
        Ok(Outcome::Done {
            paid: say::paid(&sight.logs, user, self.held.state().epoch),
            holds,
            unit: self.unit.clone(),
            unknown_locks: unknown.then(|| sight.settled.map_or(0, |paid| paid.version)),
        })
    }
}
