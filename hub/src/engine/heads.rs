//! Heads remembered between pieces of work.

use super::head::Head;
use super::limits;
use hub_core::{Amount, ChannelId, Hash32, State, Version};
use std::collections::HashMap;

/// Intact heads read or written before. Nearly all of them are co-signed; below such a state
/// nothing matters any more, so that they take half the room.
#[derive(Debug, Default)]
pub struct Heads {
    co_signed: HashMap<ChannelId, Box<CoSigned>>,
    half_signed: HashMap<ChannelId, Box<Head>>,
}

#[derive(Debug)]
struct CoSigned {
    max_signed: Version,
    signed: State,
    signed_hash: Hash32,
    signed_batch: u64,
}

impl CoSigned {
    fn of(head: &Head) -> Self {
        Self {
            max_signed: head.max_signed,
            signed: head.signed,
            signed_hash: head.signed_hash,
            signed_batch: head.signed_batch,
        }
    }

    /// As if it were its own base.
    fn head(&self) -> Head {
        Head {
            max_signed: self.max_signed,
            signed: self.signed,
            signed_hash: self.signed_hash,
            signed_batch: self.signed_batch,
            committed: true,
            below: self.signed,
            below_batch: self.signed_batch,
            pending_increase: Amount::ZERO,
        }
    }
}

impl Heads {
    /// What is remembered of a channel.
    pub fn get(&self, channel: &ChannelId) -> Option<Head> {
        let half_signed = self.half_signed.get(channel).map(|head| **head);
        half_signed.or_else(|| self.co_signed.get(channel).map(|head| head.head()))
    }

    /// Whether anything is remembered of a channel.
    pub fn contains(&self, channel: &ChannelId) -> bool {
        self.co_signed.contains_key(channel) || self.half_signed.contains_key(channel)
    }

    /// Remembers a head, and forgets all others when there are too many.
    pub fn insert(&mut self, head: Head) {
        let channel = head.signed.channel_id;
        // First, so that a channel known before never counts as one more.
        self.co_signed.remove(&channel);
        self.half_signed.remove(&channel);
        if self.co_signed.len() + self.half_signed.len() >= limits::CACHED_HEADS {
            *self = Self::default();
        }
        if head.committed {
            let head = CoSigned::of(&head);
            self.co_signed.insert(channel, Box::new(head));
        } else {
            self.half_signed.insert(channel, Box::new(head));
        }
    }

    /// Takes in that a batch is committed, as far as a channel's newest state is in it.
    pub fn commit(&mut self, channel: &ChannelId, batch_id: u64) {
        let head = self.half_signed.get(channel);
        if let Some(head) = head.filter(|head| head.signed_batch == batch_id) {
            let head = CoSigned::of(head);
            self.half_signed.remove(channel);
            self.co_signed.insert(*channel, Box::new(head));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half_signed(batch_id: u64) -> Head {
        let base = State::null(ChannelId([1; 32]), 0, Amount::new(100));
        let mut next = base;
        next.version = 1;
        next.user_balance = Amount::new(30);
        Head {
            max_signed: 1,
            signed: next,
            signed_batch: batch_id,
            committed: false,
            pending_increase: Amount::new(30),
            ..Head::null(base)
        }
    }

    #[test]
    fn a_head_is_half_signed_until_its_own_batch_is_committed() {
        let (mut heads, head) = (Heads::default(), half_signed(7));
        let channel = head.signed.channel_id;
        assert!(!heads.contains(&channel));
        heads.insert(head);
        heads.commit(&channel, 6);
        assert_eq!(heads.get(&channel), Some(head));
        heads.commit(&channel, 7);
        let held = heads.get(&channel).unwrap();
        assert!(held.committed);
        assert_eq!(held.held(), (&head.signed, 7));
        assert_eq!(
            (held.worst(), held.held_hash()),
            (Some(30), head.signed_hash)
        );
    }

    #[test]
    fn a_channel_is_remembered_once() {
        let (mut heads, head) = (Heads::default(), half_signed(7));
        let channel = head.signed.channel_id;
        heads.insert(head);
        heads.commit(&channel, 7);
        let next = half_signed(8);
        heads.insert(next);
        assert_eq!(heads.get(&channel), Some(next));
        heads.insert(Head {
            committed: true,
            ..half_signed(9)
        });
        heads.commit(&channel, 8);
        assert_eq!(heads.get(&channel).unwrap().signed_batch, 9);
        assert_eq!(heads.co_signed.len() + heads.half_signed.len(), 1);
    }
}
