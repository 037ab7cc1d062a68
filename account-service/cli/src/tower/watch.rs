//! Reading new blocks and answering the closes in them.

use super::Report;
use super::answer::{self, Answer};
use super::cursor::{Close, Cursor};
use super::shelf::Shelf;
use crate::args::TowerRun;
use crate::dispute::history;
use crate::dispute::tell::{self, Unit};
use anyhow::bail;
use chain::calls::{self, Call};
use chain::{At, Block, Chain, ChainError, ChainLog, LogBody, Wallet, record};
use hub_core::dispute::answer::{Closing, Guard};
use hub_core::settlement::{ChainTotals, Closer};
use hub_core::{Amount, ChannelId, Epoch};
use std::path::PathBuf;

/// Longest window that any channel may have and longest wait of its closer, seconds: older closes
/// are over.
const LONGEST_CLOSE: u64 = 2 * 7 * 24 * 3_600;
/// Blocks read again at each look: a close may come back in another block after a reorganisation.
const REREAD: u64 = 64;
/// Gas of one transaction of answers: half of what one may use (EIP-7825), so that any block has
/// room for it. About 55 challenges or 19 settlements.
const GAS_OF_A_BATCH: u64 = chain::wallet::GAS_CAP / 2;

/// A tower at work.
pub struct Watch {
    chain: Chain,
    wallet: Wallet,
    unit: Unit,
    dir: PathBuf,
    guard: Guard,
    cursor: Cursor,
    report: Report,
}

impl Watch {
    /// Goes on where it was, or begins as far back as a window can reach.
    pub async fn open(
        chain: Chain,
        wallet: Wallet,
        unit: Unit,
        args: &TowerRun,
        report: Report,
    ) -> anyhow::Result<Self> {
        let cursor = match Cursor::load(&args.dir)? {
            Some(cursor) => cursor,
            None => {
                let head = chain.node().head().await?;
                let oldest = head.timestamp.saturating_sub(LONGEST_CLOSE);
                let from = history::block_at(chain.node(), oldest).await?;
                Cursor {
                    domain: chain.domain(),
                    read: from.saturating_sub(1),
                    closes: Default::default(),
                }
            }
        };
        Ok(Self {
            chain,
            wallet,
            unit,
            dir: args.dir.clone(),
            guard: args.guard,
            cursor,
            report,
        })
    }

    /// One look: reads, remembers, answers. Says how many stale closes it could not answer.
    ///
    /// # Errors
    /// The chain or the disk does not answer; nothing is lost, the next look does it again.
    pub async fn round(&mut self, shelf: &Shelf) -> anyhow::Result<usize> {
        let head = self.chain.node().head().await?;
        if head.number < self.cursor.read.saturating_sub(REREAD) {
            bail!(
                "the node is at block {}, behind block {} that was read already: it lags, or its \
                 chain is another",
                head.number,
                self.cursor.read
            );
        }
        self.read(head).await?;
        // An answer changes the dispute; at most five calls belong to one close.
        for _ in 0..5 {
            let answers = self.answers(shelf).await?;
            if answers.is_empty() {
                return Ok(0);
            }
            self.send(&answers).await?;
        }
        Ok(self.answers(shelf).await?.len())
    }

    /// Remembers new closes, and only then how far it has read.
    async fn read(&mut self, head: Block) -> anyhow::Result<()> {
        let from = self.cursor.read.saturating_sub(REREAD);
        let logs = history::logs(&self.chain, None, from, head.number).await?;
        let before = self.cursor.clone();
        // What is read again says anew what is over.
        for close in self
            .cursor
            .closes
            .values_mut()
            .flat_map(|of| of.values_mut())
        {
            close.over = close.over.filter(|block| *block < from);
        }
        for log in &logs {
            self.note(log);
        }
        self.cursor.closes.retain(|_, of| {
            of.retain(|_, close| close.over.is_none_or(|block| block >= from));
            !of.is_empty()
        });
        self.cursor.read = head.number.max(self.cursor.read);
        if self.cursor != before {
            self.cursor.save(&self.dir)?;
        }
        Ok(())
    }

    /// Notes a close, or its end. Settled is not over while somebody waits for a late payout: a
    /// cheating user can be punished until then.
    fn note(&mut self, log: &ChainLog) {
        let block = log.place.block;
        let over = match &log.body {
            LogBody::Closed { state, .. } => {
                let of = self.cursor.closes.entry(state.channel_id).or_default();
                of.insert(state.epoch, Close { block, over: None });
                return;
            }
            LogBody::Settled {
                channel_id,
                epoch,
                paid,
                ..
            } if paid.pay_at == 0 => (channel_id, epoch),
            LogBody::DelayedPaid {
                channel_id, epoch, ..
            }
            | LogBody::DelayedForfeited {
                channel_id, epoch, ..
            } => (channel_id, epoch),
            _ => return,
        };
        let of = self.cursor.closes.get_mut(over.0);
        if let Some(close) = of.and_then(|of| of.get_mut(over.1)) {
            close.over = Some(block);
        }
    }

    /// The next call for each close that calls for one.
    async fn answers(&self, shelf: &Shelf) -> anyhow::Result<Vec<(ChannelId, Answer)>> {
        let head = self.chain.node().head().await?;
        let mut answers = Vec::new();
        let all = self.cursor.closes.iter();
        let all =
            all.flat_map(|(id, of)| of.iter().map(move |(epoch, close)| (*id, *epoch, close)));
        for (id, epoch, close) in all {
            if close.over.is_some() {
                continue;
            }
            let Some(held) = shelf.get(id, epoch) else {
                continue;
            };
            let Some(closing) = self.look(id, epoch, close, head).await? else {
                continue;
            };
            let answer = answer::answer(self.chain.channels(), held, &closing, self.guard);
            answers.extend(answer.map(|answer| (id, answer)));
        }
        Ok(answers)
    }

    /// A close as it is now; nothing when there is nothing to do about it any more, or the node
    /// does not show all of it.
    async fn look(
        &self,
        id: ChannelId,
        epoch: Epoch,
        close: &Close,
        head: Block,
    ) -> anyhow::Result<Option<Closing>> {
        let at = At::Block(head.number);
        let view = self.chain.channel(id, at).await?;
        let runs = view.closing && view.epoch == epoch;
        if !runs {
            let pending = self.chain.pending(id, epoch, at).await?;
            let waits = pending.delayed.map(|(_, _, closer)| closer);
            let concerns = match waits {
                Some(Closer::User) => true,
                Some(closer) => self.guard.covers(closer),
                None => false,
            };
            if view.epoch <= epoch || !concerns {
                return Ok(None);
            }
        }
        let from = close.block.saturating_sub(REREAD);
        let logs = history::logs(&self.chain, Some(id), from, head.number).await?;
        let told = record::close_of(id, epoch, logs.iter().map(|log| &log.body));
        let known = told.filter(|told| match told.late {
            None => runs && record::dispute_hash(&told.dispute) == view.dispute_hash,
            Some(late) => !runs && !late.gone,
        });
        let Some(told) = known else {
            self.report.trouble(&format!(
                "{id}: the node does not show all logs of its dispute"
            ));
            return Ok(None);
        };
        Ok(Some(Closing {
            dispute: told.dispute,
            late: told.late,
            totals: ChainTotals {
                withdrawn: view.withdrawn,
                deposited: view.deposited,
                credit_max: Amount::ZERO,
            },
            now: head.timestamp,
        }))
    }

    async fn send(&self, answers: &[(ChannelId, Answer)]) -> anyhow::Result<()> {
        let mut rest = answers;
        while !rest.is_empty() {
            let mut gas = 0;
            let fits = |(_, answer): &&(ChannelId, Answer)| {
                gas += answer.call.gas;
                gas <= GAS_OF_A_BATCH
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (now, later) = rest.split_at(count);
            rest = later;
            self.send_batch(now).await?;
        }
        Ok(())
    }

    async fn send_batch(&self, answers: &[(ChannelId, Answer)]) -> anyhow::Result<()> {
        let calls: Vec<Call> = answers
            .iter()
            .map(|(_, answer)| answer.call.clone())
            .collect();
        let call = match calls.as_slice() {
            [one] => one.clone(),
            many => calls::batch(self.chain.channels(), many),
        };
        let receipt = match self.wallet.call(&call).await {
            Ok(receipt) => receipt,
            // Another tower was faster, the window ended, or the transaction waits behind higher
            // fees: the next look tells.
            Err(error @ (ChainError::Refused { .. } | ChainError::Failed { .. })) => {
                self.report.trouble(&error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut kinds: Vec<_> = answers.iter().map(|(_, answer)| answer.what).collect();
        kinds.sort_unstable();
        for of in kinds.chunk_by(|one, other| one == other) {
            let text = format!(
                "{} of {} channels in one transaction, in block {}",
                of[0],
                of.len(),
                receipt.block
            );
            self.report.news("sent", &text);
        }
        let logs = self.chain.logs(receipt.block, receipt.block).await?;
        for log in &logs {
            self.tell(log, answers);
        }
        Ok(())
    }

    fn tell(&self, log: &ChainLog, answers: &[(ChannelId, Answer)]) {
        let Some(id) = log.body.channel_id() else {
            return;
        };
        if !answers.iter().any(|(of, _)| *of == id) {
            return;
        }
        if let LogBody::Settled { paid, .. } = &log.body
            && paid.bounty_to == self.wallet.address()
            && !paid.bounty.is_zero()
        {
            let bounty = self.unit.show(paid.bounty);
            self.report.news("bounty", &format!("{id}: {bounty}"));
            return;
        }
        let text = tell::log(&log.body, hub_core::Address::ZERO, &self.unit);
        if let Some(text) = text.filter(|_| !matches!(log.body, LogBody::Settled { .. })) {
            self.report.news("answered", &format!("{id}: {text}"));
        }
    }
}
