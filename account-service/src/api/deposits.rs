//! `/v1/deposits`, and how to make one.

use super::Answer;
use super::accounts::find;
use super::call::Call;
use super::fields::Fields;
use super::page::{List, Page};
use super::views::time_text;
use crate::ids::IdKind;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::accounts::{AccountStatus, Lookup};
use crate::store::deposits_read::{self, Deposit, DepositStatus, Filter};
use actix_web::HttpResponse;
use hub_core::{Address, Amount, ChannelParams, Hash32, keccak256};
use serde::Serialize;
use utoipa::ToSchema;

/// The contract's function that takes a deposit. Anybody may call it for any channel.
const DEPOSIT: &str = "deposit((address,address,address,address,bool,uint96,uint32,uint32,uint96,uint16,bytes32),uint256)";

/// A deposit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Deposit)]
pub struct DepositView {
    /// Its id.
    pub id: String,
    /// The account.
    pub account_id: String,
    /// `seen`, `final`, `credited` or `orphaned`.
    pub status: &'static str,
    /// How much came in, in minor units.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// Asset code.
    pub asset: String,
    /// The block.
    pub block: u64,
    /// The transaction.
    #[schema(value_type = String)]
    pub tx_hash: Hash32,
    /// The log in its block.
    pub log_index: u64,
    /// When it was first seen.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

impl DepositView {
    fn of(row: Deposit, asset: &str) -> Self {
        Self {
            id: IdKind::Deposit.text(row.id),
            account_id: IdKind::Account.text(row.account),
            status: row.status.word(),
            amount: row.amount,
            asset: asset.to_owned(),
            block: row.block,
            tx_hash: row.tx_hash,
            log_index: row.log_index,
            created_at: time_text(row.created_at),
            updated_at: time_text(row.updated_at),
        }
    }
}

/// Deposits, newest first.
#[utoipa::path(get, path = "/v1/deposits", tag = "Money",
    params(("account_id" = Option<String>, Query), ("status" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<DepositView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(call: Call) -> Answer {
    let caller = call.caller("deposits:read").await?;
    let mut query = call.query()?;
    let page = Page::take(&call, &caller, "deposits", &mut query)?;
    let filter = Filter {
        owner: caller.only_owner(),
        account: query.optional_id("account_id", IdKind::Account),
        status: query.optional_word("status", DepositStatus::WORDS),
        id: None,
        before: page.after_id(),
        limit: page.rows(),
    };
    query.finish()?;
    let rows = deposits_read::list(&call.app.pool, &filter).await?;
    let asset = &call.app.settings.asset;
    Ok(page.answer(
        rows,
        |row| row.id.to_string(),
        |row| DepositView::of(row, asset),
    ))
}

/// One deposit.
#[utoipa::path(get, path = "/v1/deposits/{id}", tag = "Money", params(("id" = String, Path)),
    responses((status = 200, body = DepositView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get(call: Call) -> Answer {
    let caller = call.caller("deposits:read").await?;
    call.no_query()?;
    let filter = Filter {
        owner: caller.only_owner(),
        id: Some(call.id(IdKind::Deposit)?),
        limit: 1,
        ..Filter::default()
    };
    let row = deposits_read::list(&call.app.pool, &filter).await?.pop();
    let row = row.ok_or_else(|| Problem::new(Code::DepositNotFound))?;
    Ok(HttpResponse::Ok().json(DepositView::of(row, &call.app.settings.asset)))
}

/// A deposit to be made.
#[derive(Debug, ToSchema)]
#[schema(as = NewDepositAddress)]
pub struct AddressBody {
    /// How much will be paid in, in minor units; may be left to whoever pays.
    #[schema(value_type = Option<String>)]
    pub amount: Option<Amount>,
}

impl AddressBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields) -> Self {
        Self {
            amount: fields.optional_amount("amount"),
        }
    }
}

/// How to pay into an account on chain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DepositAddress)]
pub struct AddressView {
    /// The contract to call, after `approve` on the token.
    #[schema(value_type = String)]
    pub contract: Address,
    /// The ERC20 that it takes.
    #[schema(value_type = String)]
    pub token: Address,
    /// The function to call.
    pub function: &'static str,
    /// The call as it is sent. Without an amount in the request it ends before the amount:
    /// append it as 32 bytes.
    pub calldata: String,
    /// The amount in the call, in minor units.
    #[schema(value_type = Option<String>)]
    pub amount: Option<Amount>,
    /// The channel's parameters.
    #[schema(value_type = Object)]
    pub channel_params: ChannelParams,
}

/// How to pay into an account on chain: anybody may, for any account.
#[utoipa::path(post, path = "/v1/accounts/{id}/deposit-addresses", tag = "Money", params(("id" = String, Path)),
    request_body = Option<AddressBody>,
    responses((status = 200, body = AddressView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn address(mut call: Call) -> Answer {
    let caller = call.caller("deposits:write").await?;
    let id = call.id(IdKind::Account)?;
    let mut fields = Fields::new(call.optional_body().await?);
    let AddressBody { amount } = AddressBody::take(&mut fields);
    if amount.is_some_and(|amount| !amount.fits_balance()) {
        fields.wrong("amount", "is more than any channel can hold");
    }
    fields.finish()?;
    if amount.is_some_and(Amount::is_zero) {
        return Err(Problem::new(Code::AmountZero));
    }
    let owner = caller.only_owner();
    let account = find(&call, Lookup { id, owner }).await?;
    if matches!(
        account.status,
        AccountStatus::Closing | AccountStatus::Closed
    ) {
        return Err(Problem::new(Code::AccountClosed));
    }
    let settings = &call.app.settings;
    Ok(HttpResponse::Ok().json(AddressView {
        contract: settings.channels,
        token: settings.token,
        function: DEPOSIT,
        calldata: format!("0x{}", hex::encode(calldata(&account.params, amount))),
        amount,
        channel_params: account.params,
    }))
}

/// The call in the contract's ABI: all parameters are of fixed size, so they stand in line.
fn calldata(params: &ChannelParams, amount: Option<Amount>) -> Vec<u8> {
    let mut call = keccak256(DEPOSIT.as_bytes()).0[..4].to_vec();
    let mut word = |bytes: &[u8]| {
        call.resize(call.len() + 32 - bytes.len(), 0);
        call.extend_from_slice(bytes);
    };
    for address in [
        params.hub,
        params.hub_signer,
        params.user,
        params.user_signer,
    ] {
        word(&address.0);
    }
    word(&[u8::from(params.custodial)]);
    word(&params.capacity.units().to_be_bytes());
    word(&params.challenge_period.to_be_bytes());
    word(&params.self_delay.to_be_bytes());
    word(&params.penalty_cap.units().to_be_bytes());
    word(&params.bounty_bps.to_be_bytes());
    word(&params.salt.0);
    if let Some(amount) = amount {
        word(&amount.units().to_be_bytes());
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(byte: u8) -> Address {
        Address([byte; 20])
    }

    #[test]
    fn the_call_is_the_selector_and_one_word_per_parameter() {
        let params = ChannelParams {
            hub: address(1),
            hub_signer: address(2),
            user: address(3),
            user_signer: address(4),
            custodial: true,
            capacity: Amount::new(5),
            challenge_period: 6,
            self_delay: 7,
            penalty_cap: Amount::new(8),
            bounty_bps: 9,
            salt: Hash32([10; 32]),
        };
        let call = calldata(&params, Some(Amount::new(11)));
        assert_eq!(call.len(), 4 + 12 * 32);
        let words: Vec<_> = call[4..].chunks(32).collect();
        for (at, byte) in [(0, 1), (1, 2), (2, 3), (3, 4)] {
            assert_eq!(words[at][..12], [0; 12]);
            assert_eq!(words[at][12..], [byte; 20]);
        }
        for (at, value) in [(4, 1), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9), (11, 11)] {
            assert_eq!(words[at][31], value, "word {at}");
            assert_eq!(words[at][..31], [0; 31], "word {at}");
        }
        assert_eq!(words[10], [10; 32]);
        assert_eq!(calldata(&params, None), call[..call.len() - 32]);
    }

    #[test]
    fn the_function_is_the_contracts() {
        let artifact = include_str!("../../../contracts/artifacts/HubChannels.json");
        let artifact: serde_json::Value = serde_json::from_str(artifact).unwrap();
        let deposit = artifact["abi"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["type"] == "function" && item["name"] == "deposit")
            .unwrap();
        let of = |list: &serde_json::Value| -> Vec<String> {
            let list = list.as_array().unwrap().iter();
            list.map(|input| input["type"].as_str().unwrap().to_owned())
                .collect()
        };
        let inputs = of(&deposit["inputs"]);
        assert_eq!(inputs, ["tuple", "uint256"]);
        let fields = of(&deposit["inputs"][0]["components"]).join(",");
        assert_eq!(format!("deposit(({fields}),uint256)"), DEPOSIT);
    }
}
