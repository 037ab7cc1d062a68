//! The books of two hubs and their accounts, made in memory as the services would make them.

use hub_client::{FundingMode, Terms};
use hub_core::merkle::Tree;
use hub_core::types::Withdraw;
use hub_core::{
    Action, Address, Amount, ChannelId, ChannelParams, Domain, Facts, Fold, Hash32, Operation,
    OperationId, Signature, State, StateBatch, Typed as _, encoding, keccak256,
};
use reconcile::{ChainNumbers, ChannelNumbers, HubNumbers};
use serde_json::{Value, json};
use signer::Signer;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Capacity of every channel: the default of the system.
const CAPACITY: Amount = Amount::new(10_000_000_000 * 10_u128.pow(18));
/// Times of rows: after 2026 began, before any expiry of the tests.
const NOW: &str = "2026-06-01T12:00:00Z";
/// The final block and its time, Unix seconds.
pub const FINAL_BLOCK: u64 = 100;
pub const FINAL_TIME: u64 = 1_780_315_200;

/// What is posted, accounts by their place in [`Books::accounts`].
#[derive(Debug, Clone, Copy)]
pub enum Order {
    Open(usize),
    Issue(usize, u128),
    Redeem(usize, u128),
    Transfer(usize, usize, u128),
    Withdraw(usize, u128),
    Deposit(usize, u128),
    /// Gives back the withdrawal.
    Refund(usize, Uuid, u128),
}

pub struct Account {
    pub id: Uuid,
    pub hub: usize,
    pub params: ChannelParams,
    pub channel: ChannelId,
    /// The newest co-signed state, with the batch that has it.
    pub head: Option<(State, Uuid)>,
    /// The newest state the hub signed, and its batch.
    pub hub_signed: Option<(State, u64)>,
    /// The newest one that the hub knows to be co-signed.
    pub hub_held: (State, u64),
    pub facts: Facts,
    max_signed: u64,
    /// The newest operation.
    newest: Option<Uuid>,
}

pub struct Hub {
    pub terms: Terms,
    pub key: Signer,
    batches: u64,
    prev_root: Hash32,
}

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Committed, and the hub knows.
    Committed,
    /// Committed, and the hub has not heard yet.
    NotHanded,
    /// Signed by the hub, burned by account-service.
    Burned,
    /// Signed by the hub, open.
    Open,
}

pub struct Books {
    pub hubs: Vec<Hub>,
    pub custody: Signer,
    pub accounts: Vec<Account>,
    pub rows: BTreeMap<&'static str, Vec<Value>>,
    pub chain: ChainNumbers,
    pub channels: HashMap<ChannelId, ChannelNumbers>,
    /// Ids of posted batches, and of operations, in order.
    pub batches: Vec<Uuid>,
    /// The states of posted batches.
    pub signed: HashMap<Uuid, Vec<State>>,
    pub operations: Vec<Uuid>,
    /// How long ago what is posted now was posted.
    pub age: time::Duration,
    /// Id of the next batch, made before that of the last one, and the age then.
    spare: Option<(time::Duration, Uuid)>,
}

/// An id as it was made so long ago.
fn id_of(age: time::Duration) -> Uuid {
    let ms = age.whole_milliseconds().cast_unsigned();
    Uuid::from_u128(Uuid::now_v7().as_u128() - (ms << 80))
}

pub fn bytes(bytes: impl AsRef<[u8]>) -> Value {
    json!(format!("\\x{}", hex::encode(bytes)))
}

fn add(a: &mut Amount, b: u128) {
    *a = a.checked_add(Amount::new(b)).unwrap();
}

impl Books {
    /// Hub 0 keeps a vault, hub 1 mints.
    pub fn new() -> Self {
        let custody = Signer::from_bytes(&[0x22; 32]).unwrap();
        let modes = [FundingMode::Vault, FundingMode::Mint];
        let hubs = modes.into_iter().zip(1_u8..).map(|(mode, n)| {
            let key = Signer::from_bytes(&[0x10 + n; 32]).unwrap();
            let terms = Terms {
                hub_id: Uuid::from_u128(u128::from(n)),
                hub: Address([n; 20]),
                hub_signer: key.address(),
                custody_signer: custody.address(),
                domain: Domain {
                    chain_id: 31337,
                    verifying_contract: Address([0xcc; 20]),
                },
                mode,
                capacity: CAPACITY,
                challenge_period: 60,
                self_delay: 60,
                penalty_cap: Amount::new(1_000),
                bounty_bps: 500,
            };
            Hub {
                terms,
                key,
                batches: 0,
                prev_root: Hash32::ZERO,
            }
        });
        let mut books = Self {
            hubs: hubs.collect(),
            custody,
            accounts: Vec::new(),
            rows: BTreeMap::new(),
            chain: ChainNumbers::default(),
            channels: HashMap::new(),
            batches: Vec::new(),
            signed: HashMap::new(),
            operations: Vec::new(),
            age: time::Duration::ZERO,
            spare: None,
        };
        books.chain.created_elsewhere = Some(Amount::new(5_000_000));
        books.chain.total_supply = Amount::new(5_000_000);
        books.chain.contract_balance = Amount::new(2_000_000);
        for hub in 0..2 {
            let terms = books.hubs[hub].terms.clone();
            let vault = if hub == 0 { 1_000_000 } else { 0 };
            let numbers = HubNumbers {
                funds: Amount::new(vault),
                owed: Amount::ZERO,
                bond: Amount::new(500_000),
            };
            books.chain.hubs.insert(terms.hub, numbers);
            let id = terms.hub_id;
            books.row(
                "account.hubs",
                json!({"hub_id": id, "terms": terms, "connected_at": NOW}),
            );
            books.row(
                "account.chain_marks",
                json!({"hub_id": id, "final_block": FINAL_BLOCK, "final_timestamp": FINAL_TIME}),
            );
            books.row(
                "hub.hubs",
                json!({"hub_id": id, "terms": terms, "session": Uuid::from_u128(9), "generation": 0,
                    "batch_floor": 0, "version_floor": 0, "imported": 0, "account_batch": 0, "account_root": bytes([0; 32])}),
            );
        }
        books
    }

    pub fn row(&mut self, table: &'static str, row: Value) {
        self.rows.entry(table).or_default().push(row);
    }

    /// Makes an account; [`Order::Open`] opens it.
    pub fn account(&mut self, hub: usize) -> usize {
        let terms = &self.hubs[hub].terms;
        let id = Uuid::now_v7();
        let params = ChannelParams {
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
            salt: keccak256(id.as_bytes()),
        };
        let channel = params.channel_id(&terms.domain);
        self.accounts.push(Account {
            id,
            hub,
            params,
            channel,
            head: None,
            hub_signed: None,
            hub_held: (State::null(channel, 0, terms.capacity), 0),
            facts: Facts::default(),
            max_signed: 0,
            newest: None,
        });
        self.accounts.len() - 1
    }

    fn action(&self, order: &Order) -> (i16, Option<usize>, Option<usize>, Action) {
        let channel = |at: usize| self.accounts[at].channel;
        let amount = Amount::new;
        match *order {
            Order::Open(a) => (
                7,
                None,
                Some(a),
                Action::Open {
                    params: self.accounts[a].params,
                },
            ),
            Order::Issue(a, n) => {
                let (channel, amount) = (channel(a), amount(n));
                (1, None, Some(a), Action::Issue { channel, amount })
            }
            Order::Redeem(a, n) => {
                let (channel, amount) = (channel(a), amount(n));
                (2, Some(a), None, Action::Redeem { channel, amount })
            }
            Order::Transfer(a, b, n) => {
                let (payer, payee, amount) = (channel(a), channel(b), amount(n));
                let action = Action::Transfer {
                    payer,
                    payee,
                    amount,
                };
                (3, Some(a), Some(b), action)
            }
            Order::Withdraw(a, n) => {
                let action = Action::Withdraw {
                    channel: channel(a),
                    amount: amount(n),
                    to: Address([0xaa; 20]),
                };
                (4, Some(a), None, action)
            }
            Order::Deposit(a, n) => {
                let (channel, amount) = (channel(a), amount(n));
                (5, None, Some(a), Action::Deposit { channel, amount })
            }
            Order::Refund(a, order, n) => {
                let action = Action::Refund {
                    channel: channel(a),
                    order: OperationId(*order.as_bytes()),
                    amount: amount(n),
                };
                (6, None, Some(a), action)
            }
        }
    }

    /// Posts a batch of one hub. Gives the operations' ids.
    pub fn post(&mut self, hub: usize, orders: &[Order], fate: Fate) -> Vec<Uuid> {
        let domain = self.hubs[hub].terms.domain;
        let mut fold = Fold::new();
        // Ids in another order than the operations: they are made before it is decided.
        let mut ids: Vec<_> = orders.iter().map(|_| id_of(self.age)).collect();
        ids.reverse();
        let mut posted = Vec::new();
        for (order, id) in orders.iter().zip(&ids) {
            let (kind, payer, payee, action) = self.action(order);
            for at in [payer, payee].into_iter().flatten() {
                let account = &self.accounts[at];
                if let Some((head, _)) = account.head
                    && !fold.contains(&account.channel)
                {
                    fold.insert(head, account.facts);
                }
            }
            let operation = Operation {
                id: OperationId(*id.as_bytes()),
                action,
            };
            let outcomes = fold.apply(&domain, &operation).unwrap();
            let balance = |at: Option<usize>| {
                let channel = self.accounts[at?].channel;
                let outcome = outcomes.iter().find(|outcome| outcome.channel == channel);
                Some(outcome.map_or(Amount::ZERO, |outcome| outcome.user_balance_after))
            };
            let balances = (balance(payer), balance(payee));
            posted.push((*id, kind, payer, payee, action.amount(), balances));
        }
        let used: HashMap<_, _> = self
            .accounts
            .iter()
            .map(|a| (a.channel, a.max_signed))
            .collect();
        let successors = fold.finish(|channel| used[channel]).unwrap();
        let states: Vec<_> = successors.iter().map(|next| next.state).collect();
        let batch = self.sign(hub, &states, fate);
        if matches!(fate, Fate::Committed | Fate::NotHanded) {
            let channels: Vec<_> = self.accounts.iter().map(|a| a.channel).collect();
            let leaf = |at: usize| {
                let of_channel = |state: &State| state.channel_id == channels[at];
                states.iter().position(of_channel).unwrap()
            };
            let hub_id = self.hubs[hub].terms.hub_id;
            let mut rows = Vec::new();
            for (id, kind, payer, payee, amount, (payer_balance, payee_balance)) in posted {
                let [payer_previous, payee_previous] =
                    [payer, payee].map(|at| self.accounts[at?].newest.replace(id));
                rows.push(json!({
                    "id": id, "hub_id": hub_id, "kind": kind, "outcome": 1, "owner": Uuid::nil(),
                    "route": 8, "idem_key": self.key_of(id, orders, &ids), "request_hash": bytes([0; 32]),
                    "payer": payer.map(|at| self.accounts[at].id), "payee": payee.map(|at| self.accounts[at].id),
                    "amount": amount, "payer_balance": payer_balance, "payee_balance": payee_balance,
                    "payer_version": payer.map(|at| states[leaf(at)].version),
                    "payee_version": payee.map(|at| states[leaf(at)].version),
                    "payer_leaf": payer.map(leaf), "payee_leaf": payee.map(leaf),
                    "payer_previous": payer_previous, "payee_previous": payee_previous,
                    "batch": batch, "created_at": NOW,
                }));
                self.operations.push(id);
            }
            self.rows
                .entry("account.operations")
                .or_default()
                .extend(rows);
        }
        ids
    }

    /// Refunds are found by the key that names the withdrawal.
    fn key_of(&self, id: Uuid, orders: &[Order], ids: &[Uuid]) -> String {
        let at = ids.iter().position(|other| *other == id).unwrap();
        match orders[at] {
            Order::Refund(_, withdrawal, _) => format!("refund:{withdrawal}"),
            _ => format!("op:{id}"),
        }
    }

    /// A leaf of a posted batch as it is kept when the batch's states go.
    pub fn leaf(&self, batch: Uuid, leaf: i32) -> Value {
        let states = &self.signed[&batch];
        let tree = Tree::new(states.iter().map(State::hash_struct).collect()).unwrap();
        let at = usize::try_from(leaf).unwrap();
        let path: Vec<u8> = tree.path(at).unwrap().iter().flat_map(|h| h.0).collect();
        let state = bytes(encoding::encode_states([&states[at]]));
        json!({ "batch": batch, "leaf": leaf, "state": state, "path": bytes(path) })
    }

    /// The id of a batch. Each second one is older than the one before: ids are made before the
    /// hub gives numbers.
    fn batch_id(&mut self) -> Uuid {
        if let Some((_, id)) = self.spare.take().filter(|(age, _)| *age == self.age) {
            return id;
        }
        self.spare = Some((self.age, id_of(self.age)));
        id_of(self.age)
    }

    fn sign(&mut self, hub: usize, states: &[State], fate: Fate) -> Uuid {
        let id = self.batch_id();
        let tree = Tree::new(states.iter().map(State::hash_struct).collect()).unwrap();
        let side = &mut self.hubs[hub];
        side.batches += 1;
        let message = StateBatch {
            root: tree.root(),
            depth: tree.depth(),
            batch_id: side.batches,
            prev_root: side.prev_root,
            hub: side.terms.hub,
        };
        side.prev_root = message.root;
        let domain = side.terms.domain;
        let signature = |key: &Signer| -> Signature { key.sign(&domain, &message) };
        let (hub_signature, user_signature) = (signature(&side.key), signature(&self.custody));
        let hub_id = side.terms.hub_id;
        let known = match fate {
            Fate::Committed => Some(1),
            Fate::Burned => Some(2),
            Fate::NotHanded | Fate::Open => None,
        };
        let journal = json!({
            "hub_id": hub_id, "batch_id": message.batch_id, "request_id": id,
            "prev_root": bytes(message.prev_root.0), "root": bytes(message.root.0), "depth": message.depth,
            "states": bytes([]), "operations_digest": bytes([0; 32]), "issued": "0", "fate": known,
            "user_signature": (known == Some(1)).then(|| bytes(user_signature.0)), "created_at": NOW,
        });
        self.row("hub.journal", journal);
        let committed = matches!(fate, Fate::Committed | Fate::NotHanded);
        for state in states {
            let find = |account: &&mut Account| account.channel == state.channel_id;
            let account = self.accounts.iter_mut().find(find).unwrap();
            account.max_signed = state.version;
            account.hub_signed = Some((*state, message.batch_id));
            if committed {
                account.head = Some((*state, id));
            }
            if fate == Fate::Committed {
                account.hub_held = (*state, message.batch_id);
            }
        }
        if committed {
            self.signed.insert(id, states.to_vec());
            let states = bytes(encoding::encode_states(states));
            let row = json!({
                "hub_id": hub_id, "batch_id": message.batch_id, "id": id, "fate": 1,
                "handed": fate == Fate::Committed, "root": bytes(message.root.0),
                "prev_root": bytes(message.prev_root.0), "depth": message.depth,
                "hub_signature": bytes(hub_signature.0), "user_signature": bytes(user_signature.0),
                "created_at": NOW,
            });
            self.row("account.batches", row);
            self.row(
                "account.batch_states",
                json!({ "id": id, "states": states }),
            );
            self.batches.push(id);
        } else if fate == Fate::Burned {
            let row = json!({
                "hub_id": hub_id, "batch_id": message.batch_id, "fate": 2, "handed": true,
                "root": bytes(message.root.0), "created_at": NOW,
            });
            self.row("account.batches", row);
        }
        id
    }

    /// Adds the row of an order, and the hub's of what it signed. `status` as stored.
    pub fn order(&mut self, at: usize, id: Uuid, amount: u128, status: i16, prev_total: u128) {
        let account = &self.accounts[at];
        let terms = &self.hubs[account.hub].terms;
        let withdraw = Withdraw {
            channel_id: account.channel,
            epoch: 0,
            prev_total: Amount::new(prev_total),
            amount: Amount::new(amount),
            to: Address([0xaa; 20]),
            valid_until: FINAL_TIME + 300,
            request_id: OperationId(*id.as_bytes()).word(),
        };
        let signature = |key: &Signer| bytes(key.sign(&terms.domain, &withdraw).0);
        let executed = status == 5;
        let row = json!({
            "id": id, "hub_id": terms.hub_id, "account_id": account.id,
            "channel_id": bytes(account.channel.0), "epoch": 0, "amount": withdraw.amount,
            "to_address": bytes(withdraw.to.0), "status": status, "prev_total": withdraw.prev_total,
            "valid_until": withdraw.valid_until, "hub_signature": signature(&self.hubs[account.hub].key),
            "user_signature": signature(&self.custody), "tx_hash": executed.then(|| bytes([7; 32])),
            "confirmations": 0, "cancelled": false, "expired": status == 6, "correlation_id": "test",
            "version": 1, "created_at": NOW, "updated_at": NOW,
        });
        let at_hub = json!({
            "hub_id": terms.hub_id, "order_id": id, "channel_id": bytes(account.channel.0), "epoch": 0,
            "prev_total": withdraw.prev_total, "amount": withdraw.amount, "to_address": bytes(withdraw.to.0),
            "valid_until": withdraw.valid_until, "executed": executed, "created_at": NOW,
        });
        let (channel, mode, hub) = (account.channel, terms.mode, terms.hub);
        self.row("account.withdrawals", row);
        self.row("hub.withdrawals", at_hub);
        if !executed {
            return;
        }
        add(&mut self.accounts[at].facts.executed, amount);
        let total = &mut self.channels.entry(channel).or_default().withdrawn;
        add(total, amount);
        let order = OperationId(*id.as_bytes()).word();
        let body = json!({
            "log": "withdrawn", "hub": hub, "channel_id": channel, "epoch": 0, "request_id": order,
            "to": Address([0xaa; 20]), "amount": amount.to_string(), "total": *total,
        });
        self.log(id, 7, Some(order), body);
        let less = |from: &mut Amount| *from = from.checked_sub(Amount::new(amount)).unwrap();
        match mode {
            FundingMode::Vault => {
                less(&mut self.chain.contract_balance);
                less(&mut self.chain.hubs.get_mut(&hub).unwrap().funds);
            }
            FundingMode::Mint => add(&mut self.chain.total_supply, amount),
        }
    }

    /// A final log, in a block of its own.
    fn log(&mut self, id: Uuid, tx: u8, request_id: Option<Hash32>, body: Value) {
        let row = json!({
            "block_hash": bytes(keccak256(id.as_bytes()).0), "log_index": 0, "block": FINAL_BLOCK - 10,
            "tx_hash": bytes([tx; 32]), "request_id": request_id.map(|id| bytes(id.0)), "status": 2, "body": body,
        });
        self.row("chain.logs", row);
    }

    /// ERC20 comes in and is final.
    pub fn pay_in(&mut self, at: usize, amount: u128) {
        let account = &mut self.accounts[at];
        let terms = &self.hubs[account.hub].terms;
        add(&mut account.facts.final_deposits, amount);
        add(
            &mut self.channels.entry(account.channel).or_default().deposited,
            amount,
        );
        match terms.mode {
            FundingMode::Vault => {
                add(&mut self.chain.contract_balance, amount);
                add(
                    &mut self.chain.hubs.get_mut(&terms.hub).unwrap().funds,
                    amount,
                );
            }
            FundingMode::Mint => {
                let supply = self.chain.total_supply;
                self.chain.total_supply = supply.checked_sub(Amount::new(amount)).unwrap();
            }
        }
    }

    /// Adds the row of a deposit; credited when an operation did it.
    pub fn deposit(&mut self, at: usize, amount: u128, operation: Option<Uuid>) -> Uuid {
        let id = Uuid::now_v7();
        let account = &self.accounts[at];
        let row = json!({
            "id": id, "hub_id": self.hubs[account.hub].terms.hub_id, "account_id": account.id,
            "channel_id": bytes(account.channel.0), "epoch": 0, "amount": amount.to_string(),
            "status": if operation.is_some() { 3 } else { 2 }, "block": FINAL_BLOCK - 10,
            "block_hash": bytes(keccak256(id.as_bytes()).0), "tx_hash": bytes([8; 32]), "log_index": 0,
            "operation_id": operation, "created_at": NOW, "updated_at": "2999-01-01T00:00:00Z",
        });
        let account = &self.accounts[at];
        let body = json!({
            "log": "deposited", "hub": self.hubs[account.hub].terms.hub, "channel_id": account.channel, "epoch": 0,
            "amount": amount.to_string(), "total": account.facts.final_deposits,
        });
        self.row("account.deposits", row);
        self.log(id, 8, None, body);
        id
    }

    /// Writes down accounts, heads and facts as they are now.
    pub fn close(&mut self) {
        let mut rows: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
        for account in &self.accounts {
            let hub_id = self.hubs[account.hub].terms.hub_id;
            let mut add = |table, row| rows.entry(table).or_default().push(row);
            if let Some((state, batch)) = account.head {
                add(
                    "account.accounts",
                    json!({
                        "id": account.id, "owner": Uuid::nil(), "hub_id": hub_id, "asset": "INF", "status": 1,
                        "channel_id": bytes(account.channel.0),
                        "params": bytes(hub_core::encoding::encode_params(&account.params)), "metadata": {},
                        "version": 1, "created_at": NOW,
                    }),
                );
                let mut head = columns(&state);
                head["account_id"] = json!(account.id);
                head["hub_id"] = json!(hub_id);
                head["status"] = json!(1);
                head["batch"] = json!(batch);
                head["newest"] = json!(account.newest);
                add("account.heads", head);
                let Facts {
                    executed,
                    final_deposits,
                    ..
                } = account.facts;
                if !executed.is_zero() || !final_deposits.is_zero() {
                    add(
                        "account.channel_facts",
                        json!({
                            "channel_id": bytes(account.channel.0), "epoch": 0, "executed": executed,
                            "seen_deposits": final_deposits, "final_deposits": final_deposits,
                        }),
                    );
                    add(
                        "hub.channel_facts",
                        json!({
                            "hub_id": hub_id, "channel_id": bytes(account.channel.0), "epoch": 0, "executed": executed,
                            "final_deposits": final_deposits, "closing": false,
                        }),
                    );
                }
            }
            if let Some((state, batch)) = account.hub_signed {
                let mut head = columns(&state);
                let mut held = Vec::new();
                encoding::encode_state(&account.hub_held.0, &mut held);
                head["hub_id"] = json!(hub_id);
                head["max_signed"] = json!(account.max_signed);
                head["signed_batch"] = json!(batch);
                head["held_state"] = bytes(held);
                head["held_batch"] = json!(account.hub_held.1);
                head["pending_increase"] = json!("0");
                add("hub.heads", head);
            }
        }
        self.rows.extend(rows);
    }
}

fn columns(state: &State) -> Value {
    json!({
        "channel_id": bytes(state.channel_id.0), "epoch": state.epoch, "version": state.version,
        "ack_version": state.ack_version, "hub_balance": state.hub_balance,
        "user_balance": state.user_balance, "hub_locked": state.hub_locked,
        "user_locked": state.user_locked, "withdrawn": state.withdrawn, "deposited": state.deposited,
        "credited": state.credited, "locks_hash": bytes(state.locks_hash.0),
        "transfers_root": bytes(state.transfers_root.0), "state_hash": bytes(state.hash_struct().0),
    })
}
