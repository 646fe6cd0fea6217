//! The requests that a program made to the API server.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde::Deserialize;

/// Reads the requests of one account from the API server's audit log, starting where the last reading ended.
pub struct Requests {
    log: PathBuf,
    user: String,
    read: u64,
}

/// The number of requests by verb and resource, such as `patch operations/status`.
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
    /// Reads the requests of a service account, such as `belay-system:belay`, from now on.
    ///
    /// # Errors
    /// If the log can't be read.
    pub fn of(log: PathBuf, account: &str) -> anyhow::Result<Self> {
        let read = fs::metadata(&log)?.len();
        Ok(Self {
            log,
            user: format!("system:serviceaccount:{account}"),
            read,
        })
    }

    /// Returns the requests since the last call. A watch counts when it begins.
    ///
    /// # Errors
    /// If the log can't be read.
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

/// Returns how many of the requests change something other than leases.
pub fn writes(counts: &Counts) -> u64 {
    let reads = ["get ", "list ", "watch "];
    let writes = counts.iter().filter(|(what, _)| {
        !what.contains(" leases") && !reads.iter().any(|read| what.starts_with(read))
    });
    writes.map(|(_, count)| count).sum()
}
