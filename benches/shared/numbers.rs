//! Numbers that a benchmark reads from its environment and from processes.

use std::{env, fs, time::Duration};

use anyhow::{Context as _, ensure};

/// The number of CPU time ticks in a second, as `/proc` counts them.
const TICKS: f64 = 100.0;

/// Returns a number from the environment; `or` if the variable isn't set.
pub fn of_environment(name: &str, or: usize) -> anyhow::Result<usize> {
    let text = env::var(name).unwrap_or_default();
    if text.is_empty() {
        return Ok(or);
    }
    text.parse().with_context(|| format!("{name} is a number"))
}

/// Returns the resident memory of a process in KiB: the current value, and the maximum up to now.
pub fn memory(pid: u32) -> anyhow::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find(|line| line.starts_with(name));
        let size = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(size.context("a size")?.parse()?)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}

/// Returns the CPU time that a process has used.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The fields after the program's name, which is in brackets: user time and system time are the 12th and the 13th.
    let (_, stat) = stat.rsplit_once(')').context("a name in brackets")?;
    let times = stat.split_whitespace().skip(11).take(2);
    let ticks = times.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(Duration::from_secs_f64(ticks / TICKS))
}

/// Returns the CPU time of a process in nanoseconds, for times below a tick. Threads that have ended don't count.
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

/// Returns the exponent of a figure's growth, from its values at some sizes, by least squares on logarithms. 0 is flat,
/// 1 is linear. Returns `None` if it can't be computed.
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

/// Checks that [`exponent`] finds known exponents. (A benchmark has no unit tests.)
///
/// # Errors
/// If it finds another one.
pub fn check_exponent() -> anyhow::Result<()> {
    for known in [0.0, 1.0, 1.5, 2.0_f64] {
        let values = [10.0, 100.0, 5_000.0_f64].map(|size| (size, 3.0 * size.powf(known)));
        let found = exponent(&values).context("an exponent")?;
        ensure!((found - known).abs() < 1e-9, "{found} is not {known}");
    }
    Ok(())
}

/// Returns a count as a float. The counts of a benchmark are small.
pub fn float(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX))
}

/// Converts kibibytes into kilobytes.
pub fn kilobytes(kibibytes: u64) -> f64 {
    float(kibibytes) * 1.024
}
