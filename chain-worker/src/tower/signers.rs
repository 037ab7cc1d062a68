//! Who signs for which channel, so that a batch is checked without reading its channels'
//! parameters again.

use super::copy::Opened;
use hub_core::{ChannelId, ChannelParams};
use std::collections::{HashMap, HashSet};

/// Channels that are remembered: 40 bytes each.
const REMEMBERED: usize = 2_000_000;

/// The signers of one hub's channels, as far as they were needed.
#[derive(Debug, Default)]
pub struct Signers {
    /// A place in `params`.
    channels: HashMap<ChannelId, usize>,
    /// Parameters that differ in who signs.
    params: Vec<ChannelParams>,
}

impl Signers {
    /// Whether a channel's signers are known.
    pub fn know(&self, channel: &ChannelId) -> bool {
        self.channels.contains_key(channel)
    }

    /// Makes room for the channels of batches that are about to be checked. Not while they are: what
    /// is known of them already would be forgotten.
    pub fn make_room(&mut self) {
        if self.channels.len() > REMEMBERED {
            // Rare and cheap to refill.
            self.channels.clear();
        }
    }

    /// Remembers channels.
    pub fn remember(&mut self, known: impl IntoIterator<Item = (ChannelId, ChannelParams)>) {
        for (channel, params) in known {
            let same = |one: &ChannelParams| {
                (one.hub, one.hub_signer, one.user_signer)
                    == (params.hub, params.hub_signer, params.user_signer)
            };
            let at = self.params.iter().position(same).unwrap_or_else(|| {
                self.params.push(params);
                self.params.len() - 1
            });
            self.channels.insert(channel, at);
        }
    }

    /// Who must have signed a batch, each once, as the parameters of one of their channels;
    /// nothing when a channel is unknown.
    pub fn of(&self, batch: &Opened) -> Option<Vec<&ChannelParams>> {
        let places: Option<HashSet<_>> = batch
            .states
            .iter()
            .map(|state| self.channels.get(&state.channel_id).copied())
            .collect();
        let signers = places?.into_iter();
        Some(signers.filter_map(|at| self.params.get(at)).collect())
    }
}
