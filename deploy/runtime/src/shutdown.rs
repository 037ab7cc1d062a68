//! Stopping in good order: SIGTERM or SIGINT begins a drain, in which nothing new is taken on and
//! what was begun is finished.

use actix_web::dev::Server;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells whether the process drains. Clones are cheap and see the same.
#[derive(Debug, Clone)]
pub struct Shutdown {
    draining: watch::Receiver<bool>,
}

/// Begins a drain by hand, for tests and for faults after which a process had better restart.
#[derive(Debug, Clone)]
pub struct Trigger {
    draining: watch::Sender<bool>,
}

impl Trigger {
    /// Begins the drain; again is nothing.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }
}

impl Shutdown {
    /// One that only its trigger begins. It counts as begun when the trigger is gone.
    pub fn manual() -> (Self, Trigger) {
        let (trigger, draining) = watch::channel(false);
        (Self { draining }, Trigger { draining: trigger })
    }

    /// One that SIGTERM, SIGINT or the trigger begins. Call it inside the runtime.
    pub fn on_signal() -> std::io::Result<(Self, Trigger)> {
        let (mut term, mut int) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let (shutdown, trigger) = Self::manual();
        let by_signal = trigger.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "draining");
            by_signal.drain();
        });
        Ok((shutdown, trigger))
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Ends when the drain begins.
    pub async fn begun(&self) {
        // An error means that no trigger is left: nobody could begin it later.
        let _ = self.draining.clone().wait_for(|draining| *draining).await;
    }

    /// Runs a server until the drain begins, then lets it finish the requests it has. Build the
    /// server with `disable_signals()`.
    pub async fn serve(&self, server: Server) -> std::io::Result<()> {
        let handle = server.handle();
        let mut running = std::pin::pin!(server);
        tokio::select! {
            ended = &mut running => return ended,
            () = self.begun() => {}
        }
        let (_, ended) = tokio::join!(handle.stop(true), running);
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_drain_and_waiting_ends() {
        let (shutdown, trigger) = Shutdown::manual();
        let other = shutdown.clone();
        assert!(!other.is_draining());
        let waits = tokio::spawn(async move { other.begun().await });
        trigger.drain();
        waits.await.unwrap();
        assert!(shutdown.is_draining());
    }
}
