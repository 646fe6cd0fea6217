//! Numbers that a benchmark reads: of its environment, and of processes.

use std::{env, fs};

use anyhow::Context as _;

/// A number of the environment; `or` where it isn't set.
pub fn of_environment(name: &str, or: usize) -> anyhow::Result<usize> {
    let text = env::var(name).unwrap_or_default();
    if text.is_empty() {
        return Ok(or);
    }
    text.parse().with_context(|| format!("{name} is a number"))
}

/// The resident memory of a process in MiB: now, and the most up to now.
pub fn memory(pid: u32) -> anyhow::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find(|line| line.starts_with(name));
        let size = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(size.context("a size")?.parse::<u64>()? / 1024)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}
