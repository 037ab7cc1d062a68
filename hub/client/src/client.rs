//! The client of the hub's internal API.

use crate::wire::{
    BatchRequest, ChainEventsRequest, ChannelHead, CommittedPage, ErrorBody, FatesRequest, Hello,
    HubRefusal, ImportRequest, Imported, JournalEntry, Marks, SignedBatch, SignedOrders,
    SignedPage, Terms, Welcome, WithdrawRequest, WithdrawSigned,
};
use chain_messages::tower::{AttestedPage, ParamsPage, ParamsRequest};
use hub_core::{Address, ChannelId};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// How long an import may take: thousands of states, a statement each.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(60);

/// How a call to the hub failed.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The hub answered no: nothing happened there.
    #[error("hub refused: {0:?}")]
    Refused(HubRefusal),
    /// No answer, or one that can't be read. Whatever was asked for may have happened: ask
    /// again with the same request.
    #[error("hub did not answer: {0}")]
    Unknown(String),
}

/// The HTTP client can't be set up; a fault of the machine, not of the hub.
#[derive(Debug, thiserror::Error)]
#[error("HTTP client: {0}")]
pub struct BuildError(#[from] reqwest::Error);

/// A client bound to one hub.
#[derive(Debug, Clone)]
pub struct HubClient {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl HubClient {
    /// A client for `base` (for example `http://127.0.0.1:18082`) that waits at most `timeout`
    /// for an answer.
    pub fn new(base: &str, token: &str, timeout: Duration) -> Result<Self, BuildError> {
        Ok(Self {
            http: reqwest::Client::builder()
                .timeout(timeout)
                .tcp_nodelay(true)
                .no_proxy()
                .build()?,
            base: base.trim_end_matches('/').to_owned(),
            token: token.trim().to_owned(),
        })
    }

    /// What the hub signs channels on.
    pub async fn terms(&self) -> Result<Terms, HubError> {
        self.get("terms").await
    }

    /// Introduces a replica to the hub's session.
    pub async fn hello(&self, hello: &Hello) -> Result<Welcome, HubError> {
        self.post("hello", hello).await
    }

    /// Asks for a signature over a batch.
    pub async fn sign_batch(&self, request: &BatchRequest) -> Result<SignedBatch, HubError> {
        let frame = request
            .to_frame()
            .map_err(|error| HubError::Unknown(error.to_string()))?;
        self.send(self.http.post(self.url("batches")).body(frame))
            .await
    }

    /// Gives a restored hub what it lost.
    pub async fn import(&self, request: &ImportRequest) -> Result<Imported, HubError> {
        let post = self.http.post(self.url("import")).timeout(IMPORT_TIMEOUT);
        self.send(post.json(request)).await
    }

    /// Committed batches above `after`, with what an account database that was set back needs.
    pub async fn committed(&self, after: u64) -> Result<CommittedPage, HubError> {
        let get = self.http.get(self.url(&format!("committed?after={after}")));
        self.send(get.timeout(IMPORT_TIMEOUT)).await
    }

    /// The `Withdraw`s that the hub has signed for orders.
    pub async fn signed_orders(&self, request: &SignedOrders) -> Result<SignedPage, HubError> {
        self.post("signed-orders", request).await
    }

    /// Tells what became of batches.
    pub async fn fates(&self, request: &FatesRequest) -> Result<Marks, HubError> {
        self.post("fates", request).await
    }

    /// Asks for a signature over a `Withdraw`.
    pub async fn sign_withdraw(
        &self,
        request: &WithdrawRequest,
    ) -> Result<WithdrawSigned, HubError> {
        self.post("withdrawals", request).await
    }

    /// Reports final chain events.
    pub async fn chain_events(&self, request: &ChainEventsRequest) -> Result<Marks, HubError> {
        self.post("chain-events", request).await
    }

    /// Journal entries above `after`, oldest first.
    pub async fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalEntry>, HubError> {
        self.get(&format!("journal?after={after}&limit={limit}"))
            .await
    }

    /// Committed batches of a hub above `after`, oldest first. Account-service answers this and
    /// [`Self::params`] at the same place.
    pub async fn attestations(&self, hub: Address, after: u64) -> Result<AttestedPage, HubError> {
        self.get(&format!("attestations?hub={hub}&after={after}"))
            .await
    }

    /// The parameters of channels, as far as they are known there.
    pub async fn params(&self, request: &ParamsRequest) -> Result<ParamsPage, HubError> {
        self.post("params", request).await
    }

    /// One channel's head.
    pub async fn channel(&self, id: &ChannelId) -> Result<ChannelHead, HubError> {
        self.get(&format!("channels/{id}")).await
    }

    async fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T, HubError> {
        self.send(self.http.get(self.url(route))).await
    }

    async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        route: &str,
        body: &B,
    ) -> Result<T, HubError> {
        self.send(self.http.post(self.url(route)).json(body)).await
    }

    fn url(&self, route: &str) -> String {
        format!("{}/internal/v1/{route}", self.base)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, HubError> {
        let unknown = |error: reqwest::Error| HubError::Unknown(error.to_string());
        let response = request
            .bearer_auth(&self.token)
            .send()
            .await
            .map_err(unknown)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unknown)?;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| HubError::Unknown(format!("{status}: {error}")));
        }
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            // A fault or a stop may have come after the commit.
            Ok(body) if matches!(body.error, HubRefusal::Internal | HubRefusal::Unavailable) => {
                Err(HubError::Unknown(body.detail))
            }
            Ok(body) => Err(HubError::Refused(body.error)),
            Err(error) => Err(HubError::Unknown(format!("{status}: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::{Address, Amount, ChannelParams, Hash32};

    #[test]
    fn a_page_of_parameters_survives_the_way_and_a_damaged_one_is_refused() {
        let params = |n: u8| ChannelParams {
            hub: Address([1; 20]),
            hub_signer: Address([2; 20]),
            user: Address([3; 20]),
            user_signer: Address([4; 20]),
            custodial: true,
            capacity: Amount::new(100),
            challenge_period: 60,
            self_delay: 60,
            penalty_cap: Amount::new(1),
            bounty_bps: 500,
            salt: Hash32([n; 32]),
        };
        for page in [vec![], vec![params(1), params(2)]] {
            let page = ParamsPage { params: page };
            let text = serde_json::to_string(&page).unwrap();
            assert_eq!(serde_json::from_str::<ParamsPage>(&text).unwrap(), page);
        }
        for text in [
            r#"{"params":"5"}"#,
            r#"{"params":"5031"}"#,
            r#"{"params":[]}"#,
        ] {
            assert!(serde_json::from_str::<ParamsPage>(text).is_err(), "{text}");
        }
    }
}
