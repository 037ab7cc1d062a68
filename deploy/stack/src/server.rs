use std::{
    process::Child,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    Error,
    error::PathDisplay,
    launch::{Launch, Life, tail},
    ports::is_free,
    probe::Probe,
    process::Identity,
    record::{Record, StopSignal},
    watchdog,
};

/// Longest an orderly end may take before SIGKILL: RabbitMQ takes some seconds, the rest less than
/// one.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Longest a process may live on after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Everything that makes one server or service.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The process.
    pub launch: Launch,
    /// How it shows that it can work.
    pub probe: Probe,
    /// How long that may take from a start.
    pub start_limit: Duration,
    /// How it ends in good order.
    pub stop: StopSignal,
    /// Place in the order of starts.
    pub order: u32,
}

/// One running server or service. Owned ones end when this is dropped.
#[derive(Debug)]
pub struct Server {
    plan: Plan,
    life: Life,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    identity: Option<Identity>,
    child: Option<Child>,
}

/// What [`Server::start`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It ran already and was left as it is.
    Reused,
    /// It was started.
    Fresh,
}

impl Server {
    /// A server that is not running yet.
    pub fn new(plan: Plan, life: Life) -> Self {
        Self {
            plan,
            life,
            state: Mutex::default(),
        }
    }

    /// Starts it and waits until it answers. A detached one that runs already with the same
    /// program, arguments and environment is taken over; one that differs or does not answer is
    /// stopped first.
    ///
    /// # Errors
    /// [`Error::Exited`], [`Error::NotReady`], [`Error::WontStop`] or [`Error::Io`].
    pub async fn start(&self) -> Result<Started, Error> {
        if let Life::Detached { run_dir } = &self.life
            && let Some(record) = Record::load(run_dir, &self.plan.launch.name)
            && record.identity.is_alive()
        {
            self.state().identity = Some(record.identity.clone());
            if record.fingerprint == self.plan.launch.fingerprint()
                && self.wait_ready().await.is_ok()
            {
                return Ok(Started::Reused);
            }
            self.stop().await?;
        }
        self.spawn()?;
        let outcome = self.wait_ready().await;
        if outcome.is_err() {
            self.kill9();
        }
        outcome.map(|()| Started::Fresh)
    }

    /// Ends it in good order, by SIGKILL when that takes too long. Nothing happens when it does not
    /// run.
    ///
    /// # Errors
    /// [`Error::WontStop`].
    pub async fn stop(&self) -> Result<(), Error> {
        let Some(identity) = self.identity() else {
            return Ok(());
        };
        end(&self.plan.launch.name, &identity, self.plan.stop).await?;
        self.forget();
        Ok(())
    }

    /// Stops and starts it, on the same port and data.
    ///
    /// # Errors
    /// As [`Server::stop`] and [`Server::start`].
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.start().await.map(|_| ())
    }

    /// SIGKILL to it and to all it has started, as in a power failure; returns when they are gone.
    /// [`Server::start`] starts it again on the same data.
    pub fn kill9(&self) {
        let Some(identity) = self.identity() else {
            return;
        };
        // PostgreSQL does not start again while one of its old processes holds its shared memory.
        let mut dying = identity.signal_tree(Signal::KILL);
        dying.push(identity);
        let deadline = Instant::now() + KILL_LIMIT;
        while dying.iter().any(Identity::is_alive) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.forget();
    }

    /// SIGSTOP to it and to all it has started: it keeps its connections and answers nobody.
    pub fn pause(&self) {
        if let Some(identity) = self.identity() {
            identity.signal_tree(Signal::STOP);
        }
    }

    /// Ends a [`Server::pause`].
    pub fn resume(&self) {
        if let Some(identity) = self.identity() {
            identity.signal_tree(Signal::CONT);
        }
    }

    /// The running process.
    pub fn identity(&self) -> Option<Identity> {
        self.state().identity.clone()
    }

    /// True while the process runs.
    pub fn is_alive(&self) -> bool {
        self.identity().is_some_and(|identity| identity.is_alive())
    }

    /// What it is started from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    fn spawn(&self) -> Result<(), Error> {
        let launch = &self.plan.launch;
        // Else the other program's answer would be taken for ours until ours has given up.
        if let Some(port) = self.plan.probe.port().filter(|port| !is_free(*port)) {
            return Err(Error::PortTaken {
                name: launch.name.clone(),
                port,
            });
        }
        let child = launch.spawn(&self.life)?;
        // None when it has ended already; the wait for its answer reports that.
        let identity = Identity::of(child.id());
        match (&self.life, &identity) {
            (Life::Owned, _) => watchdog::guard(child.id(), self.death_signal())?,
            (Life::Detached { run_dir }, Some(identity)) => Record {
                name: launch.name.clone(),
                identity: identity.clone(),
                fingerprint: launch.fingerprint(),
                stop: self.plan.stop,
                order: self.plan.order,
            }
            .save(run_dir)?,
            (Life::Detached { .. }, None) => {}
        }
        *self.state() = State {
            identity,
            child: Some(child),
        };
        Ok(())
    }

    async fn wait_ready(&self) -> Result<(), Error> {
        let deadline = Instant::now() + self.plan.start_limit;
        let probe = self.plan.probe;
        loop {
            let attempt = tokio::task::spawn_blocking(move || probe.check()).await;
            // An answer counts only from our process: another one may hold the port.
            if !self.is_alive() {
                return Err(self.plan.launch.exited());
            }
            let last = match attempt {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(seen)) => seen,
                Err(failed) => failed.to_string(),
            };
            if Instant::now() > deadline {
                let (name, log) = (self.plan.launch.name.clone(), self.plan.launch.log.clone());
                let (tail, waited_secs) = (tail(&log), self.plan.start_limit.as_secs());
                return Err(Error::NotReady {
                    name,
                    waited_secs,
                    last,
                    log: PathDisplay(log),
                    tail,
                });
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    fn forget(&self) {
        let State { child, .. } = std::mem::take(&mut *self.state());
        if let Some(mut child) = child {
            // It has ended: this only takes it off the process table.
            let _ = child.try_wait();
            if self.life == Life::Owned {
                let _ = watchdog::release(child.id(), self.death_signal());
            }
        }
        if let Life::Detached { run_dir } = &self.life {
            Record::remove(run_dir, &self.plan.launch.name);
        }
    }

    /// What an owned server gets when nobody is left who could wait for it. PostgreSQL's SIGQUIT is
    /// an immediate end that still gives back its shared memory.
    fn death_signal(&self) -> &'static str {
        if self.plan.stop == StopSignal::Int {
            "QUIT"
        } else {
            "KILL"
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(identity) = self.identity().filter(|_| self.life == Life::Owned) else {
            return;
        };
        identity.signal(Signal::CONT);
        let gentle = if self.plan.stop == StopSignal::Int {
            Signal::QUIT
        } else {
            Signal::KILL
        };
        identity.signal(gentle);
        let deadline = Instant::now() + Duration::from_secs(3);
        while identity.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.kill9();
    }
}

/// Ends a process in good order, else by force.
pub(crate) async fn end(name: &str, identity: &Identity, stop: StopSignal) -> Result<(), Error> {
    // A paused process handles no signal but these two.
    identity.signal_tree(Signal::CONT);
    identity.signal(if stop == StopSignal::Int {
        Signal::INT
    } else {
        Signal::TERM
    });
    if identity.wait_gone(STOP_LIMIT).await {
        return Ok(());
    }
    identity.signal_tree(Signal::KILL);
    if identity.wait_gone(KILL_LIMIT).await {
        return Ok(());
    }
    Err(Error::WontStop {
        name: name.to_owned(),
        pid: identity.pid,
    })
}
