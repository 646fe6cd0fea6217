//! Numbers that a benchmark reads: of its environment, and of processes.

use std::{env, fs, time::Duration};

use anyhow::{Context as _, ensure};

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

/// The CPU time of a process to the nanosecond, for what takes less than a tick. Threads that ended aren't in it.
pub fn precise_cpu(pid: u32) -> anyhow::Result<Duration> {
    let mut all = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // It may have ended since it was listed.
        let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        let time = stat.split_whitespace().next().context("a time")?;
        all += Duration::from_nanos(time.parse()?);
    }
    Ok(all)
}

/// The exponent with which something grows, from its values at some sizes: least squares on logarithms. 0 is flat, 1 is
/// linear. None where it can't be told.
pub fn exponent(values: &[(f64, f64)]) -> Option<f64> {
    let logarithms = values
        .iter()
        .filter(|(size, value)| *size > 0.0 && *value > 0.0)
        .map(|(size, value)| (size.ln(), value.ln()));
    let points: Vec<_> = logarithms.collect();
    let count = points.iter().map(|_| 1.0).sum::<f64>();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (middle, height) = (mean(|point| point.0), mean(|point| point.1));
    let spread = points.iter().map(|(x, _)| (x - middle).powi(2));
    let together = points.iter().map(|(x, y)| (x - middle) * (y - height));
    let exponent = together.sum::<f64>() / spread.sum::<f64>();
    exponent.is_finite().then_some(exponent)
}

/// Whether [`exponent`] finds exponents that are known. (A benchmark has no unit tests.)
///
/// # Errors
/// Where it doesn't.
pub fn check_exponent() -> anyhow::Result<()> {
    for known in [0.0, 1.0, 1.5, 2.0_f64] {
        let values = [10.0, 100.0, 5_000.0_f64].map(|size| (size, 3.0 * size.powf(known)));
        let found = exponent(&values).context("an exponent")?;
        ensure!((found - known).abs() < 1e-9, "{found} is not {known}");
    }
    Ok(())
}

/// A count as a number with a fraction.
pub fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The same, of another type.
pub fn float_of(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Kibibytes as kilobytes.
pub fn kilobytes(kibibytes: u64) -> f64 {
    float_of(kibibytes) * 1.024
}
