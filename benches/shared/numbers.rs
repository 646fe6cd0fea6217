//! Numbers that a benchmark reads: of its environment, and of processes.

use std::{env, fs, time::Duration};

use anyhow::Context as _;

/// How many ticks of CPU time `/proc` counts in a second.
const TICKS: f64 = 100.0;

/// A number of the environment; `or` where it isn't set.
pub fn of_environment(name: &str, or: usize) -> anyhow::Result<usize> {
    let text = env::var(name).unwrap_or_default();
    if text.is_empty() {
        return Ok(or);
    }
    text.parse().with_context(|| format!("{name} is a number"))
}

/// The resident memory of a process in KiB: now, and the most up to now.
pub fn memory(pid: u32) -> anyhow::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find(|line| line.starts_with(name));
        let size = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(size.context("a size")?.parse()?)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}

/// The CPU time that a process has used.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // What comes after the program's name, which is in brackets: user and system time are its 12th and 13th.
    let (_, stat) = stat.rsplit_once(')').context("a name in brackets")?;
    let times = stat.split_whitespace().skip(11).take(2);
    let ticks = times.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(Duration::from_secs_f64(ticks / TICKS))
}
