//! `/v1/hubs`.

use super::Answer;
use super::call::Call;
use super::page::List;
use super::views::time_text;
use crate::ids::IdKind;
use crate::problem::ProblemBody;
use crate::store::hubs;
use actix_web::HttpResponse;
use hub_client::FundingMode;
use hub_core::{Address, Amount};
use serde::Serialize;
use utoipa::ToSchema;

/// A hub.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Hub)]
pub struct HubView {
    /// Its id.
    pub id: String,
    /// Whether it is connected now.
    pub connected: bool,
    /// The operator's account on chain.
    #[schema(value_type = String)]
    pub address: Address,
    /// The key that signs for it.
    #[schema(value_type = String)]
    pub signer: Address,
    /// The key that signs for custodial users.
    #[schema(value_type = String)]
    pub custody_signer: Address,
    /// `vault` or `mint`.
    pub funding_mode: &'static str,
    /// The chain.
    pub chain_id: u64,
    /// The channel contract.
    #[schema(value_type = String)]
    pub contract: Address,
    /// Its service, as account-service reaches it; null while not connected.
    pub endpoint: Option<String>,
    /// Capacity of its channels, in minor units.
    #[schema(value_type = String)]
    pub capacity: Amount,
    /// Seconds to answer a close.
    pub challenge_period_s: u32,
    /// Seconds the closer waits longer.
    pub self_delay_s: u32,
    /// The most it forfeits on one channel, in minor units.
    #[schema(value_type = String)]
    pub penalty_cap: Amount,
    /// What it takes.
    pub fees: HubFeesView,
    /// What it has.
    pub liquidity: HubLiquidityView,
    /// What it issues at most; null while not connected.
    pub limits: Option<HubLimitsView>,
    /// When it was last connected to.
    pub connected_at: String,
}

/// What a hub takes, in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HubFees)]
pub struct HubFeesView {
    /// For a transfer.
    #[schema(value_type = String)]
    pub transfer: Amount,
}

/// What a hub has, in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HubLiquidity)]
pub struct HubLiquidityView {
    /// What can be issued before funding is needed; null in mint mode, or while not connected.
    #[schema(value_type = Option<String>)]
    pub headroom: Option<Amount>,
    /// The newest final block known here.
    pub final_block: Option<u64>,
}

/// What a hub issues at most, in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HubLimits)]
pub struct HubLimitsView {
    /// In one order: `ISSUE_PER_ORDER`.
    #[schema(value_type = String)]
    pub issue_per_order: Amount,
    /// In any 60 minutes: `ISSUE_LIMIT`.
    #[schema(value_type = String)]
    pub issue_per_hour: Amount,
}

/// All hubs.
#[utoipa::path(get, path = "/v1/hubs", tag = "Hubs",
    responses((status = 200, body = List<HubView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(call: Call) -> Answer {
    call.caller("hubs:read").await?;
    call.query()?.finish()?;
    let app = &call.app;
    let connected = app.engine.hubs();
    let known = hubs::list(&app.pool).await?;
    let data = known
        .into_iter()
        .map(|hub| {
            let terms = hub.terms;
            let live = connected
                .iter()
                .find(|other| other.terms.hub_id == terms.hub_id);
            HubView {
                id: IdKind::Hub.text(terms.hub_id),
                connected: live.is_some(),
                address: terms.hub,
                signer: terms.hub_signer,
                custody_signer: terms.custody_signer,
                funding_mode: match terms.mode {
                    FundingMode::Vault => "vault",
                    FundingMode::Mint => "mint",
                },
                chain_id: terms.domain.chain_id,
                contract: terms.domain.verifying_contract,
                endpoint: live.map(|hub| hub.url.clone()),
                capacity: terms.capacity,
                challenge_period_s: terms.challenge_period,
                self_delay_s: terms.self_delay,
                penalty_cap: terms.penalty_cap,
                fees: HubFeesView {
                    transfer: Amount::ZERO,
                },
                liquidity: HubLiquidityView {
                    headroom: live.and_then(|hub| hub.headroom),
                    final_block: hub.final_block,
                },
                limits: live.and_then(|hub| hub.caps).map(|caps| HubLimitsView {
                    issue_per_order: caps.per_order,
                    issue_per_hour: caps.per_hour,
                }),
                connected_at: time_text(hub.connected_at),
            }
        })
        .collect();
    Ok(HttpResponse::Ok().json(List::<HubView> {
        data,
        next_cursor: None,
    }))
}
