//! What the requests of a load say.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use uuid::Uuid;

/// Requests by their number: the same number always says the same.
pub trait Orders: Send {
    /// Writes the body of request `number` and returns its path.
    fn write(&self, number: u64, body: &mut Vec<u8>) -> &'static str;
}

/// A well-mixed number out of any other.
pub fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(number.wrapping_mul(0xd1b5_4a32_d192_ed03))
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn below(random: u64, limit: usize) -> usize {
    (random % limit as u64) as usize
}

fn account(id: Uuid) -> impl std::fmt::Display {
    struct Text(Uuid);
    impl std::fmt::Display for Text {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "acc_{}", self.0.simple())
        }
    }
    Text(id)
}

fn put(body: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = body.write_fmt(text);
}

/// Single transfers between accounts chosen evenly, or all to one merchant.
#[derive(Debug, Clone)]
pub struct Transfers {
    /// Whose.
    pub accounts: Arc<Vec<Uuid>>,
    /// Another choice of accounts for each seed.
    pub seed: u64,
    /// Pays the first account, always.
    pub hot_payee: bool,
    /// The first account pays, always.
    pub hot_payer: bool,
}

impl Transfers {
    /// Between accounts chosen evenly.
    pub fn uniform(accounts: &Arc<Vec<Uuid>>, seed: u64) -> Self {
        Self {
            accounts: accounts.clone(),
            seed,
            hot_payee: false,
            hot_payer: false,
        }
    }

    fn pair(&self, number: u64) -> (Uuid, Uuid) {
        let count = self.accounts.len();
        let from = below(mix(self.seed, 2 * number), count);
        let step = 1 + below(mix(self.seed, 2 * number + 1), count - 1);
        let (mut from, mut to) = (from, (from + step) % count);
        if self.hot_payee {
            (from, to) = (step, 0);
        } else if self.hot_payer {
            (from, to) = (0, step);
        }
        (self.accounts[from], self.accounts[to])
    }
}

impl Orders for Transfers {
    fn write(&self, number: u64, body: &mut Vec<u8>) -> &'static str {
        let (from, to) = self.pair(number);
        let (from, to) = (account(from), account(to));
        put(
            body,
            format_args!(r#"{{"from":"{from}","to":"{to}","amount":"1"}}"#),
        );
        "/v1/transfers"
    }
}

/// `transfer-batches` of transfers as [`Transfers`] makes them.
#[derive(Debug, Clone)]
pub struct TransferBatches {
    /// What they hold.
    pub transfers: Transfers,
    /// How many each.
    pub size: u64,
    /// All or none; else each for itself.
    pub atomic: bool,
}

impl Orders for TransferBatches {
    fn write(&self, number: u64, body: &mut Vec<u8>) -> &'static str {
        let mode = if self.atomic { "atomic" } else { "independent" };
        put(body, format_args!(r#"{{"mode":"{mode}","items":["#));
        for item in 0..self.size {
            if item > 0 {
                body.push(b',');
            }
            self.transfers.write(number * self.size + item, body);
        }
        body.extend_from_slice(b"]}");
        "/v1/transfer-batches"
    }
}

/// Transfers from treasuries, so that every account has money: request `n` is a batch that funds
/// the `n`th part of the accounts.
#[derive(Debug, Clone)]
pub struct Fundings {
    /// Who gets money.
    pub accounts: Arc<Vec<Uuid>>,
    /// Who has it.
    pub treasuries: Arc<Vec<Uuid>>,
    /// Accounts of a request.
    pub size: usize,
    /// Minor units for each.
    pub amount: u128,
}

impl Fundings {
    /// Requests until all have their money.
    pub fn requests(&self) -> u64 {
        self.accounts.len().div_ceil(self.size) as u64
    }
}

impl Orders for Fundings {
    fn write(&self, number: u64, body: &mut Vec<u8>) -> &'static str {
        let from = account(self.treasuries[below(number, self.treasuries.len())]);
        let begin = number as usize * self.size;
        let end = (begin + self.size).min(self.accounts.len());
        put(body, format_args!(r#"{{"mode":"atomic","items":["#));
        for (at, to) in self.accounts[begin..end].iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let (to, amount) = (account(*to), self.amount);
            put(
                body,
                format_args!(r#"{comma}{{"from":"{from}","to":"{to}","amount":"{amount}"}}"#),
            );
        }
        body.extend_from_slice(b"]}");
        "/v1/transfer-batches"
    }
}

/// Openings of accounts, one by one.
#[derive(Debug, Clone)]
pub struct Openings {
    /// At which hub.
    pub hub: String,
}

impl Orders for Openings {
    fn write(&self, _number: u64, body: &mut Vec<u8>) -> &'static str {
        put(body, format_args!(r#"{{"hub_id":"{}"}}"#, self.hub));
        "/v1/accounts"
    }
}

/// Openings of many accounts at once.
#[derive(Debug, Clone)]
pub struct AccountBatches {
    body: String,
}

impl AccountBatches {
    /// Requests that open `size` accounts at a hub.
    pub fn new(hub: &str, size: usize) -> Self {
        let mut body = String::from(r#"{"items":["#);
        for item in 0..size {
            let comma = if item > 0 { "," } else { "" };
            // Writing into memory does not fail.
            let _ = write!(body, r#"{comma}{{"hub_id":"{hub}"}}"#);
        }
        body.push_str("]}");
        Self { body }
    }
}

impl Orders for AccountBatches {
    fn write(&self, _number: u64, body: &mut Vec<u8>) -> &'static str {
        body.extend_from_slice(self.body.as_bytes());
        "/v1/account-batches"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::HashSet;

    fn written(orders: &impl Orders, number: u64) -> Value {
        let mut body = Vec::new();
        orders.write(number, &mut body);
        serde_json::from_slice(&body).unwrap()
    }

    fn accounts(count: usize) -> Arc<Vec<Uuid>> {
        Arc::new((0..count).map(|_| Uuid::now_v7()).collect())
    }

    #[test]
    fn a_number_always_says_the_same_and_never_pays_itself() {
        let orders = Transfers::uniform(&accounts(3), 7);
        let mut seen = HashSet::new();
        for number in 0..200 {
            let body = written(&orders, number);
            assert_eq!(body, written(&orders, number));
            assert_ne!(body["from"], body["to"]);
            seen.insert((body["from"].to_string(), body["to"].to_string()));
        }
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn a_hot_account_is_in_every_transfer() {
        let accounts = accounts(5);
        let hot = account(accounts[0]).to_string();
        let mut orders = Transfers::uniform(&accounts, 1);
        orders.hot_payee = true;
        assert!((0..50).all(|n| written(&orders, n)["to"] == hot.as_str()));
        (orders.hot_payee, orders.hot_payer) = (false, true);
        assert!((0..50).all(|n| written(&orders, n)["from"] == hot.as_str()));
    }

    #[test]
    fn fundings_reach_every_account_once() {
        let orders = Fundings {
            accounts: accounts(25),
            treasuries: accounts(2),
            size: 10,
            amount: 5,
        };
        assert_eq!(orders.requests(), 3);
        let paid: Vec<_> = (0..3)
            .flat_map(|n| written(&orders, n)["items"].as_array().unwrap().clone())
            .map(|item| item["to"].to_string())
            .collect();
        assert_eq!(paid.len(), 25);
        assert_eq!(paid.iter().collect::<HashSet<_>>().len(), 25);
    }

    #[test]
    fn batches_have_their_size() {
        let orders = TransferBatches {
            transfers: Transfers::uniform(&accounts(9), 3),
            size: 4,
            atomic: false,
        };
        assert_eq!(written(&orders, 5)["items"].as_array().unwrap().len(), 4);
        let orders = AccountBatches::new("hub_1", 3);
        assert_eq!(written(&orders, 0)["items"].as_array().unwrap().len(), 3);
    }
}
