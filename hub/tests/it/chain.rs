//! Chain events as the worker sends them.

use chain_messages::{Certainty, Envelope, Event, Place};
use hub_client::ChainEventsRequest;
use hub_core::types::Withdraw;
use hub_core::{Address, Amount, ChannelId, Hash32, State};
use uuid::Uuid;

pub fn events(bodies: Vec<Event>) -> ChainEventsRequest {
    let envelope = |body| Envelope {
        id: Uuid::new_v4(),
        correlation_id: "test".to_owned(),
        body,
    };
    ChainEventsRequest {
        count: None,
        events: bodies.into_iter().map(envelope).collect(),
    }
}

fn place() -> Place {
    Place {
        block: 1,
        block_hash: Hash32([1; 32]),
        tx_hash: Hash32([2; 32]),
        log_index: 0,
    }
}

pub fn vault(hub: Address, units: u128) -> ChainEventsRequest {
    events(vec![Event::VaultChanged {
        hub,
        vault: Amount::new(units),
        place: place(),
    }])
}

pub fn finalized(timestamp: u64) -> ChainEventsRequest {
    events(vec![Event::Finalized {
        block: timestamp,
        timestamp,
    }])
}

pub fn deposited(channel_id: ChannelId, units: u128, certainty: Certainty) -> ChainEventsRequest {
    events(vec![Event::Deposited {
        channel_id,
        epoch: 0,
        amount: Amount::new(units),
        total: Amount::new(units),
        certainty,
        place: place(),
    }])
}

pub fn withdrawn(withdraw: &Withdraw) -> ChainEventsRequest {
    events(vec![Event::Withdrawn {
        channel_id: withdraw.channel_id,
        epoch: withdraw.epoch,
        request_id: withdraw.request_id,
        to: withdraw.to,
        amount: withdraw.amount,
        total: withdraw.prev_total.checked_add(withdraw.amount).unwrap(),
        certainty: Certainty::Final,
        confirmations: 6,
        place: place(),
    }])
}

pub fn closed(state: State) -> ChainEventsRequest {
    events(vec![Event::Closed {
        state,
        by_hub: false,
        deadline: 100,
        certainty: Certainty::Seen,
        place: place(),
    }])
}

pub fn settled(state: &State) -> ChainEventsRequest {
    events(vec![Event::Settled {
        channel_id: state.channel_id,
        epoch: state.epoch,
        paid: Amount::ZERO,
        place: place(),
    }])
}
