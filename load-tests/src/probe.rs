//! What processes use, by the kernel's account, and what services count about themselves.

use crate::System;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::fs;

/// Ticks of the kernel's CPU account in a second, on every Linux we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processes of a system by name: each with everything it has started.
const NAMES: [&str; 6] = [
    "account-service",
    "hub-mint",
    "hub-vault",
    "chain-worker",
    "postgres",
    "redis",
];

/// Name of this very process, which makes the load.
pub const GENERATOR: &str = "generator";

/// The processes that are watched.
#[derive(Debug, Clone)]
pub struct Processes(Vec<(String, i32)>);

impl Processes {
    /// Those of a system, and this one.
    pub fn of(system: &System) -> anyhow::Result<Self> {
        let mut processes = NAMES
            .iter()
            .map(|name| Ok(((*name).to_owned(), system.pid(name)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let own = i32::try_from(std::process::id()).context("process id")?;
        processes.push((GENERATOR.to_owned(), own));
        Ok(Self(processes))
    }

    /// Seconds of CPU that each has used since its start, children included.
    pub fn cpu(&self) -> BTreeMap<String, f64> {
        let all = children();
        let seconds = |root: i32| {
            let ticks: u64 = tree(root, &all)
                .iter()
                .filter_map(|pid| Some((*pid, fields(*pid)?)))
                // Children that have ended are in the parent's own account.
                .map(|(pid, fields)| {
                    if pid == root {
                        fields.with_ended
                    } else {
                        fields.own
                    }
                })
                .sum();
            ticks as f64 / TICKS_PER_SECOND
        };
        let each = self.0.iter();
        each.map(|(name, pid)| (name.clone(), seconds(*pid)))
            .collect()
    }

    /// Resident memory of each now, in MiB. Of Postgres that includes its shared buffers once for
    /// each backend, so it is left out.
    pub fn resident_mib(&self) -> BTreeMap<String, f64> {
        let each = self.0.iter().filter(|(name, _)| name != "postgres");
        each.filter_map(|(name, pid)| Some((name.clone(), resident_mib(*pid)?)))
            .collect()
    }
}

/// The part of each between two readings, in microseconds for each of `count` things.
pub fn us_each(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    count: u64,
) -> BTreeMap<String, f64> {
    let each = after.iter().filter_map(|(name, seconds)| {
        let used = seconds - before.get(name)?;
        Some((name.clone(), used * 1e6 / count.max(1) as f64))
    });
    each.collect()
}

struct Fields {
    parent: i32,
    own: u64,
    with_ended: u64,
}

fn fields(pid: i32) -> Option<Fields> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let rest: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let number = |at: usize| rest.get(at)?.parse::<u64>().ok();
    let own = number(11)? + number(12)?;
    Some(Fields {
        parent: rest.get(1)?.parse().ok()?,
        own,
        with_ended: own + number(13)? + number(14)?,
    })
}

fn children() -> BTreeMap<i32, Vec<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some((pid, fields)) = pid.and_then(|pid| Some((pid, fields(pid)?))) {
            children.entry(fields.parent).or_default().push(pid);
        }
    }
    children
}

fn tree(root: i32, all: &BTreeMap<i32, Vec<i32>>) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        found.extend(all.get(&found[next]).into_iter().flatten());
        next += 1;
    }
    found
}

fn resident_mib(pid: i32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// The metrics of a service: the value of each series, labels included in its name.
pub async fn metrics(url: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let response = reqwest::get(format!("{url}/metrics")).await?;
    let text = response.error_for_status()?.text().await?;
    let series = text.lines().filter(|line| !line.starts_with('#'));
    Ok(series
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn the_work_of_a_child_is_counted_while_it_runs_and_after_it_ended() {
        let own = i32::try_from(std::process::id()).unwrap();
        let processes = Processes(vec![("own".into(), own)]);
        let before = processes.cpu()["own"];
        let mut child = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while processes.cpu()["own"] < before + 0.1 {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(processes.cpu()["own"] >= before + 0.1);
        assert!(processes.resident_mib()["own"] > 1.0);
    }
}
