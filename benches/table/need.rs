//! What a program needed: requests to the API server, CPU time, memory.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use serde::Deserialize;

/// How many ticks of CPU time `/proc` counts in a second.
const TICKS: f64 = 100.0;

/// Reads the requests of one account in the API server's audit log, from where the last reading ended.
pub struct Requests {
    log: PathBuf,
    user: String,
    read: u64,
}

/// Requests by verb and resource, such as `patch operations/status`.
pub type Counts = BTreeMap<String, u64>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<Object>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Object {
    resource: Option<String>,
    subresource: Option<String>,
}

impl Requests {
    /// The requests of a service account, such as `belay-system:belay`, from now on.
    ///
    /// # Errors
    /// Where the log can't be read.
    pub fn of(log: PathBuf, account: &str) -> anyhow::Result<Self> {
        let read = fs::metadata(&log)?.len();
        Ok(Self {
            log,
            user: format!("system:serviceaccount:{account}"),
            read,
        })
    }

    /// What was asked since the last time. A watch counts when it begins.
    ///
    /// # Errors
    /// Where the log can't be read.
    pub fn since(&mut self) -> anyhow::Result<Counts> {
        let mut log = BufReader::new(File::open(&self.log)?);
        log.seek(SeekFrom::Start(self.read))?;
        let mut counts = Counts::new();
        let mut text = String::new();
        while log.read_line(&mut text)? > 0 && text.ends_with('\n') {
            self.read += text.len() as u64;
            let line: Line = serde_json::from_str(&text)?;
            text.clear();
            let is_end_of_watch = line.verb == "watch" && line.stage == "ResponseComplete";
            if line.user.username != self.user || is_end_of_watch {
                continue;
            }
            let object = line.object_ref;
            let resource = object
                .as_ref()
                .and_then(|it| it.resource.clone())
                .unwrap_or_default();
            let sub = object.and_then(|it| it.subresource);
            let sub = sub.map_or(String::new(), |sub| format!("/{sub}"));
            *counts
                .entry(format!("{} {resource}{sub}", line.verb))
                .or_default() += 1;
        }
        Ok(counts)
    }
}

/// The CPU time that a process has used.
///
/// # Errors
/// Where there is no such process.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // What comes after the program's name, which is in brackets: user and system time are its 12th and 13th.
    let (_, stat) = stat.rsplit_once(')').context("a name in brackets")?;
    let times = stat.split_whitespace().skip(11).take(2);
    let ticks = times.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(Duration::from_secs_f64(ticks / TICKS))
}

/// The resident memory of a process now, in kB.
///
/// # Errors
/// Where there is no such process.
pub fn memory(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let size = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(size.context("a size")?.parse()?)
}
