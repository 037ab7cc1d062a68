//! Commands from the broker become rows: the inbox and the command in one transaction.

use crate::store::commands::{self, NewCommand};
use crate::store::messages;
use crate::worker::Worker;
use chain_messages::{CloseCommand, Command, Envelope, WithdrawCommand};
use hub_core::eip712::Domain;
use hub_core::{Hash32, Typed as _, signature};
use runtime::amqp::{Outcome, Received};

/// Stores a command. What can never be executed is dead at once.
pub async fn receive(worker: &Worker, message: Received) -> Outcome {
    let envelope: Envelope<Command> = match serde_json::from_slice(&message.body) {
        Ok(envelope) => envelope,
        Err(error) => return dead(worker, "unknown", format!("not a command: {error}")),
    };
    let (kind, hub) = match &envelope.body {
        Command::FundVault { hub, .. } => ("fund_vault", *hub),
        Command::Withdraw(command) => ("withdraw", command.params.hub),
        Command::Close(command) => ("close", command.proof.channel_params.hub),
    };
    if worker.hub(hub).is_none() {
        return dead(worker, kind, format!("hub {hub} is not served here"));
    }
    let digest = match &envelope.body {
        Command::FundVault { .. } => None,
        Command::Withdraw(command) => match check(command, &worker.chain.domain()) {
            Ok(digest) => Some(digest),
            Err(reason) => return dead(worker, kind, reason),
        },
        Command::Close(command) => match check_close(command, &worker.chain.domain()) {
            Ok(digest) => Some(digest),
            Err(reason) => return dead(worker, kind, reason),
        },
    };
    match store(worker, &envelope, digest).await {
        Ok(stored) => {
            worker.count_command(kind, if stored { "received" } else { "repeated" });
            if stored {
                tracing::info!(correlation_id = envelope.correlation_id, command = %envelope.id, kind, "planned");
                worker.wake.notify_one();
            } else {
                worker.broker_metrics.duplicates.inc();
            }
            Outcome::Ack
        }
        Err(error) => Outcome::Requeue(error.to_string()),
    }
}

async fn store(
    worker: &Worker,
    envelope: &Envelope<Command>,
    digest: Option<Hash32>,
) -> sqlx::Result<bool> {
    let now = runtime::clock::now();
    let mut tx = worker.pool.begin().await?;
    if !messages::receive(&mut tx, envelope.id, now).await? {
        return Ok(false);
    }
    let new = NewCommand {
        id: envelope.id,
        command: &envelope.body,
        digest,
        correlation_id: &envelope.correlation_id,
    };
    let stored = commands::insert(&mut tx, new, now).await?;
    tx.commit().await?;
    Ok(stored)
}

/// Whether the contract can accept it as far as signatures go; returns what both sides signed.
fn check(command: &WithdrawCommand, domain: &Domain) -> Result<Hash32, String> {
    let id = command.params.channel_id(domain);
    if id != command.withdraw.channel_id {
        return Err(format!("the parameters are those of channel {id}"));
    }
    let digest = domain.digest(&command.withdraw);
    for (side, signed, signer) in [
        ("hub", &command.hub_signature, command.params.hub_signer),
        ("user", &command.user_signature, command.params.user_signer),
    ] {
        signature::verify(digest, signed, signer)
            .map_err(|error| format!("signature of the {side} side: {error}"))?;
    }
    Ok(digest)
}

/// Whether the contract can accept a close as far as signatures go; returns what its side signed.
fn check_close(command: &CloseCommand, domain: &Domain) -> Result<Hash32, String> {
    let (proof, intent) = (&command.proof, &command.intent);
    proof.verify().map_err(|error| error.to_string())?;
    let (params, state) = (&proof.channel_params, &proof.state_typed_data.message);
    if params.channel_id(domain) != state.channel_id {
        return Err("the proof is of another contract".into());
    }
    let named = (intent.channel_id, intent.epoch, intent.state_hash);
    if named != (state.channel_id, state.epoch, state.hash_struct()) {
        return Err("the intent is about another state".into());
    }
    let digest = domain.digest(intent);
    let signer = signature::recover(digest, &command.signature).map_err(|e| e.to_string())?;
    if signer != params.user_signer && signer != params.hub_signer {
        return Err(format!("{signer} is no side of the channel"));
    }
    Ok(digest)
}

fn dead(worker: &Worker, kind: &str, reason: String) -> Outcome {
    worker.count_command(kind, "refused");
    Outcome::Dead(reason)
}
