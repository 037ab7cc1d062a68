//! The model and the chain side by side: the same call to both, and everything compared.

use crate::abi::{address, encode, hash, uint, word, word_hash};
use crate::bug::Bug;
use crate::evm::{ADMIN, ARTEFACTS, Chain};
use crate::keys::Keys;
use crate::shown;
use hub_core::dispute::{Channel, Ended, Hub, Payment, Refusal, Registry, Side};
use hub_core::settlement::{Closer, FundingMode};
use hub_core::{Address, Amount, ChannelId, ChannelParams, Hash32, keccak256};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

/// The operator of the hub under test.
pub const OPERATOR: Address = Address([0xA1; 20]);
/// Another hub, in vault mode, which meddles.
pub const MEDDLER: Address = Address([0xA2; 20]);

/// Whether both sides accepted a call; or how they differ.
pub type Step = Result<bool, String>;

/// What a call moves into the contract.
pub struct Pull {
    /// Whose tokens.
    pub from: Address,
    /// In minor units.
    pub amount: u128,
    /// Whether they are destroyed at once.
    pub burns: bool,
}

/// The model and the chain.
pub struct Twin {
    /// The chain.
    pub chain: Chain,
    /// All keys.
    pub keys: Keys,
    /// Decides everything.
    pub rng: StdRng,
    /// The model's hub.
    pub hub: Hub,
    /// The model's other hub.
    pub meddler: Hub,
    /// The model's channels.
    pub channels: Vec<Channel>,
    /// The model's evidence.
    pub registry: Registry,
    /// A formula that is to be wrong.
    pub bug: Option<Bug>,
    /// Every call so far, for people.
    pub log: Vec<String>,
    /// How often each name of an outcome occurred.
    pub seen: BTreeMap<String, u64>,
    balances: BTreeMap<Address, u128>,
    supply: u128,
}

/// Rules and funds of the hub of a history.
pub struct Setting {
    /// How it pays.
    pub mode: FundingMode,
    /// Its own cap, in minor units.
    pub penalty_cap: u128,
    /// Whether the operator's sending replaces a signature.
    pub operator_pays: bool,
}

impl Twin {
    /// Registers a hub, alike on both sides.
    pub fn new(seed: u64, setting: &Setting) -> Self {
        let chain = Chain::default();
        let hub = |address, mode, penalty_cap| Hub {
            address,
            contract: chain.channels,
            signers: vec![Keys::default().hub.address()],
            mode,
            operator_pays: setting.operator_pays,
            min_challenge_period: 60,
            max_challenge_period: 3_600,
            penalty_cap: Amount::new(penalty_cap),
            funds: Amount::ZERO,
            bond: Amount::ZERO,
            owed: Amount::ZERO,
            paused: false,
        };
        let (ours, other) = (
            hub(OPERATOR, setting.mode, setting.penalty_cap),
            hub(MEDDLER, FundingMode::Vault, 1),
        );
        let mut twin = Self {
            keys: Keys::default(),
            rng: StdRng::seed_from_u64(seed),
            hub: ours,
            meddler: other,
            channels: Vec::new(),
            registry: Registry::default(),
            bug: None,
            log: Vec::new(),
            seen: BTreeMap::new(),
            balances: BTreeMap::from([(chain.channels, 0)]),
            supply: 0,
            chain,
        };
        for place in 0..2 {
            twin.register(place);
        }
        twin
    }

    fn register(&mut self, place: usize) {
        let hub = if place == 0 {
            &mut self.hub
        } else {
            &mut self.meddler
        };
        let bond = hub.penalty_cap.units() * 100;
        hub.bond = Amount::new(bond);
        let (who, is_mint) = (hub.address, hub.mode == FundingMode::Mint);
        let rules = crate::abi::Value::Tuple(vec![
            uint(if is_mint { 1_u8 } else { 2 }),
            uint(hub.min_challenge_period),
            uint(hub.max_challenge_period),
            uint(hub.penalty_cap.units()),
            uint(hub.operator_pays),
        ]);
        let text = crate::abi::Value::Bytes(Vec::new());
        let signer = address(self.keys.hub.address());
        if is_mint {
            hub.funds = Amount::new(1);
            let allow = [address(who), uint(1_u8)];
            self.chain.call(ADMIN, "allowMint", &allow).unwrap();
        }
        self.give(who, bond);
        let arguments = [rules, signer, uint(bond), text];
        self.chain.call(who, "registerHub", &arguments).unwrap();
        self.pull(&Pull {
            from: who,
            amount: bond,
            burns: false,
        });
    }

    /// Adds a channel, which no transaction is needed for.
    pub fn open(&mut self, params: ChannelParams) -> usize {
        let id = params.channel_id(&self.chain.domain());
        self.balances.entry(params.user).or_default();
        self.channels.push(Channel::new(params, id));
        self.channels.len() - 1
    }

    /// Makes tokens for somebody.
    pub fn give(&mut self, who: Address, amount: u128) {
        self.chain.arm(who, amount);
        *self.balances.entry(who).or_default() += amount;
        self.supply += amount;
    }

    fn pull(&mut self, pull: &Pull) {
        *self.balances.get_mut(&pull.from).unwrap() -= pull.amount;
        if pull.burns {
            self.supply -= pull.amount;
        } else {
            *self.balances.entry(self.chain.channels).or_default() += pull.amount;
        }
    }

    fn pay(&mut self, payment: &Payment) -> Result<(), String> {
        let amount = payment.amount.units();
        if payment.minted {
            self.supply += amount;
        } else {
            let held = self.balances.get_mut(&self.chain.channels).unwrap();
            let left = held.checked_sub(amount);
            *held = left.ok_or_else(|| format!("the model pays {amount} out of {held}"))?;
        }
        *self.balances.entry(payment.to).or_default() += amount;
        Ok(())
    }

    /// Runs a transition of the model; one that refuses has changed nothing.
    pub fn model<T>(
        &mut self,
        at: usize,
        transition: impl FnOnce(&mut Hub, &mut Channel, &mut Registry) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let (hub, channel) = (&mut self.hub, &mut self.channels[at]);
        let before = (hub.clone(), channel.clone(), self.registry.clone());
        let outcome = transition(hub, channel, &mut self.registry);
        if outcome.is_err() {
            let after = (hub.clone(), channel.clone(), self.registry.clone());
            assert_eq!(before, after, "a refusal changes nothing");
        }
        outcome
    }

    /// Compares the outcomes of one call, and then all that both sides keep.
    pub fn agree(
        &mut self,
        what: &str,
        at: usize,
        model: Result<Vec<Payment>, Refusal>,
        answer: Result<Vec<u8>, Vec<u8>>,
        pull: Option<Pull>,
    ) -> Step {
        let id = self.channels[at].id;
        let named = |data: &[u8]| ARTEFACTS.channels.error_name(data);
        let outcome = match (&model, &answer) {
            (Ok(_), Ok(_)) => "accepted".to_owned(),
            (Err(refusal), _) => refusal.name().to_owned(),
            (Ok(_), Err(data)) => format!("the contract refuses: {}", named(data)),
        };
        let kind = what.split(' ').next().unwrap_or_default();
        *self.seen.entry(format!("{kind} {outcome}")).or_default() += 1;
        self.log
            .push(format!("{} {what}: {outcome}", self.chain.now));
        match (model, answer) {
            (Ok(payments), Ok(_)) => {
                for payment in &payments {
                    self.pay(payment)?;
                }
                if let Some(pull) = &pull {
                    self.pull(pull);
                }
                self.compare(at)?;
                for payment in &payments {
                    self.compare_balance(payment.to)?;
                }
                Ok(true)
            }
            (Err(refusal), Err(data)) => {
                self.compare_refusals(&refusal, &data, id)?;
                self.compare(at)?;
                Ok(false)
            }
            (Ok(payments), Err(data)) => Err(format!(
                "the model accepts and pays {payments:?}, the contract refuses: {}",
                named(&data)
            )),
            (Err(refusal), Ok(_)) => Err(format!(
                "the contract accepts, the model refuses: {refusal:?}"
            )),
        }
    }

    /// Compares the outcomes of a call that touches no channel.
    pub fn agree_on_evidence(
        &mut self,
        what: &str,
        id: ChannelId,
        model: Result<(), Refusal>,
        answer: Result<Vec<u8>, Vec<u8>>,
    ) -> Step {
        self.log
            .push(format!("{} {what}: {model:?}", self.chain.now));
        match (model, answer) {
            (Ok(()), Ok(_)) => Ok(true),
            (Err(refusal), Err(data)) => self.compare_refusals(&refusal, &data, id).map(|()| false),
            (model, answer) => Err(format!("the model: {model:?}, the contract: {answer:?}")),
        }
    }

    fn compare_refusals(
        &self,
        refusal: &Refusal,
        data: &[u8],
        id: ChannelId,
    ) -> Result<(), String> {
        let named = ARTEFACTS.channels.error_name(data);
        if named != format!("HubChannels_{}", refusal.name()) {
            return Err(format!("the model: {refusal:?}, the contract: {named}"));
        }
        match values(refusal, id) {
            Some(values) if ARTEFACTS.channels.revert(refusal.name(), &values) != data => {
                Err(format!(
                    "{refusal:?}, the contract with other values: {}",
                    hex::encode(data)
                ))
            }
            _ => Ok(()),
        }
    }

    /// Everything both sides keep of the hub and a channel, and what its parties hold.
    pub fn compare(&mut self, at: usize) -> Result<(), String> {
        self.compare_hub()?;
        self.compare_channel(at)?;
        let user = self.channels[at].params.user;
        [user, self.chain.channels]
            .into_iter()
            .try_for_each(|who| self.compare_balance(who))
    }

    /// What everybody holds, and that there is no more.
    pub fn compare_balances(&mut self) -> Result<(), String> {
        let everybody: Vec<_> = self.balances.keys().copied().collect();
        for who in everybody {
            self.compare_balance(who)?;
        }
        let found = self.chain.supply();
        same("supply", self.supply, found)?;
        let held = self.chain.balance(self.chain.channels);
        same("c01: tokens behind the books", self.books(), held)
    }

    /// Tokens that the contract must hold by the model's books; a mint hub's funds are none.
    fn books(&self) -> u128 {
        let is_vault = self.hub.mode == FundingMode::Vault;
        let ended = self
            .channels
            .iter()
            .flat_map(|channel| channel.ended.values());
        let waiting = ended.map(|ended| {
            let late = ended.delayed.map_or(0, |late| late.amount.units());
            let reserve = ended.locks.map_or(0, |list| list.reserve.units());
            ended.stray.units() + if is_vault { late + reserve } else { 0 }
        });
        let collateral = self
            .channels
            .iter()
            .map(|channel| channel.collateral.units());
        let bonds = self.hub.bond.units() + self.meddler.bond.units();
        let vault = if is_vault { self.hub.funds.units() } else { 0 };
        bonds + vault + waiting.sum::<u128>() + collateral.sum::<u128>()
    }

    fn compare_balance(&mut self, who: Address) -> Result<(), String> {
        let expected = self.balances.get(&who).copied().unwrap_or(0);
        let found = self.chain.balance(who);
        same(&format!("balance of {who}"), expected, found)
    }

    fn compare_hub(&mut self) -> Result<(), String> {
        let view = self.chain.view("hubOf", &[address(OPERATOR)]);
        same("funds", self.hub.funds.units(), word(&view, 6))?;
        same("owed in all", self.hub.owed.units(), word(&view, 7))?;
        same("bond", self.hub.bond.units(), word(&view, 8))?;
        let ended = self
            .channels
            .iter()
            .flat_map(|channel| channel.ended.values());
        let stray: u128 = ended.map(|ended| ended.stray.units()).sum();
        let claim = self.chain.view("reclaimable", &[address(OPERATOR)]);
        same("the operator's claim", stray, word(&claim, 0))?;
        let parts = self
            .channels
            .iter()
            .flat_map(|channel| channel.ended.values());
        let owed = parts.map(|ended| {
            let short = ended.locks.map_or(Amount::ZERO, |list| list.short);
            ended.owed.units() + ended.lock_owed.units() + short.units()
        });
        same("parts of what is owed", self.hub.owed.units(), owed.sum())
    }

    fn compare_channel(&mut self, at: usize) -> Result<(), String> {
        let channel = self.channels[at].clone();
        let view = self.chain.view("channelOf", &[hash(channel.id)]);
        let dispute = channel.dispute.as_ref();
        let closer = dispute.map_or(0, |dispute| closer_code(dispute.closer));
        let expected = [
            ("epoch", u128::from(channel.epoch)),
            ("withdrawn", channel.withdrawn.units()),
            ("deposited", channel.deposited.units()),
            ("collateral", channel.collateral.units()),
            ("deadline", dispute.map_or(0, |d| u128::from(d.deadline))),
            ("status", u128::from(dispute.is_some())),
            ("closer", closer),
        ];
        for (place, (what, value)) in expected.into_iter().enumerate() {
            same(what, value, word(&view, place))?;
        }
        let record = dispute.map_or(Hash32::ZERO, shown::dispute_hash);
        same("dispute", record, word_hash(&view, 7))?;
        for (epoch, ended) in &channel.ended {
            self.compare_ended(channel.id, *epoch, ended)?;
        }
        Ok(())
    }

    fn compare_ended(&mut self, id: ChannelId, epoch: u32, ended: &Ended) -> Result<(), String> {
        let view = self.chain.view("pendingOf", &[hash(id), uint(epoch)]);
        let late = ended.delayed.as_ref();
        let expected = [
            ("late amount", late.map_or(0, |late| late.amount.units())),
            ("due at", late.map_or(0, |late| u128::from(late.due_at))),
            ("waiting", late.map_or(0, |late| closer_code(late.closer))),
            ("owed", ended.owed.units() + ended.lock_owed.units()),
        ];
        for (place, (what, value)) in expected.into_iter().enumerate() {
            same(what, value, word(&view, place))?;
        }
        let list = ended.locks.map_or(Hash32::ZERO, |list| {
            let parts = [list.reserve, list.short].map(|amount| uint(amount.units()));
            keccak256(&encode(&[&[hash(list.hash)][..], &parts].concat()))
        });
        same("lock list", list, word_hash(&view, 4))
    }
}

fn same<T: PartialEq + std::fmt::Display>(what: &str, model: T, contract: T) -> Result<(), String> {
    if model == contract {
        return Ok(());
    }
    Err(format!(
        "{what}: {model} in the model, {contract} in the contract"
    ))
}

fn closer_code(closer: Closer) -> u128 {
    match closer {
        Closer::Hub => 1,
        Closer::User => 2,
        Closer::Exit => 3,
    }
}

/// The values a refusal carries in the contract; nothing where the model does not know them all.
fn values(refusal: &Refusal, id: ChannelId) -> Option<Vec<crate::abi::Value>> {
    let amount = |amount: Amount| uint(amount.units());
    let of_channel = |rest: &[crate::abi::Value]| Some([&[hash(id)][..], rest].concat());
    match *refusal {
        Refusal::WrongMode { .. }
        | Refusal::BadSignature
        | Refusal::WrongLockList
        | Refusal::NoSuchLock => None,
        Refusal::ZeroAddress
        | Refusal::Paused
        | Refusal::AmountZero
        | Refusal::NothingResolvable
        | Refusal::NothingToPay => Some(Vec::new()),
        Refusal::BadParams
        | Refusal::NotNullState
        | Refusal::AlreadyPenalized
        | Refusal::NoEquivocation => of_channel(&[]),
        Refusal::WrongStatus { closing } => of_channel(&[uint(closing)]),
        Refusal::AmountTooLarge { amount: large } => Some(vec![amount(large)]),
        Refusal::WithdrawRefused { request_id, fault } => {
            of_channel(&[hash(request_id), uint(fault as u8)])
        }
        Refusal::WrongChannel { found } => of_channel(&[hash(found)]),
        Refusal::WrongEpoch { expected, found } => of_channel(&[uint(expected), uint(found)]),
        Refusal::SumMismatch { sum, capacity } => of_channel(&[amount(sum), amount(capacity)]),
        Refusal::BadAttestation { side } => of_channel(&[uint(match side {
            Side::Hub => 1_u8,
            Side::User => 2,
        })]),
        Refusal::IntentExpired { valid_until } | Refusal::Expired { valid_until } => {
            Some(vec![uint(valid_until)])
        }
        Refusal::NotAParty { sender } => Some(vec![address(sender)]),
        Refusal::NotNewer { current, offered } => of_channel(&[amount(current), amount(offered)]),
        Refusal::DeadlinePassed { deadline } | Refusal::DeadlineAhead { deadline } => {
            of_channel(&[uint(deadline)])
        }
        Refusal::NotRevoked { closed_version } => of_channel(&[uint(closed_version)]),
        Refusal::TotalsMoved {
            withdrawn,
            deposited,
        } => of_channel(&[amount(withdrawn), amount(deposited)]),
        Refusal::WrongCondition { expected, found } => Some(vec![hash(expected), hash(found)]),
        Refusal::NotDue { due_at } => Some(vec![uint(due_at)]),
    }
}
