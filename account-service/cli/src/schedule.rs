//! The order of operations: those that touch a common account one after another, in file order;
//! all others side by side.

use crate::plan::Plan;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Between two ticks while nothing finishes.
const TICK: Duration = Duration::from_millis(200);

/// What happens while a schedule is driven.
#[derive(Debug)]
pub enum Event<T> {
    /// An operation has its final answer.
    Done(T),
    /// Some time has passed.
    Tick,
}

/// No operation.
const NONE: u32 = u32::MAX;

/// Which operations can be sent now. Each is given out once, when all earlier operations on its
/// accounts are done.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// How many operations each one still waits for: at most one per account.
    waits: Vec<u8>,
    /// The next operation on the first and on the second account.
    next: Vec<[u32; 2]>,
    /// The earliest goes first, so that nothing starves behind what came later.
    ready: BinaryHeap<Reverse<u32>>,
}

impl Schedule {
    /// Of a file; at most 2^32 - 1 operations.
    pub fn new(plan: &Plan) -> Self {
        let count = plan.operations.len();
        let mut schedule = Self {
            waits: vec![0; count],
            next: vec![[NONE; 2]; count],
            ready: BinaryHeap::new(),
        };
        // The newest operation seen on each account, and whether the account is its second.
        let mut newest: Vec<Option<(u32, usize)>> = vec![None; plan.names.len()];
        for (index, operation) in (0u32..).zip(&plan.operations) {
            let (first, second) = operation.action.accounts();
            let sides = if first == second { 1 } else { 2 };
            for (side, account) in [first, second].into_iter().enumerate().take(sides) {
                let before = newest[account as usize].replace((index, side));
                if let Some((before, before_side)) = before {
                    schedule.next[before as usize][before_side] = index;
                    schedule.waits[index as usize] += 1;
                }
            }
            if schedule.waits[index as usize] == 0 {
                schedule.ready.push(Reverse(index));
            }
        }
        schedule
    }

    /// The earliest operation that can be sent now.
    pub fn take(&mut self) -> Option<usize> {
        self.ready.pop().map(|Reverse(index)| index as usize)
    }

    /// Says that an operation has its final answer, which sets free what waited for it.
    pub fn done(&mut self, index: usize) {
        for next in self.next[index] {
            if next == NONE {
                continue;
            }
            let waits = &mut self.waits[next as usize];
            *waits -= 1;
            if *waits == 0 {
                self.ready.push(Reverse(next));
            }
        }
    }

    /// Performs all operations, at most `limit` at once, and reports what happens together with
    /// how many are under way. Ends at the first error; what is under way then is abandoned.
    pub async fn drive<T, E, F: Future<Output = Result<T, E>>>(
        mut self,
        limit: usize,
        perform: impl Fn(usize) -> F,
        mut report: impl FnMut(Event<T>, usize),
    ) -> Result<(), E> {
        let perform = &perform;
        let mut under_way = FuturesUnordered::new();
        let mut tick = tokio::time::interval(TICK);
        loop {
            while under_way.len() < limit.max(1) {
                let Some(index) = self.take() else { break };
                under_way.push(async move { (index, perform(index).await) });
            }
            tokio::select! {
                finished = under_way.next() => {
                    let Some((index, result)) = finished else { return Ok(()) };
                    self.done(index);
                    report(Event::Done(result?), under_way.len());
                }
                _ = tick.tick() => report(Event::Tick, under_way.len()),
            }
        }
    }
}
