//! `/v1/channels/{id}/states/{v}/proof`: what enforces a state on chain without us.

use super::Answer;
use super::call::Call;
use super::channels::{find, stored_state};
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::batches_read::{self, Proved};
use actix_web::HttpResponse;
use hub_core::proof::{ChannelProof, FORMAT, MerklePath, Over, Signatures, SignedBy, TypedData};
use hub_core::types::StateBatch;
use hub_core::{ChannelParams, Domain, State};

/// The file with which anybody checks and enforces a co-signed state.
#[utoipa::path(get, path = "/v1/channels/{id}/states/{version}/proof", tag = "Channels",
    params(("id" = String, Path), ("version" = String, Path, description = "A version, or latest")),
    responses((status = 200, body = Object, description = "channel-proof/1"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get(call: Call) -> Answer {
    let found = find(&call).await?;
    call.no_query()?;
    let stored = stored_state(&call, &found).await?;
    let proved = batches_read::proved(&call.app.pool, stored.batch, &stored.state).await?;
    let proved = proved.ok_or_else(|| Problem::new(Code::StateNotFound))?;
    let newest = stored.state.version == found.newest.state.version;
    let params = found.account.params;
    let proof = build(proved, &stored.state, params, found.domain, newest);
    // What is handed out must convince others, so it has to convince us first.
    proof.verify().map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().json(proof))
}

/// The file that proves a state.
pub fn build(
    proved: Proved,
    state: &State,
    params: ChannelParams,
    domain: Domain,
    newest: bool,
) -> ChannelProof {
    let signed = |signer, signature| SignedBy {
        over: Over::Batch,
        signer,
        signature,
    };
    let message = StateBatch {
        root: proved.root,
        depth: proved.depth,
        batch_id: proved.batch_id,
        prev_root: proved.prev_root,
        hub: params.hub,
    };
    ChannelProof {
        format: FORMAT.to_owned(),
        channel_params: params,
        state_typed_data: TypedData::new(domain, *state),
        batch_typed_data: TypedData::new(domain, message),
        newest,
        merkle: MerklePath {
            leaf_index: proved.leaf,
            siblings: proved.siblings,
        },
        signatures: Signatures {
            hub: signed(params.hub_signer, proved.hub_signature),
            user: signed(params.user_signer, proved.user_signature),
        },
    }
}
