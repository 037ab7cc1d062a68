//! An honest account side in miniature, and hubs on real databases.

use hub::engine::limits::Limits;
use hub::metrics::HubMetrics;
use hub::{Hub, HubParts};
use hub_client::{
    BatchMark, BatchRequest, Fate, FatesRequest, FundingMode, Hello, Proposal, SignedBatch, Terms,
};
use hub_core::{
    Action, Address, Amount, ChannelId, ChannelParams, Domain, Facts, Fold, Hash32, Operation,
    OperationId, State, StateBatch, Typed as _, Version, signature,
};
use runtime::shutdown::Shutdown;
use runtime::telemetry::{Build, Metrics};
use signer::Signer;
use stack::Testbed;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

pub const CAPACITY: u128 = 1_000_000;

pub fn amount(units: u128) -> Amount {
    Amount::new(units)
}

pub fn hub_key() -> Signer {
    Signer::from_bytes(&[0x11; 32]).unwrap()
}

pub fn custody_key() -> Signer {
    Signer::from_bytes(&[0x22; 32]).unwrap()
}

pub fn terms(mode: FundingMode) -> Terms {
    Terms {
        hub_id: Uuid::from_u128(7),
        hub: Address([3; 20]),
        hub_signer: hub_key().address(),
        custody_signer: custody_key().address(),
        domain: Domain {
            chain_id: 31337,
            verifying_contract: Address([9; 20]),
        },
        mode,
        capacity: amount(CAPACITY),
        challenge_period: 60,
        self_delay: 60,
        penalty_cap: amount(1_000),
        bounty_bps: 500,
    }
}

pub fn wide_limits() -> Limits {
    Limits {
        issue_per_order: amount(100_000),
        issue_per_hour: Amount::MAX_BALANCE,
        burn: Amount::MAX_BALANCE,
    }
}

pub fn params(terms: &Terms, n: u64) -> ChannelParams {
    let mut salt = Hash32::ZERO;
    salt.0[..8].copy_from_slice(&n.to_be_bytes());
    ChannelParams {
        hub: terms.hub,
        hub_signer: terms.hub_signer,
        user: terms.custody_signer,
        user_signer: terms.custody_signer,
        custodial: true,
        capacity: terms.capacity,
        challenge_period: terms.challenge_period,
        self_delay: terms.self_delay,
        penalty_cap: terms.penalty_cap,
        bounty_bps: terms.bounty_bps,
        salt,
    }
}

/// A migrated database of the test's own.
pub async fn database() -> Testbed {
    let fingerprint: String = migrations::MIGRATOR
        .iter()
        .map(|migration| format!("{:?}", migration.checksum))
        .collect();
    stack::testbed(&fingerprint, async |url: String| {
        migrations::migrate(&url, "test").await
    })
    .await
    .unwrap()
}

/// Starts a hub in this process, on the database of a test.
pub async fn start(bed: &Testbed, terms: &Terms, limits: Limits) -> Hub {
    let url = bed.role_url(migrations::Role::Hub.name());
    let metrics = Metrics::new(&Build::new("hub", "test")).unwrap();
    Hub::start(HubParts {
        terms: terms.clone(),
        signer: hub_key(),
        limits,
        pool: runtime::pg::connect(&url, 4).await.unwrap(),
        metrics: HubMetrics::new(&metrics).unwrap(),
        stop: Shutdown::manual().1,
    })
    .await
    .unwrap()
}

/// A started hub and an account side that said hello to it.
pub async fn pair(mode: FundingMode, limits: Limits) -> (Testbed, Hub, Account) {
    let bed = database().await;
    let terms = terms(mode);
    let hub = start(&bed, &terms, limits).await;
    let mut account = Account::new(terms);
    account.greet(&hub).await;
    (bed, hub, account)
}

#[derive(Debug, Clone, Copy)]
pub struct Base {
    pub state: State,
    pub batch_id: u64,
}

/// The account side: derives states from its own co-signed heads and signs last.
#[derive(Debug, Clone)]
pub struct Account {
    pub terms: Terms,
    pub custody: Signer,
    pub session: Uuid,
    pub heads: BTreeMap<ChannelId, Base>,
    pub floors: HashMap<ChannelId, Version>,
    pub facts: HashMap<ChannelId, Facts>,
    pub newest: BatchMark,
    ids: Vec<ChannelId>,
    next: u64,
}

/// A request with the states it leads to.
#[derive(Debug, Clone)]
pub struct Proposed {
    pub request: BatchRequest,
    pub states: Vec<State>,
}

impl Account {
    pub fn new(terms: Terms) -> Self {
        Self::with_ids(terms, 64)
    }

    /// One with so many channels to name.
    pub fn with_ids(terms: Terms, count: u64) -> Self {
        let ids = (0..count)
            .map(|n| params(&terms, n).channel_id(&terms.domain))
            .collect();
        Self {
            terms,
            ids,
            custody: custody_key(),
            session: Uuid::nil(),
            heads: BTreeMap::new(),
            floors: HashMap::new(),
            facts: HashMap::new(),
            newest: BatchMark::default(),
            next: 1,
        }
    }

    pub async fn greet(&mut self, hub: &Hub) {
        let newest = self.newest;
        self.session = hub.hello(Hello { newest }).await.unwrap().session;
    }

    pub fn operation(&mut self, action: Action) -> Operation {
        let id = OperationId(u128::from(self.next).to_be_bytes());
        self.next += 1;
        Operation { id, action }
    }

    pub fn id(&self, n: u64) -> ChannelId {
        self.ids[usize::try_from(n).unwrap()]
    }

    pub fn open(&mut self, n: u64) -> Operation {
        let params = params(&self.terms, n);
        self.operation(Action::Open { params })
    }

    pub fn issue(&mut self, n: u64, units: u128) -> Operation {
        let channel = self.id(n);
        let amount = amount(units);
        self.operation(Action::Issue { channel, amount })
    }

    pub fn redeem(&mut self, n: u64, units: u128) -> Operation {
        let channel = self.id(n);
        let amount = amount(units);
        self.operation(Action::Redeem { channel, amount })
    }

    pub fn transfer(&mut self, from: u64, to: u64, units: u128) -> Operation {
        let (payer, payee) = (self.id(from), self.id(to));
        let amount = amount(units);
        self.operation(Action::Transfer {
            payer,
            payee,
            amount,
        })
    }

    /// Derives the states; operations that are refused here are a mistake of the test.
    pub fn propose(&self, operations: Vec<Operation>) -> Proposed {
        let mut fold = Fold::new();
        let opened: Vec<_> = operations
            .iter()
            .filter_map(|operation| match operation.action {
                Action::Open { params } => Some(params.channel_id(&self.terms.domain)),
                _ => None,
            })
            .collect();
        for (channel, base) in &self.heads {
            if !opened.contains(channel) {
                let facts = self.facts.get(channel).copied().unwrap_or_default();
                fold.insert(base.state, facts);
            }
        }
        for operation in &operations {
            fold.apply(&self.terms.domain, operation).unwrap();
        }
        let floor = |channel: &ChannelId| self.floors.get(channel).copied().unwrap_or(0);
        let successors = fold.finish(floor).unwrap();
        let proposals = successors
            .iter()
            .map(|next| Proposal {
                channel: next.state.channel_id,
                base_version: next.base.version,
                base_hash: next.base.hash_struct(),
                base_batch: self
                    .heads
                    .get(&next.state.channel_id)
                    .map_or(0, |base| base.batch_id),
                version: next.state.version,
                state_hash: next.state.hash_struct(),
            })
            .collect();
        Proposed {
            request: BatchRequest {
                request_id: Uuid::new_v4(),
                session: self.session,
                operations,
                proposals,
                fates: Vec::new(),
            },
            states: successors.into_iter().map(|next| next.state).collect(),
        }
    }

    /// Checks the hub's signature and makes the custody signature: the batch is committed.
    pub fn commit(&mut self, proposed: &Proposed, signed: &SignedBatch) -> Fate {
        let message = self.message(signed);
        let digest = self.terms.domain.digest(&message);
        signature::verify(digest, &signed.signature, self.terms.hub_signer).unwrap();
        for state in &proposed.states {
            let base = Base {
                state: *state,
                batch_id: signed.batch_id,
            };
            self.heads.insert(state.channel_id, base);
        }
        self.newest = BatchMark {
            batch_id: signed.batch_id,
            root: signed.root,
        };
        Fate::Committed {
            batch_id: signed.batch_id,
            user_signature: self.custody.sign(&self.terms.domain, &message),
        }
    }

    pub fn message(&self, signed: &SignedBatch) -> StateBatch {
        StateBatch {
            root: signed.root,
            depth: signed.depth,
            batch_id: signed.batch_id,
            prev_root: signed.prev_root,
            hub: self.terms.hub,
        }
    }

    /// Signs, commits and hands the fate over.
    pub async fn post(&mut self, hub: &Hub, operations: Vec<Operation>) -> SignedBatch {
        let proposed = self.propose(operations);
        let signed = hub.sign_batch(proposed.request.clone()).await.unwrap();
        let fate = self.commit(&proposed, &signed);
        hub.fates(FatesRequest { fates: vec![fate] }).await.unwrap();
        signed
    }

    pub fn user_balance(&self, n: u64) -> u128 {
        self.heads[&self.id(n)].state.user_balance.units()
    }
}
