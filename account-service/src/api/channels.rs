//! `/v1/channels/{id}` and the states it has been in.

use super::Answer;
use super::accounts::ReasonBody;
use super::call::Call;
use super::fields::Fields;
use super::page::{List, Page};
use super::views::time_text;
use crate::ids::IdKind;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::accounts::{self, Account, Lookup};
use crate::store::batches_read::{self, Newest, StoredState};
use crate::store::closing::{self, CloseOrder, Ordered};
use crate::store::hubs;
use actix_web::HttpResponse;
use hub_core::types::MAX_VERSION;
use hub_core::{
    Amount, ChannelId, ChannelParams, Domain, Epoch, Hash32, State, Typed as _, Version,
};
use serde::Serialize;
use utoipa::ToSchema;

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Channel)]
pub struct ChannelView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ChannelId,
    /// Its account.
    pub account_id: String,
    /// Its hub.
    pub hub_id: String,
    /// `open`, `frozen` (by an operator, or because its record was changed), `closing` (on chain) or
    /// `closed`.
    pub status: &'static str,
    /// Its life.
    pub epoch: Epoch,
    /// Version of its newest co-signed state.
    pub version: Version,
    /// Sum of all balances, in minor units.
    #[schema(value_type = String)]
    pub capacity: Amount,
    /// What the hub holds free.
    #[schema(value_type = String)]
    pub hub_balance: Amount,
    /// What the user holds free.
    #[schema(value_type = String)]
    pub user_balance: Amount,
    /// Sum of all locks.
    #[schema(value_type = String)]
    pub locked: Amount,
    /// What left for withdrawals in this epoch.
    #[schema(value_type = String)]
    pub withdrawn: Amount,
    /// Hash of the newest co-signed state.
    #[schema(value_type = String)]
    pub state_hash: Hash32,
    /// Its parameters.
    #[schema(value_type = Object)]
    pub params: ChannelParams,
    /// The domain everything is signed in.
    #[schema(value_type = Object)]
    pub domain: Domain,
    /// Where it is on chain.
    pub chain: ChannelChainView,
}

/// Where a channel is on chain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChannelChain)]
pub struct ChannelChainView {
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    #[schema(value_type = String)]
    pub contract: hub_core::Address,
    /// The newest final block known here.
    pub final_block: Option<u64>,
}

/// A channel with its account, as the caller may see them.
pub struct Found {
    /// Its newest state.
    pub newest: Newest,
    /// Its account.
    pub account: Account,
    /// What its hub signs in.
    pub domain: Domain,
    /// The newest final block known of its hub.
    pub final_block: Option<u64>,
}

/// The channel in the path, if the caller may see it.
pub async fn find(call: &Call) -> Result<Found, Problem> {
    let caller = call.caller("channels:read").await?;
    let id = call.channel_id()?;
    let pool = &call.app.pool;
    let missing = || Problem::new(Code::ChannelNotFound);
    let newest = batches_read::newest(pool, id, caller.only_owner()).await?;
    let newest = newest.ok_or_else(missing)?;
    let wanted = Lookup {
        id: newest.account,
        owner: None,
    };
    let account = accounts::get(pool, wanted).await?.ok_or_else(missing)?;
    let known = hubs::list(pool).await?;
    let hub = known
        .into_iter()
        .find(|hub| hub.terms.hub_id == account.hub_id);
    let hub = hub.ok_or_else(|| Problem::internal(format!("hub of channel {id} is unknown")))?;
    Ok(Found {
        newest,
        account,
        domain: hub.terms.domain,
        final_block: hub.final_block,
    })
}

/// One channel.
#[utoipa::path(get, path = "/v1/channels/{id}", tag = "Channels", params(("id" = String, Path)),
    responses((status = 200, body = ChannelView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get(call: Call) -> Answer {
    let found = find(&call).await?;
    call.no_query()?;
    Ok(HttpResponse::Ok().json(view(&found)))
}

fn view(found: &Found) -> ChannelView {
    let state = &found.newest.state;
    let intact = state.hash_struct() == found.newest.state_hash;
    let locked = state.hub_locked.checked_add(state.user_locked);
    ChannelView {
        id: state.channel_id,
        account_id: IdKind::Account.text(found.account.id),
        hub_id: IdKind::Hub.text(found.account.hub_id),
        status: match found.newest.status {
            _ if !intact => "frozen",
            1 => "open",
            2 => "frozen",
            4 => "closing",
            _ => "closed",
        },
        epoch: state.epoch,
        version: state.version,
        capacity: found.account.params.capacity,
        hub_balance: state.hub_balance,
        user_balance: state.user_balance,
        locked: locked.unwrap_or(Amount::MAX),
        withdrawn: state.withdrawn,
        state_hash: found.newest.state_hash,
        params: found.account.params,
        domain: found.domain,
        chain: ChannelChainView {
            chain_id: found.domain.chain_id,
            contract: found.domain.verifying_contract,
            final_block: found.final_block,
        },
    }
}

/// A co-signed state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChannelState)]
pub struct StateView {
    /// Its version.
    pub version: Version,
    /// Its hash.
    #[schema(value_type = String)]
    pub state_hash: Hash32,
    /// Whether it is the newest.
    pub newest: bool,
    /// The state batch that carries its signatures.
    pub batch_id: String,
    /// When it was co-signed.
    pub signed_at: String,
    /// The state as it was signed.
    #[schema(value_type = Object)]
    pub state: State,
}

impl StateView {
    fn of(stored: &StoredState, newest: Version) -> Self {
        Self {
            version: stored.state.version,
            state_hash: stored.state.hash_struct(),
            newest: stored.state.version == newest,
            batch_id: IdKind::Batch.text(stored.batch),
            signed_at: time_text(stored.created_at),
            state: stored.state,
        }
    }
}

/// Co-signed states of a channel, oldest first.
#[utoipa::path(get, path = "/v1/channels/{id}/states", tag = "Channels",
    params(("id" = String, Path), ("from_version" = Option<u64>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<StateView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn states(call: Call) -> Answer {
    let caller = call.caller("channels:read").await?;
    let mut query = call.query()?;
    let page = Page::take(&call, &caller, "states", &mut query)?;
    let from = query.query_number("from_version", 0, MAX_VERSION);
    query.finish()?;
    let after = page
        .after
        .as_deref()
        .and_then(|text| text.parse::<Version>().ok());
    let found = find(&call).await?;
    let from = after.map_or(from.unwrap_or(0), |after| after.saturating_add(1));
    let rows = batches_read::states(&call.app.pool, found.account.id, from, page.rows()).await?;
    let newest = found.newest.state.version;
    Ok(page.answer(
        rows,
        |row| row.state.version.to_string(),
        |row| StateView::of(&row, newest),
    ))
}

/// One co-signed state: a version, or `latest`.
#[utoipa::path(get, path = "/v1/channels/{id}/states/{version}", tag = "Channels",
    params(("id" = String, Path), ("version" = String, Path, description = "A version, or latest")),
    responses((status = 200, body = StateView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn state(call: Call) -> Answer {
    let found = find(&call).await?;
    call.no_query()?;
    let stored = stored_state(&call, &found).await?;
    let view = StateView::of(&stored, found.newest.state.version);
    Ok(HttpResponse::Ok().json(view))
}

/// The state that the path names, from the batch that both parties signed: a head row that was
/// edited shows nothing here.
pub async fn stored_state(call: &Call, found: &Found) -> Result<StoredState, Problem> {
    let missing = || Problem::new(Code::StateNotFound);
    let text = call.path_part("version");
    let version = if text == "latest" {
        found.newest.state.version
    } else {
        let plain = text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit());
        let version = plain.then(|| text.parse().ok()).flatten();
        version.ok_or_else(|| {
            let message = "must be a whole number, or latest";
            Problem::field(Code::ValidationFailed, "version", message)
        })?
    };
    let rows = batches_read::states(&call.app.pool, found.account.id, version, 1).await?;
    let stored = rows.into_iter().next().ok_or_else(missing)?;
    if stored.state.version == version {
        Ok(stored)
    } else {
        Err(missing())
    }
}

/// How long the worker may take to post the state, in seconds: a close that does not come gives
/// the channel free again.
const CLOSE_VALIDITY_S: i64 = 3_600;

/// Closes a channel on chain with its newest state. Nothing moves in it any more until the
/// settlement, behind the challenge window, is final; then it is open again in the next epoch,
/// and what the account had was paid to its payout address. Ordering it again changes nothing.
#[utoipa::path(post, path = "/v1/channels/{id}/close", tag = "Channels",
    request_body = Option<super::accounts::ReasonBody>, params(("id" = String, Path)),
    responses((status = 202, body = ChannelView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn close(mut call: Call) -> Answer {
    let caller = call.caller("channels:close").await?;
    let channel = call.channel_id()?;
    let mut fields = Fields::new(call.optional_body().await?);
    let ReasonBody { reason } = ReasonBody::take(&mut fields);
    fields.finish()?;
    find(&call).await?;
    let now = runtime::clock::now();
    let order = CloseOrder {
        channel,
        owner: caller.only_owner(),
        valid_until: (now.unix_timestamp() + CLOSE_VALIDITY_S).cast_unsigned(),
        correlation_id: call.names.request_id.clone(),
    };
    let mut transaction = call.app.pool.begin().await?;
    match closing::order(&mut transaction, &order, now).await? {
        Ordered::Now => {
            transaction.commit().await?;
            tracing::info!(%channel, ?reason, request_id = order.correlation_id, key = %caller.key_id, "close ordered");
        }
        Ordered::Before => {}
        Ordered::Closed => return Err(Problem::new(Code::AccountClosed)),
        Ordered::Edited => return Err(Problem::new(Code::ChannelFrozen)),
        Ordered::Unknown => return Err(Problem::new(Code::ChannelNotFound)),
    }
    let found = find(&call).await?;
    Ok(HttpResponse::Accepted().json(view(&found)))
}
