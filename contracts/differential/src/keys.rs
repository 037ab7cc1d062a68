//! The keys of a history. All are fixed: signatures are part of what a seed decides.

use hub_core::dispute::Key;
use hub_core::{Address, ChannelParams, Domain, Signature, Typed};
use signer::Signer;

/// Who signs.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The hub signer.
    pub hub: Signer,
    /// The custody key.
    pub custody: Signer,
    /// A customer's own key.
    pub own: Signer,
    /// Anybody else.
    pub stranger: Signer,
    /// Buyer of orders and issuer of books.
    pub trader: Signer,
    /// Payout addresses, by place of the channel.
    pub payouts: [Signer; 3],
}

impl Default for Keys {
    fn default() -> Self {
        let key = |byte: u8| Signer::from_bytes(&[byte; 32]).unwrap();
        Self {
            hub: key(0x11),
            custody: key(0x22),
            own: key(0x33),
            stranger: key(0x44),
            trader: key(0x55),
            payouts: [0xC0, 0xC1, 0xC2].map(key),
        }
    }
}

impl Keys {
    /// The signer of a channel that is meant.
    pub fn of(&self, params: &ChannelParams, key: Key) -> &Signer {
        match key {
            Key::Hub => &self.hub,
            Key::User if params.user_signer == self.custody.address() => &self.custody,
            Key::User => &self.own,
            Key::Stranger => &self.stranger,
        }
    }

    /// A signature in a channel by the key that is meant.
    pub fn sign<T: Typed>(
        &self,
        params: &ChannelParams,
        key: Key,
        domain: &Domain,
        message: &T,
    ) -> Signature {
        self.of(params, key).sign(domain, message)
    }

    /// The key of a channel's payout address.
    pub fn payout(&self, params: &ChannelParams) -> &Signer {
        let found = self.payouts.iter();
        let mut found = found.filter(|key| key.address() == params.user);
        found.next().unwrap()
    }

    /// Everybody who may send something.
    pub fn senders(&self, params: &ChannelParams) -> [Address; 5] {
        [
            params.hub_signer,
            params.user_signer,
            params.user,
            params.hub,
            self.stranger.address(),
        ]
    }
}
