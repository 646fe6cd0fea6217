//! An EKS cluster on a fake of AWS, managed by Belay.

use std::{path::PathBuf, sync::Arc, time::Duration};

use belay::api::OperationType::Scale;
use serde_json::{Value, json};
use testenv::clouds::{
    Exchange, FakeAws,
    aws::{ACCESS_KEY, Nodegroup, POD_IDENTITY_TOKEN, REGION, ROLE, SECRET_KEY},
};

use crate::{
    engines::exchanges,
    stage::{
        belay::{Belay, World},
        plugin,
    },
};

/// The first version of the cluster, and the version of the upgrade.
pub const OLD: &str = "1.33.0";
pub const NEW: &str = "1.34.0";
/// The Secret with the credentials.
pub const CREDENTIALS: &str = "aws";

/// A fake of AWS with a cluster `demo` that has the nodegroups `np0` and `np1`, and Belay.
pub struct Stage {
    pub aws: FakeAws,
    pub belay: Arc<Belay>,
    authorities: PathBuf,
    token: PathBuf,
    _folder: tempfile::TempDir,
}

/// How the operator gets its own identity.
#[derive(Clone, Copy)]
pub enum Identity {
    None,
    WebToken,
    Pod,
}

impl Drop for Stage {
    fn drop(&mut self) {
        exchanges::keep("eks", &self.belay.namespace, &self.aws.exchanges());
    }
}

impl Stage {
    /// Creates the cluster in AWS. Belay doesn't manage it yet.
    pub async fn not_adopted(world: &Arc<World>, is_auto: bool) -> Self {
        let aws = FakeAws::start().await.expect("a fake");
        let group = |name, size| Nodegroup { name, size };
        let groups = [group("np0", 2), group("np1", 3)];
        // EKS Auto Mode manages its own nodes.
        aws.create("demo", "1.33", is_auto, if is_auto { &[] } else { &groups });
        aws.takes(Duration::from_millis(600), Duration::from_millis(300));
        let folder = tempfile::tempdir().expect("a folder");
        let authorities = folder.path().join("authorities.pem");
        std::fs::write(&authorities, aws.authority()).expect("written");
        let token = folder.path().join("token");
        std::fs::write(&token, "a.projected.token").expect("written");
        let belay = Belay::start_without_operator(world).await;
        let this = Self {
            aws,
            belay,
            authorities,
            token,
            _folder: folder,
        };
        this.set_secret(SECRET_KEY);
        this
    }

    /// Creates the cluster, adopts it, and waits until it is Ready.
    pub async fn adopted(world: &Arc<World>) -> Self {
        let this = Self::not_adopted(world, false).await;
        this.adopt_and_wait().await;
        this
    }

    /// Does the same with EKS Auto Mode, on the newer version.
    pub async fn adopted_auto(world: &Arc<World>) -> Self {
        let this = Self::not_adopted(world, true).await;
        this.send_as_other_user("demo/updates", &json!({"version": "1.34"}));
        this.is_in_state("demo", "ACTIVE").await;
        this.adopt_and_wait().await;
        this
    }

    /// Adopts the cluster, and waits until it is Ready.
    pub async fn adopt_and_wait(&self) {
        let manifests = self.adopt().await;
        self.belay.apply_manifests(&manifests);
        self.start_operator(Identity::None, "");
        self.is_ready().await;
    }

    /// Creates or replaces the Secret with the credentials.
    pub fn set_secret(&self, secret: &str) {
        let data = json!({"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": secret});
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": CREDENTIALS},
            "stringData": data});
        self.belay.apply(&object);
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let url = self.aws.url();
        vec![
            ("AWS_ENDPOINT_URL_EKS", url.to_owned()),
            ("AWS_ENDPOINT_URL_STS", url.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            (
                "BELAY_AWS_CERTIFICATES",
                self.authorities.display().to_string(),
            ),
        ]
    }

    /// Starts an operator that uses the fake as AWS. Clusters of these namespaces may use its own identity.
    pub fn start_operator(&self, identity: Identity, namespaces: &str) {
        let mut environment = self.environment();
        environment.push(("BELAY_AWS_LOOK_SECONDS", "1".to_owned()));
        environment.push(("BELAY_AWS_IDENTITY_NAMESPACES", namespaces.to_owned()));
        match identity {
            Identity::None => {}
            Identity::WebToken => environment.extend([
                ("AWS_ROLE_ARN", ROLE.to_owned()),
                (
                    "AWS_WEB_IDENTITY_TOKEN_FILE",
                    self.token.display().to_string(),
                ),
            ]),
            Identity::Pod => {
                std::fs::write(&self.token, POD_IDENTITY_TOKEN).expect("written");
                let url = format!("{}/v1/credentials", self.aws.url());
                environment.extend([
                    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url),
                    (
                        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                        self.token.display().to_string(),
                    ),
                ]);
            }
        }
        let environment = environment.iter();
        let environment: Vec<_> = environment
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.belay.start_operator_with(&environment);
    }

    /// Returns what `kubectl belay adopt aws demo` prints.
    pub async fn adopt(&self) -> String {
        let args = ["adopt", "aws", "demo", "--region", REGION];
        let more = ["--credentials-secret", CREDENTIALS];
        let output = plugin::run_with(
            &self.belay,
            &[&args[..], &more].concat(),
            &self.environment(),
        )
        .await;
        assert!(output.status.success(), "{}", plugin::text(&output.stderr));
        plugin::text(&output.stdout)
    }

    /// Waits until the cluster and its pools are Ready.
    pub async fn is_ready(&self) {
        let pools = self.belay.pool_names().await;
        self.belay.all_are_ready(&pools).await;
    }

    /// Returns the nodegroup np1 in AWS.
    pub fn np1(&self) -> Value {
        self.aws.nodegroup("demo", "np1")
    }

    /// Returns the sizes of np1 in AWS: minimum, desired, maximum.
    pub fn sizes(&self) -> [i64; 3] {
        let sizes = self.np1()["scalingConfig"].clone();
        ["minSize", "desiredSize", "maxSize"].map(|size| sizes[size].as_i64().expect("a size"))
    }

    /// Returns the cluster in AWS.
    pub fn demo(&self) -> Value {
        self.aws.cluster("demo")
    }

    /// Sends a request to EKS as another user, with the aws CLI or in the console.
    pub fn send_as_other_user(&self, path: &str, body: &Value) {
        let answer = self.aws.somebody_asks(path, body);
        assert!(answer["update"]["id"].is_string(), "{answer}");
    }

    /// Returns the changes that Belay has requested from EKS so far.
    pub fn changes(&self) -> Vec<Exchange> {
        let exchanges = self.aws.exchanges().into_iter();
        let changes = exchanges.filter(|exchange| exchange.method != "GET" && exchange.path != "/");
        changes.collect()
    }

    /// Returns these changes in short form, such as `POST np1/update-version 200`.
    pub fn changes_in_short(&self) -> Vec<String> {
        let changes = self.changes().into_iter();
        let short = |exchange: Exchange| {
            let path = exchange.path.replace("/clusters/demo/node-groups/", "");
            let path = path.replace("/clusters/demo/", "");
            let id = path
                .split('/')
                .find(|part| part.len() == 36)
                .map(ToOwned::to_owned);
            let path = id.map_or(path.clone(), |id| path.replace(&id, "ID"));
            format!("{} {path} {}", exchange.method, exchange.status)
        };
        changes.map(short).collect()
    }

    /// From now on, updates that start on that nodegroup or cluster don't end until [`Stage::release`].
    pub fn hold(&self, name: &str) {
        self.aws.hold(name, true);
    }

    /// Lets the updates continue.
    pub fn release(&self, name: &str) {
        self.aws.hold(name, false);
    }

    /// Waits until EKS shows this status of the cluster or of np1.
    pub async fn is_in_state(&self, name: &str, state: &str) {
        let what = format!("{name} is {state}");
        self.belay
            .eventually(&what, || async {
                let now = match name {
                    "demo" => self.demo(),
                    _ => self.np1(),
                };
                now["status"] == state
            })
            .await;
    }

    /// Starts to scale np1 to 5 nodes. Returns the Operation's name when EKS works on it.
    pub async fn start_scale(&self) -> String {
        self.belay.set_count("np1", 5).await;
        let scale = self.belay.operation(Scale, "np1").await;
        self.is_in_state("np1", "UPDATING").await;
        scale
    }

    /// Waits until the Operation shows that EKS rolls back the control plane.
    pub async fn rollback_is_shown(&self, rollback: &str) {
        self.belay
            .eventually("the Operation shows the rollback at EKS", || async {
                let status = self.belay.status(rollback).await;
                let mut steps = status.steps.iter();
                steps.any(|step| step.message.contains("VersionRollback"))
            })
            .await;
    }

    /// Sets how long updates take from now on, and how long their cancellation takes.
    pub fn set_durations(&self, update: u64, cancel: u64) {
        self.aws
            .takes(Duration::from_millis(update), Duration::from_millis(cancel));
    }
}
