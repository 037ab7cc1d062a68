use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process, told apart from every later one that gets the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// The kernel's boot id: ticks begin again at every boot.
    pub boot_id: String,
}

struct Stat {
    state: char,
    parent: i32,
    threads: u32,
    start_ticks: u64,
}

impl Identity {
    /// The process that has this id now; `None` when there is none or it has ended and waits to be
    /// reaped.
    pub fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        let stat = Stat::read(pid)?;
        (!stat.ended()).then(|| Self {
            pid,
            start_ticks: stat.start_ticks,
            boot_id: boot_id(),
        })
    }

    /// True while this very process runs or is stopped by a signal.
    pub fn is_alive(&self) -> bool {
        u32::try_from(self.pid).is_ok_and(|pid| Self::of(pid).as_ref() == Some(self))
    }

    /// Sends a signal to this very process, never to one that got its number. False when it has
    /// ended.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return false;
        };
        // The descriptor pins the process; only then does the comparison of start times mean
        // anything.
        let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else {
            return false;
        };
        self.is_alive() && pidfd_send_signal(&descriptor, signal).is_ok()
    }

    /// Sends a signal to the process and to everything it has started, which is returned.
    pub fn signal_tree(&self, signal: Signal) -> Vec<Self> {
        let descendants = self.descendants();
        self.signal(signal);
        for process in &descendants {
            process.signal(signal);
        }
        descendants
    }

    /// Waits until the process has ended; false when it has not by then.
    pub async fn wait_gone(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    fn descendants(&self) -> Vec<Identity> {
        let all: Vec<(i32, i32)> = process_ids()
            .filter_map(|pid| Some((pid, Stat::read(pid)?.parent)))
            .collect();
        let mut found = vec![self.pid];
        let mut next = 0;
        while next < found.len() {
            let parent = found[next];
            found.extend(
                all.iter()
                    .filter(|(_, p)| *p == parent)
                    .map(|(pid, _)| *pid),
            );
            next += 1;
        }
        found[1..]
            .iter()
            .filter_map(|pid| Self::of(u32::try_from(*pid).ok()?))
            .collect()
    }
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in brackets and may itself hold spaces and
        // brackets.
        let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            threads: fields.nth(15)?.parse().ok()?,
            start_ticks: fields.nth(1)?.parse().ok()?,
        })
    }

    fn ended(&self) -> bool {
        // While other threads still die, the first one is a zombie already but the ports are not
        // free yet.
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

fn process_ids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_with_another_start_time_is_not_the_same_process() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let real = Identity::of(child.id()).unwrap();
        let other = Identity {
            start_ticks: real.start_ticks + 1,
            ..real.clone()
        };
        let before_reboot = Identity {
            boot_id: "another boot".into(),
            ..real.clone()
        };
        assert!(real.is_alive());
        assert!(!other.signal(Signal::KILL) && !before_reboot.signal(Signal::KILL));
        assert!(
            real.is_alive(),
            "a signal meant for another process reached this one"
        );
        assert!(real.signal(Signal::KILL));
        child.wait().unwrap();
        assert!(!real.is_alive());
    }

    #[test]
    fn an_unreaped_process_counts_as_ended() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Identity::of(pid).is_some() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }

    #[test]
    fn a_signal_to_the_tree_reaches_grandchildren() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & sleep 60 & wait"])
            .spawn()
            .unwrap();
        let parent = Identity::of(child.id()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while parent.descendants().len() < 2 {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        let sleepers = parent.descendants();
        parent.signal_tree(Signal::KILL);
        child.wait().unwrap();
        while sleepers.iter().any(Identity::is_alive) {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
