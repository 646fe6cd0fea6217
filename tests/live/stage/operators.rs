//! Several operators of one namespace. One of them leads.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use belay::api::OperationType;
use k8s_openapi::api::{
    coordination::v1::{Lease, LeaseSpec},
    core::v1::Node,
};
use rustix::process::{Pid, Signal, kill_process};
use testenv::Process;

use super::belay::{Belay, is_cordoned, version};

/// One of several operators of a namespace.
pub struct Operator {
    name: &'static str,
    process: Mutex<Process>,
    log: PathBuf,
}

impl Operator {
    /// Starts it with additional environment variables.
    pub fn start_with(belay: &Belay, name: &'static str, more: &[(&str, &str)]) -> Self {
        let election = [
            ("BELAY_LEADER_ELECTION", "always"),
            ("BELAY_LEADER_ELECTION_NAMESPACE", &belay.namespace),
            ("HOSTNAME", name),
        ];
        let (process, log) = belay.operator(&[&election[..], more].concat());
        Self {
            name,
            process: Mutex::new(process),
            log,
        }
    }

    /// Starts it, and waits until it leads.
    pub async fn leading(belay: &Belay, name: &'static str) -> Self {
        let this = Self::start_with(belay, name, &[]);
        this.leads(belay).await;
        this
    }

    /// Starts it, and waits until it is a standby.
    pub async fn standing_by(belay: &Belay, name: &'static str) -> Self {
        let this = Self::start_with(belay, name, &[]);
        this.says(belay, "standing by").await;
        this
    }

    pub async fn leads(&self, belay: &Belay) {
        let what = format!("{} is the leader", self.name);
        belay
            .eventually(&what, || async { self.holds_the_lease(belay).await })
            .await;
    }

    pub async fn holds_the_lease(&self, belay: &Belay) -> bool {
        self.is_holder(&lease(belay).await)
    }

    fn is_holder(&self, lease: &LeaseSpec) -> bool {
        let holder = lease.holder_identity.as_deref().unwrap_or_default();
        holder.starts_with(&format!("{}_", self.name))
    }

    /// Returns the path of its log.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Starts it as one of the operators that divide the clusters into this many shards.
    pub fn sharing(belay: &Belay, name: &'static str, shards: &str) -> Self {
        Self::start_with(
            belay,
            name,
            &[
                ("BELAY_SHARDS", shards),
                ("BELAY_METRICS_ADDRESS", "127.0.0.1:0"),
            ],
        )
    }

    /// Waits until it holds exactly these of the two shards.
    pub async fn has_shards(&self, belay: &Belay, shards: &[u32]) {
        let what = format!("{} holds the shards {shards:?}", self.name);
        belay
            .eventually(&what, || async { self.shards(belay).await == shards })
            .await;
    }

    /// Returns which of the two shards it holds.
    pub async fn shards(&self, belay: &Belay) -> Vec<u32> {
        let mut held = Vec::new();
        for shard in [0, 1] {
            let lease = lease_of(belay, &format!("-shard-{shard}-of-2")).await;
            if self.is_holder(&lease) {
                held.push(shard);
            }
        }
        held
    }

    pub async fn says(&self, belay: &Belay, line: &str) {
        let what = format!("the log of {} contains {line:?}", self.name);
        belay
            .eventually(&what, || async { self.log().contains(line) })
            .await;
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log")
    }

    /// Waits until it has nothing to do.
    pub async fn is_idle(&self, belay: &Belay) {
        let what = format!("{} is idle", self.name);
        let has_nothing_to_do = |log: &str| {
            let decided = log.lines().rfind(|line| line.contains("decided"));
            decided.is_some_and(|line| line.ends_with("actions=0"))
        };
        belay
            .eventually(&what, || async { has_nothing_to_do(&self.log()) })
            .await;
    }

    pub async fn has_ended(&self, belay: &Belay) {
        let what = format!("{} has ended", self.name);
        belay
            .eventually(&what, || async {
                !self.process.lock().expect("the process").is_running()
            })
            .await;
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.process.lock().expect("the process").pid();
        let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("it runs");
    }
}

/// Returns the spec of the Lease; an empty one if the Lease doesn't exist yet.
pub async fn lease(belay: &Belay) -> LeaseSpec {
    lease_of(belay, "").await
}

/// Returns the same for the Lease whose name has this suffix.
pub async fn lease_of(belay: &Belay, suffix: &str) -> LeaseSpec {
    let name = format!("belay-{}{suffix}", belay.namespace);
    let lease = belay.api::<Lease>().get_opt(&name).await.expect("answered");
    lease.and_then(|lease| lease.spec).unwrap_or_default()
}

impl Belay {
    /// Waits until an upgrade of `demo` has succeeded. Checks that there was only one Upgrade Operation, and that each
    /// of these nodes is upgraded.
    pub async fn is_upgraded_once(&self, operation: &str, is_in_scope: impl Fn(&Node) -> bool) {
        self.succeeds(operation).await;
        self.cluster_is_ready().await;
        let nodes = self.nodes().await;
        let is_upgraded = |node: &Node| version(node) == "v1.36.3" && !is_cordoned(node);
        assert!(
            nodes
                .iter()
                .filter(|node| is_in_scope(node))
                .all(is_upgraded)
        );
        let upgrades = self.operations(OperationType::Upgrade, "demo").await;
        assert_eq!(upgrades.len(), 1);
        self.check_history();
    }
}
