//! Makes a reconciliation run for the API.

use crate::api::reconciliation::Findings;
use hub_core::Address;
use sqlx::PgPool;

/// Compares ledger, channels and chain.
pub async fn make(
    recon: Option<PgPool>,
    chain_rpc: Option<String>,
    _token: Address,
    _channels: Address,
) -> anyhow::Result<Findings> {
    let _pool = recon.ok_or_else(|| {
        anyhow::anyhow!("this service has no RECON_DATABASE_URL; set it and start a run again")
    })?;
    let _rpc = chain_rpc.ok_or_else(|| {
        anyhow::anyhow!("this service has no CHAIN_RPC; set it and start a run again")
    })?;
    anyhow::bail!("reconciliation is not part of this build")
}
