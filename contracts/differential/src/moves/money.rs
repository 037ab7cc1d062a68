//! Money into and out of open channels, and into the hub's books.

use crate::abi::{Value, address, hash, uint};
use crate::evm::{ADMIN, GUARDIAN};
use crate::shown;
use crate::twin::{MEDDLER, OPERATOR, Pull, Step, Twin};
use hub_core::dispute::{Call, WithdrawOrder};
use hub_core::settlement::FundingMode;
use hub_core::{Address, Amount};

impl Twin {
    /// Who calls now.
    pub fn by(&self, sender: Address) -> Call {
        Call {
            sender,
            now: self.chain.now,
        }
    }

    /// A deposit by anybody.
    pub fn deposit(&mut self, at: usize, from: Address, amount: u128) -> Step {
        // What no one can own is refused before a token is asked for.
        if amount < 1 << 100 {
            self.give(from, amount);
        }
        let burns = self.hub.mode == FundingMode::Mint;
        let deposited = self.model(at, |hub, channel, _| {
            channel
                .deposit(hub, Amount::new(amount))
                .map(|()| Vec::new())
        });
        let arguments = [shown::params(&self.channels[at].params), uint(amount)];
        let answer = self.chain.call(from, "deposit", &arguments);
        let pull = Pull {
            from,
            amount,
            burns,
        };
        self.agree(
            &format!("deposit {at} {amount}"),
            at,
            deposited,
            answer,
            Some(pull),
        )
    }

    /// The guardian stops or lets go deposits.
    pub fn set_paused(&mut self, paused: bool) {
        self.hub.paused = paused;
        let arguments = [uint(paused)];
        self.chain.call(GUARDIAN, "setPaused", &arguments).unwrap();
    }

    /// More for the hub to pay with: vault or mint allowance.
    pub fn fund(&mut self, at: usize, amount: u128) -> Step {
        if self.hub.mode == FundingMode::Mint {
            let paused = self.hub.paused;
            self.set_paused(false);
            self.hub.funds = Amount::new(self.hub.funds.units() + amount.max(1));
            let arguments = [address(OPERATOR), uint(amount.max(1))];
            let answer = self.chain.call(ADMIN, "allowMint", &arguments);
            self.set_paused(paused);
            return self.agree(
                &format!("allowMint {amount}"),
                at,
                Ok(Vec::new()),
                answer,
                None,
            );
        }
        let from = self.keys.stranger.address();
        self.give(from, amount);
        let funded = self.model(at, |hub, _, _| hub.fund_vault(Amount::new(amount)));
        let arguments = [address(OPERATOR), uint(amount)];
        let answer = self.chain.call(from, "fundVault", &arguments);
        let pull = Pull {
            from,
            amount,
            burns: false,
        };
        let funded = funded.map(|()| Vec::new());
        self.agree(
            &format!("fundVault {amount}"),
            at,
            funded,
            answer,
            Some(pull),
        )
    }

    /// A vault hub sets tokens aside for a channel: its own, or somebody else's.
    pub fn collateral(&mut self, at: usize, by_meddler: bool, amount: u128) -> Step {
        let sender = if by_meddler { MEDDLER } else { OPERATOR };
        self.give(sender, amount);
        let hub = if by_meddler {
            self.meddler.clone()
        } else {
            self.hub.clone()
        };
        let added = self.model(at, |_, channel, _| {
            channel
                .add_collateral(&hub, Amount::new(amount))
                .map(|()| Vec::new())
        });
        let ids = Value::List(vec![hash(self.channels[at].id)]);
        let amounts = Value::List(vec![uint(amount)]);
        let answer = self.chain.call(sender, "batchCollateral", &[ids, amounts]);
        let pull = Pull {
            from: sender,
            amount,
            burns: false,
        };
        self.agree(
            &format!("batchCollateral {at} {amount}"),
            at,
            added,
            answer,
            Some(pull),
        )
    }

    /// A withdrawal, sent by anybody.
    pub fn withdraw(&mut self, at: usize, shown: &WithdrawOrder, sender: Address) -> Step {
        let call = self.by(sender);
        let params = self.channels[at].params;
        let domain = self.chain.domain();
        let order = &shown.order;
        let sign = |key| Value::Bytes(self.keys.sign(&params, key, &domain, order).0.to_vec());
        let arguments = [Value::Tuple(vec![
            shown::params(&params),
            uint(order.epoch),
            uint(order.prev_total.units()),
            uint(order.amount.units()),
            address(order.to),
            uint(order.valid_until),
            hash(order.request_id),
            shown.hub.map_or(Value::Bytes(Vec::new()), sign),
            sign(shown.user),
        ])];
        let paid = self.model(at, |hub, channel, _| {
            channel
                .withdraw(hub, shown, call)
                .map(|payment| vec![payment])
        });
        let answer = self.chain.call(sender, "withdraw", &arguments);
        let fault = match &paid {
            Err(hub_core::dispute::Refusal::WithdrawRefused { fault, .. }) => format!("{fault:?}"),
            _ => "paid".to_owned(),
        };
        *self.seen.entry(format!("withdraw {fault}")).or_default() += 1;
        let what = format!("withdraw {at} {} to {}", order.amount, order.to);
        self.agree(&what, at, paid, answer, None)
    }
}
