//! `/v1/channels/{id}/states/{v}/proof`: what enforces a state on chain without us.

use super::Answer;
use super::call::Call;
use super::channels::{find, stored_state};
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::batches_read::{self, StoredBatch};
use actix_web::HttpResponse;
use hub_core::merkle::Tree;
use hub_core::proof::{ChannelProof, FORMAT, MerklePath, Over, Signatures, SignedBy, TypedData};
use hub_core::types::StateBatch;
use hub_core::{ChannelParams, Domain, State, Typed as _};

/// The file with which anybody checks and enforces a co-signed state.
#[utoipa::path(get, path = "/v1/channels/{id}/states/{version}/proof", tag = "Channels",
    params(("id" = String, Path), ("version" = String, Path, description = "A version, or latest")),
    responses((status = 200, body = Object, description = "channel-proof/1"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get(call: Call) -> Answer {
    let found = find(&call).await?;
    call.no_query()?;
    let stored = stored_state(&call, &found).await?;
    let batch = batches_read::get(&call.app.pool, stored.batch).await?;
    let batch = batch.ok_or_else(|| Problem::new(Code::StateNotFound))?;
    let newest = stored.state.version == found.newest.state.version;
    let params = found.account.params;
    let proof = build(&batch, &stored.state, params, found.domain, newest)
        .ok_or_else(|| Problem::internal(format!("batch {} lacks a state", stored.batch)))?;
    // What is handed out must convince others, so it has to convince us first.
    proof.verify().map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().json(proof))
}

/// The proof of a state of a batch; nothing when the batch has no such state.
pub fn build(
    batch: &StoredBatch,
    state: &State,
    params: ChannelParams,
    domain: Domain,
    newest: bool,
) -> Option<ChannelProof> {
    let index = batch.states.iter().position(|other| other == state)?;
    let leaves = batch
        .states
        .iter()
        .map(|state| state.hash_struct())
        .collect();
    let tree = Tree::new(leaves)?;
    let signed = |signer, signature| SignedBy {
        over: Over::Batch,
        signer,
        signature,
    };
    let message = StateBatch {
        root: batch.root,
        depth: batch.depth,
        batch_id: batch.batch_id,
        prev_root: batch.prev_root,
        hub: params.hub,
    };
    Some(ChannelProof {
        format: FORMAT.to_owned(),
        channel_params: params,
        state_typed_data: TypedData::new(domain, *state),
        batch_typed_data: TypedData::new(domain, message),
        newest,
        merkle: MerklePath {
            leaf_index: u32::try_from(index).ok()?,
            siblings: tree.path(index)?,
        },
        signatures: Signatures {
            hub: signed(params.hub_signer, batch.hub_signature),
            user: signed(params.user_signer, batch.user_signature),
        },
    })
}
