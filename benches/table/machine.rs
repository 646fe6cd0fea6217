//! The machine that the figures were measured on: a figure means nothing without it.

use std::{env, fs, process::Command, thread};

use belay::machinery::clock;
use serde::Serialize;

use crate::{Size, audited};

/// The machine, the versions and the settings of one run.
#[derive(Serialize)]
pub struct Machine {
    date: String,
    commit: String,
    cores: usize,
    cpu: String,
    kernel: String,
    memory: String,
    kubernetes: String,
    etcd: String,
    /// Whether etcd waits until its writes are on the disk.
    fsync: bool,
    clusters: usize,
    rounds: usize,
}

impl Machine {
    /// Describes this run.
    ///
    /// # Errors
    /// If a binary of the control plane can't be built.
    pub fn of_this_run(size: Size) -> anyhow::Result<Self> {
        let first_line = |text: String| text.lines().next().unwrap_or_default().trim().to_owned();
        let version = |name: &str| -> anyhow::Result<String> {
            let binary = testenv::binary(name)?.display().to_string();
            let line = first_line(output(&binary, &["--version"]));
            Ok(line.rsplit(' ').next().unwrap_or_default().to_owned())
        };
        Ok(Self {
            date: clock::now().to_string(),
            commit: commit(),
            cores: thread::available_parallelism()?.get(),
            cpu: of_file("/proc/cpuinfo", "model name"),
            kernel: first_line(output("uname", &["-sr"])),
            memory: of_file("/proc/meminfo", "MemTotal"),
            kubernetes: version("kube-apiserver")?,
            etcd: version("etcd")?,
            fsync: audited::has_fsync(),
            clusters: size.clusters,
            rounds: size.rounds,
        })
    }

    /// Returns the description in one line.
    pub fn line(&self) -> String {
        let fsync = if self.fsync { "with" } else { "without" };
        format!(
            "{}, commit {}; {} cores of {}, {} of memory, {}; Kubernetes {}, etcd {} {fsync} fsync; {} clusters, {} rounds",
            self.date,
            self.commit,
            self.cores,
            self.cpu,
            self.memory,
            self.kernel,
            self.kubernetes,
            self.etcd,
            self.clusters,
            self.rounds
        )
    }
}

/// Returns the commit of the benchmarks, and whether there are uncommitted changes. If `BELAY` names another program
/// under test, it is named as well.
fn commit() -> String {
    let git = |args: &[&str]| output("git", &[&["-C", env!("CARGO_MANIFEST_DIR")], args].concat());
    let mut commit = git(&["rev-parse", "--short=12", "HEAD"]).trim().to_owned();
    if !git(&["status", "--porcelain"]).is_empty() {
        commit.push_str(" with changes");
    }
    match env::var("BELAY") {
        Ok(other) if !other.is_empty() => format!("{commit} (measured: {other})"),
        _ => commit,
    }
}

/// Returns what a program prints; an empty text if it fails.
fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

/// Returns the value in the first line of a file that starts with `name`, where lines look like `name : value`.
fn of_file(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
}
