//! What the figures were measured on.

use std::fs;
use std::process::Command;

/// A machine, in one line: processor, cores, memory, kernel, and what an fsync takes where the
/// data is kept.
pub fn describe(dir: &std::path::Path) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = value(&cpu, "model name").unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: f64 = value(&memory, "MemTotal")
        .and_then(|text| text.split(' ').next())
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{model}, {cores} cores, {:.0} GiB, Linux {}, fsync {}",
        kib / 1024.0 / 1024.0,
        kernel.trim(),
        fsync(dir).map_or("unknown".into(), |ms| format!("{ms:.2} ms"))
    )
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| key.trim() == name)?;
    Some(value.trim())
}

/// Median time of an 8 KiB write with fdatasync, in milliseconds.
fn fsync(dir: &std::path::Path) -> std::io::Result<f64> {
    use std::io::Write as _;
    const TRIES: usize = 51;
    let path = dir.join("fsync-probe");
    let mut file = fs::File::create(&path)?;
    let mut times = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        file.write_all(&[0; 8192])?;
        let begun = std::time::Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(path)?;
    times.sort_by(f64::total_cmp);
    Ok(times[TRIES / 2])
}

/// The commit this was built from, if the sources are a git checkout.
pub fn commit(root: &std::path::Path) -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(root)
        .output();
    output.map_or_else(
        |_| "unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
