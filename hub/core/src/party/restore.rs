//! A side whose database was restored (N5, P12).

use super::book::{Fence, Import, Standing};
use super::evidence::{Content, Keys, Signed};
use super::machine::{Effect, Party};
use crate::dispute::Side;
use crate::types::{Credit, MAX_VERSION};
use crate::{Version, lock};

/// Versions that one life of a database may use (P12).
pub const VERSION_JUMP: Version = 1 << 32;

impl Party {
    /// The database was restored: versions jump, and nothing is signed or closed before the
    /// other side's heads were taken over and the operator lifts the fence (N5).
    ///
    /// `life` counts the restores, from 1, and is kept outside the database: two restores from
    /// one backup would otherwise jump to the same versions.
    pub fn restored(&mut self, life: u16) -> Vec<Effect> {
        self.book.standing = Standing::Fenced(Fence::Restored);
        let floor = (u64::from(life) * VERSION_JUMP).min(MAX_VERSION);
        self.book.max_signed = self.book.max_signed.max(floor);
        self.book.open = None;
        vec![Effect::Store, Effect::Raise(Fence::Restored)]
    }

    /// Takes over what the other side or the account database proves, behind the fence.
    ///
    /// The last signer may have completed, and in self-custody revoked the base of, a state that
    /// nobody shows co-signed: from then on it closes only with a newer one. Whatever is above
    /// the held state counts as possibly final for either signer.
    pub fn import(&mut self, import: &Import, keys: &impl Keys) -> Vec<Effect> {
        let mut effects = self.learn(&import.held, keys);
        for content in &import.above {
            self.count_as_possible(content);
        }
        let own = self.own_signer();
        for (withdraw, signature) in &import.withdraws {
            let known = |(signed, _): &(_, _)| signed == withdraw;
            if !self.book.withdraws.iter().any(known)
                && keys.verify(self.channel.digest(withdraw), signature, own)
            {
                self.book.withdraws.push((*withdraw, *signature));
            }
        }
        self.book
            .withdraws
            .sort_by_key(|(withdraw, _)| withdraw.prev_total);
        if let Some((cumulative, signature)) = import.credit {
            let credit = Credit {
                channel_id: self.channel.id,
                epoch: self.book.held.content.state.epoch,
                cumulative,
            };
            let digest = self.channel.digest(&credit);
            let signer = self.channel.params.hub_signer;
            if cumulative > self.book.credited() && keys.verify(digest, &signature, signer) {
                self.book.credit = Some((cumulative, signature));
            }
        }
        effects.push(Effect::Store);
        effects
    }

    fn count_as_possible(&mut self, content: &Content) {
        let (state, version) = (&content.state, content.state.version);
        // This life has signed nothing yet; a state that does not add up is none.
        let plausible = version > self.book.held_version()
            && version <= self.book.max_signed
            && state.channel_id == self.channel.id
            && state.total() == Some(self.channel.params.capacity)
            && lock::check_list(state, &content.locks).is_ok();
        let known = self
            .book
            .half
            .iter()
            .any(|half| half.content.leaf == content.leaf);
        if !plausible || known {
            return;
        }
        if self.signs_last() {
            self.book.close_from = self.book.close_from.max(version + 1);
        }
        self.book.half.push(Signed::unsigned(content.clone()));
    }

    /// The operator has checked the outside marks (anchor, customers' proofs) and lets it sign.
    pub fn lift_fence(&mut self) -> Vec<Effect> {
        if let Standing::Fenced(_) = self.book.standing {
            self.book.standing = Standing::Open;
        }
        vec![Effect::Store]
    }

    fn own_signer(&self) -> crate::Address {
        match self.side() {
            Side::Hub => self.channel.params.hub_signer,
            Side::User => self.channel.params.user_signer,
        }
    }
}
