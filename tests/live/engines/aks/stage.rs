//! An AKS cluster on a fake of Azure, managed by Belay.

use std::{path::PathBuf, sync::Arc, time::Duration};

use belay::api::OperationType::{Scale, Stop};
use serde_json::{Value, json};
use testenv::clouds::{
    Exchange, FakeAzure,
    azure::{CLIENT, Pool, SECRET, SUBSCRIPTION, TENANT},
};

use crate::{
    engines::exchanges,
    stage::{
        belay::{Belay, World},
        plugin,
    },
};

/// The resource group of the cluster.
pub const GROUP: &str = "fleet";
/// The first version of the cluster, and the version of the upgrade.
pub const OLD: &str = "1.33.4";
pub const NEW: &str = "1.34.1";
/// The Secret with the credentials.
pub const CREDENTIALS: &str = "azure";

/// A fake of Azure with a cluster `demo` that has the pools `system` and `np1`, and Belay.
pub struct Stage {
    pub azure: FakeAzure,
    pub belay: Arc<Belay>,
    authorities: PathBuf,
    token: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        exchanges::keep("aks", &self.belay.namespace, &self.azure.exchanges());
    }
}

impl Stage {
    /// Creates the cluster in Azure. Belay doesn't manage it yet.
    pub async fn not_adopted(world: &Arc<World>) -> Self {
        let azure = FakeAzure::start().await.expect("a fake");
        let pool = |name, count, mode| Pool { name, count, mode };
        let pools = [pool("system", 2, "System"), pool("np1", 3, "User")];
        azure.create(GROUP, "demo", OLD, &pools);
        let folder = tempfile::tempdir().expect("a folder");
        let authorities = folder.path().join("authorities.pem");
        std::fs::write(&authorities, azure.authority()).expect("written");
        let token = folder.path().join("token");
        std::fs::write(&token, "a.projected.token").expect("written");
        let belay = Belay::start_without_operator(world).await;
        let this = Self {
            azure,
            belay,
            authorities,
            token,
            _folder: folder,
        };
        this.set_secret(SECRET);
        this
    }

    /// Creates the cluster, adopts it, and waits until it is Ready.
    pub async fn adopted(world: &Arc<World>) -> Self {
        let this = Self::not_adopted(world).await;
        this.adopt_and_wait().await;
        this
    }

    /// Adopts the cluster, and waits until it is Ready.
    pub async fn adopt_and_wait(&self) {
        let manifests = self.adopt(&["--credentials-secret", CREDENTIALS]).await;
        self.belay.apply_manifests(&manifests);
        self.start_operator();
        self.is_ready().await;
    }

    /// Creates or replaces the Secret with the credentials.
    pub fn set_secret(&self, secret: &str) {
        let data = json!({"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": secret});
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": CREDENTIALS},
            "stringData": data});
        self.belay.apply(&object);
    }

    /// Starts an operator that uses the fake as Azure.
    pub fn start_operator(&self) {
        self.start_operator_for("");
    }

    /// Does the same; clusters of these namespaces may use the operator's own identity.
    pub fn start_operator_for(&self, namespaces: &str) {
        let path = |path: &PathBuf| path.to_str().expect("a path").to_owned();
        let environment = [
            ("BELAY_AZURE_RESOURCE_MANAGER", self.azure.url().to_owned()),
            ("BELAY_AZURE_CERTIFICATES", path(&self.authorities)),
            ("BELAY_AZURE_LOOK_SECONDS", "1".to_owned()),
            ("BELAY_AZURE_IDENTITY_NAMESPACES", namespaces.to_owned()),
            ("AZURE_AUTHORITY_HOST", self.azure.url().to_owned()),
            ("AZURE_TENANT_ID", TENANT.to_owned()),
            ("AZURE_CLIENT_ID", CLIENT.to_owned()),
            ("AZURE_FEDERATED_TOKEN_FILE", path(&self.token)),
        ];
        let environment = environment
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        self.belay.start_operator_with(&environment);
    }

    /// Returns what `kubectl belay adopt azure demo` prints.
    pub async fn adopt(&self, more: &[&str]) -> String {
        let args = [
            "adopt",
            "azure",
            "demo",
            "--subscription",
            SUBSCRIPTION,
            "--resource-group",
            GROUP,
        ];
        let environment = [
            ("BELAY_AZURE_RESOURCE_MANAGER", self.azure.url().to_owned()),
            (
                "BELAY_AZURE_CERTIFICATES",
                self.authorities.display().to_string(),
            ),
            ("AZURE_AUTHORITY_HOST", self.azure.url().to_owned()),
        ];
        let output = plugin::run_with(&self.belay, &[&args[..], more].concat(), &environment).await;
        assert!(output.status.success(), "{}", plugin::text(&output.stderr));
        plugin::text(&output.stdout)
    }

    /// Waits until the cluster and its pools are Ready.
    pub async fn is_ready(&self) {
        self.belay.all_are_ready(&["np1", "system"]).await;
    }

    /// Returns a property of the pool np1 in Azure.
    pub fn np1(&self, property: &str) -> Value {
        self.azure.pool(GROUP, "demo", "np1")["properties"][property].clone()
    }

    /// Returns a property of the cluster in Azure.
    pub fn demo(&self, property: &str) -> Value {
        self.azure.cluster(GROUP, "demo")["properties"][property].clone()
    }

    /// Returns the changes that Belay has requested from Azure so far.
    pub fn changes(&self) -> Vec<Exchange> {
        let exchanges = self.azure.exchanges().into_iter();
        let changes = exchanges
            .filter(|exchange| exchange.method != "GET" && !exchange.path.ends_with("/token"));
        changes.collect()
    }

    /// Returns these changes in short form, such as `PUT np1` and `POST demo/abort`.
    pub fn changes_in_short(&self) -> Vec<String> {
        let changes = self.changes().into_iter();
        let short = |exchange: Exchange| {
            let path = exchange
                .path
                .rsplit("/managedClusters/")
                .next()
                .unwrap_or_default();
            let path = path.replace("demo/agentPools/", "");
            format!("{} {path} {}", exchange.method, exchange.status)
        };
        changes.map(short).collect()
    }

    /// From now on, operations that start on that pool or cluster don't end until [`Stage::release`].
    pub fn hold(&self, name: &str) {
        self.azure.hold(name, true);
    }

    /// Lets the operations continue.
    pub fn release(&self, name: &str) {
        self.azure.hold(name, false);
    }

    /// Waits until Azure shows this provisioning state of the pool or the cluster.
    pub async fn is_in_state(&self, name: &str, state: &str) {
        let what = format!("{name} is {state}");
        self.belay
            .eventually(&what, || async {
                let now = match name {
                    "demo" => self.demo("provisioningState"),
                    _ => self.np1("provisioningState"),
                };
                now == state
            })
            .await;
    }

    /// Starts to scale np1 to 5 nodes. Returns the Operation's name when Azure works on it.
    pub async fn start_scale(&self) -> String {
        self.belay.set_count("np1", 5).await;
        let scale = self.belay.operation(Scale, "np1").await;
        self.is_in_state("np1", "Scaling").await;
        scale
    }

    /// Stops np1.
    pub async fn stop_np1(&self) {
        let stopped = json!({"powerState": "Stopped"});
        self.belay.set_pool("np1", stopped).await;
        let stop = self.belay.operation(Stop, "np1").await;
        self.belay.succeeds(&stop).await;
        assert_eq!(self.np1("powerState")["code"], "Stopped");
    }

    /// Sets how long operations take from now on, and how long they take to stop.
    pub fn set_durations(&self, operation: u64, stop: u64) {
        self.azure.takes(
            Duration::from_millis(operation),
            Duration::from_millis(stop),
        );
    }
}
