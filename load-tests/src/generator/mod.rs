//! A load generator that costs little: one thread, kept connections, one request on each at a
//! time. What request number `n` says is a function of `n`, so that any of them can be asked for
//! again by its idempotency key.

mod exchange;
mod histogram;
mod orders;

pub use histogram::Histogram;
pub use orders::{AccountBatches, Fundings, Openings, Orders, TransferBatches, Transfers, mix};

use anyhow::Context as _;
use exchange::{Connection, Head, Reply};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// The next one on a connection as soon as the last is answered.
    Closed,
    /// So many a second whatever comes back. Latencies count from when a request was due.
    Open {
        /// Requests a second.
        per_second: f64,
    },
}

/// What to send, where and how fast.
#[derive(Debug, Clone)]
pub struct Load {
    /// The service.
    pub address: SocketAddr,
    /// Its API key.
    pub api_key: String,
    /// Begins every idempotency key.
    pub run: String,
    /// Connections at most.
    pub connections: usize,
    /// When.
    pub pace: Pace,
    /// Requests in all; without it, until it is stopped.
    pub limit: Option<u64>,
    /// Keep the idempotency key of everything that was done, and what became of each item of a
    /// batch.
    pub remember: bool,
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Answers by status, of the time that was measured.
    pub statuses: BTreeMap<u16, u64>,
    /// Refusals by problem code, of the time that was measured.
    pub codes: BTreeMap<String, u64>,
    /// Refusals 429 and 503 without `Retry-After`.
    pub without_retry_after: u64,
    /// Exchanges that broke, by what was seen; what became of those requests is unknown.
    pub broken: BTreeMap<String, u64>,
    /// Latencies of 2xx answers.
    pub latency: Histogram,
    /// Latencies of all others.
    pub refused_latency: Histogram,
    /// Idempotency keys of what was done, in the order of the answers, from the start to the end,
    /// if they were to be kept. Items of a batch have keys of their own.
    pub acknowledged: Vec<String>,
    /// Numbers of the requests that got no answer, if they were to be kept.
    pub unknown: Vec<u64>,
    /// Items of batches that were refused, by problem code, if they were to be kept.
    pub refused_items: BTreeMap<String, u64>,
    /// Requests that were due and never sent, because no connection was free.
    pub unsent: u64,
    /// Requests sent, measured or not.
    pub sent: u64,
}

impl Outcome {
    /// Answers 2xx.
    pub fn done(&self) -> u64 {
        let good = self.statuses.range(200..300);
        good.map(|(_, count)| count).sum()
    }

    /// Answers with another status.
    pub fn refused(&self) -> u64 {
        self.statuses.values().sum::<u64>() - self.done()
    }

    fn remember(&mut self, key: String, body: &[u8]) {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(items) = answer["results"].as_array() else {
            self.acknowledged.push(key);
            return;
        };
        for (index, item) in items.iter().enumerate() {
            if item["status"] == 201 {
                self.acknowledged.push(format!("{key}#{index}"));
            } else {
                let code = item["problem"]["code"].as_str().unwrap_or("no code");
                *self.refused_items.entry(code.to_owned()).or_default() += 1;
            }
        }
    }

    /// Everything that did not go well, in words.
    pub fn troubles(&self) -> String {
        let codes = self.codes.iter().map(|(code, n)| format!("{n} x {code}"));
        let broken = self.broken.iter().map(|(what, n)| format!("{n} x {what}"));
        codes.chain(broken).collect::<Vec<_>>().join(", ")
    }
}

struct Shared {
    load: Load,
    signals: Arc<Signals>,
    orders: Box<dyn Orders>,
    outcome: RefCell<Outcome>,
    next: Cell<u64>,
    /// Requests that are due, with their time; of an open load only.
    due: RefCell<VecDeque<(u64, Instant)>>,
    /// Nothing more becomes due.
    all_dealt: Cell<bool>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Signals {
    measure: AtomicBool,
    stop: AtomicBool,
    answered: AtomicU64,
}

/// A load under way.
pub struct Running {
    signals: Arc<Signals>,
    thread: std::thread::JoinHandle<anyhow::Result<Outcome>>,
}

impl Running {
    /// Begins to measure; what came before was warm-up.
    pub fn measure(&self) {
        self.signals.measure.store(true, Ordering::Relaxed);
    }

    /// Ends the measurement; the load goes on.
    pub fn pause(&self) {
        self.signals.measure.store(false, Ordering::Relaxed);
    }

    /// Answers of any status so far.
    pub fn answered(&self) -> u64 {
        self.signals.answered.load(Ordering::Relaxed)
    }

    /// Sends no more, and waits for the answers under way.
    pub async fn stop(self) -> anyhow::Result<Outcome> {
        self.signals.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits until all is sent and answered; of a load with a limit.
    pub async fn finish(self) -> anyhow::Result<Outcome> {
        let thread = self.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
        joined.unwrap_or_else(|_| anyhow::bail!("the generator panicked"))
    }
}

impl Load {
    /// The idempotency key of request `number`.
    pub fn key(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    /// Starts it on a thread of its own.
    pub fn start(self, orders: impl Orders + 'static) -> anyhow::Result<Running> {
        let signals = Arc::new(Signals::default());
        let seen = signals.clone();
        let thread = std::thread::Builder::new()
            .name("generator".into())
            .spawn(move || run(self, Box::new(orders), seen))?;
        Ok(Running { signals, thread })
    }

    /// Sends a limited load, all of it measured.
    pub async fn all(self, orders: impl Orders + 'static) -> anyhow::Result<Outcome> {
        let running = self.start(orders)?;
        running.measure();
        running.finish().await
    }
}

fn run(load: Load, orders: Box<dyn Orders>, signals: Arc<Signals>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the generator's runtime")?;
    let shared = Rc::new(Shared {
        load,
        signals,
        orders,
        outcome: RefCell::default(),
        next: Cell::new(0),
        due: RefCell::default(),
        all_dealt: Cell::new(false),
        ready: Notify::new(),
    });
    let tasks = tokio::task::LocalSet::new();
    if let Pace::Open { per_second } = shared.load.pace {
        tasks.spawn_local(clock(shared.clone(), per_second));
    }
    for _ in 0..shared.load.connections {
        tasks.spawn_local(connection(shared.clone()));
    }
    runtime.block_on(tasks);
    let mut outcome = shared.outcome.take();
    outcome.unsent = u64::try_from(shared.due.borrow().len()).unwrap_or(u64::MAX);
    Ok(outcome)
}

impl Shared {
    fn stopped(&self) -> bool {
        self.signals.stop.load(Ordering::Relaxed)
    }

    /// The next number, until the limit.
    fn number(&self) -> Option<u64> {
        let number = self.next.get();
        if self.load.limit.is_some_and(|limit| number >= limit) {
            return None;
        }
        self.next.set(number + 1);
        Some(number)
    }

    /// What a connection sends next, and since when it is due; nothing when all is sent.
    async fn next(&self) -> Option<(u64, Instant)> {
        if self.load.pace == Pace::Closed {
            return if self.stopped() {
                None
            } else {
                Some((self.number()?, Instant::now()))
            };
        }
        loop {
            let due = self.due.borrow_mut().pop_front();
            match due {
                Some(due) if !self.stopped() => return Some(due),
                Some(due) => {
                    // Counted as never sent.
                    self.due.borrow_mut().push_front(due);
                    return None;
                }
                None if self.stopped() || self.all_dealt.get() => return None,
                None => self.ready.notified().await,
            }
        }
    }

    fn answered(&self, number: u64, due: Instant, reply: &Reply<'_>) {
        self.signals.answered.fetch_add(1, Ordering::Relaxed);
        let status = reply.status;
        let good = (200..300).contains(&status);
        let mut outcome = self.outcome.borrow_mut();
        if good && self.load.remember {
            outcome.remember(self.load.key(number), reply.body);
        }
        if !self.signals.measure.load(Ordering::Relaxed) {
            return;
        }
        *outcome.statuses.entry(status).or_default() += 1;
        if good {
            outcome.latency.record(due.elapsed());
            return;
        }
        outcome.refused_latency.record(due.elapsed());
        let told = reply.retry_after || !matches!(status, 429 | 503);
        outcome.without_retry_after += u64::from(!told);
        let code = serde_json::from_slice::<Value>(reply.body)
            .ok()
            .and_then(|problem| Some(problem["code"].as_str()?.to_owned()))
            .unwrap_or_else(|| format!("status {status}"));
        *outcome.codes.entry(code).or_default() += 1;
    }

    fn broke(&self, sent: Option<u64>, error: &std::io::Error) {
        let mut outcome = self.outcome.borrow_mut();
        outcome.unknown.extend(sent.filter(|_| self.load.remember));
        *outcome.broken.entry(error.to_string()).or_default() += 1;
    }
}

/// Longest pause of a connection that can't be opened.
const RECONNECT: Duration = Duration::from_millis(100);

async fn connection(shared: Rc<Shared>) {
    let mut body = Vec::with_capacity(512);
    let mut open = None;
    while let Some((number, due)) = shared.next().await {
        let connection = loop {
            match &mut open {
                Some(connection) => break connection,
                None => match Connection::open(shared.load.address).await {
                    Ok(fresh) => open = Some(fresh),
                    Err(_) if shared.stopped() => return,
                    Err(error) => {
                        shared.broke(None, &error);
                        tokio::time::sleep(RECONNECT).await;
                    }
                },
            }
        };
        body.clear();
        let head = Head {
            path: shared.orders.write(number, &mut body),
            api_key: &shared.load.api_key,
            key: &shared.load.key(number),
        };
        shared.outcome.borrow_mut().sent += 1;
        match connection.post(&head, &body).await {
            Ok(reply) => shared.answered(number, due, &reply),
            Err(error) => {
                shared.broke(Some(number), &error);
                open = None;
            }
        }
    }
}

/// How finely an open load is dealt out.
const TICK: Duration = Duration::from_millis(1);

async fn clock(shared: Rc<Shared>, per_second: f64) {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut dealt = 0_u64;
    while !shared.stopped() && !shared.all_dealt.get() {
        ticks.tick().await;
        let wanted = (begun.elapsed().as_secs_f64() * per_second) as u64;
        while dealt < wanted {
            let Some(number) = shared.number() else {
                shared.all_dealt.set(true);
                break;
            };
            let due = begun + Duration::from_secs_f64(dealt as f64 / per_second);
            shared.due.borrow_mut().push_back((number, due));
            shared.ready.notify_one();
            dealt += 1;
        }
    }
    // Whoever waits must see the end, and so must the next to wait.
    shared.all_dealt.set(true);
    shared.ready.notify_waiters();
    shared.ready.notify_one();
}
