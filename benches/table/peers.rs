//! How long other controllers take to stop something: a twin of the floor written with controller-runtime, Argo
//! Rollouts, and the Job controller.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use testenv::Process;

use crate::{floor, seen::Seen, stage::Stage};

const TWIN: &str = "twin";
const ARGO: &str = "argo";
const JOBS: &str = "jobs";
/// How long a peer may take for one step.
const PATIENCE: Duration = Duration::from_mins(1);

/// The running peers.
pub struct Peers {
    client: Client,
    seen: Seen,
    _twin: Process,
    _argo: Process,
}

impl Peers {
    /// Builds and starts them.
    pub async fn start(stage: &Stage) -> anyhow::Result<Self> {
        for name in [TWIN, ARGO, JOBS] {
            stage.namespace(name).await?;
        }
        for kind in ["rollout", "analysis-run", "analysis-template", "experiment"] {
            let file = testenv::argo_rollouts_crds()?.join(format!("{kind}-crd.yaml"));
            stage.audited.kubectl(
                &["apply", "--server-side", "-f", &file.display().to_string()],
                "",
            )?;
        }
        let twin = ["--namespace", TWIN];
        let argo = [
            "--leader-elect=false",
            "--metricsPort=0",
            "--healthzPort=0",
            "--namespaced",
            "--namespace",
            ARGO,
            "--qps=-1",
            "--loglevel=warn",
        ];
        let this = Self {
            client: stage.client.clone(),
            seen: Seen::watch(&stage.client, TWIN),
            _twin: stage.start_as_people(&testenv::binary("twin")?, &twin)?,
            _argo: stage.start_as_people(&testenv::binary("rollouts-controller")?, &argo)?,
        };
        let rollout = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "peer"},
            "spec": {
                // Without pods: this is the fastest case for Argo Rollouts.
                "replicas": 0,
                "selector": {"matchLabels": {"app": "peer"}},
                "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}},
                "template": {
                    "metadata": {"labels": {"app": "peer"}, "annotations": {"version": "0"}},
                    "spec": {"containers": [{"name": "peer", "image": "peer"}]},
                },
            },
        });
        this.rollouts()
            .create(&PostParams::default(), &serde_json::from_value(rollout)?)
            .await?;
        Watched::of(this.rollouts(), "peer")
            .until(|rollout| rollout.data["status"]["phase"] == "Healthy")
            .await?;
        Ok(this)
    }

    fn rollouts(&self) -> Api<DynamicObject> {
        let kind =
            ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
        Api::namespaced_with(self.client.clone(), ARGO, &kind)
    }

    /// Creates an Operation that the twin treats as one in flight, and aborts it. Returns the Operation's name.
    pub async fn twin(&self, round: usize) -> anyhow::Result<String> {
        let name = format!("op-{round}");
        floor::operation(&self.client, TWIN, &name).await?;
        self.seen.abort_to_the_end(&name).await?;
        Ok(name)
    }

    /// Returns what was seen of the twin's Operations.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Starts an update of a Rollout that pauses at its first step, and aborts it. Returns how long it took until the
    /// abort was reconciled.
    pub async fn rollout(&self, round: usize) -> anyhow::Result<Duration> {
        let version = (round + 1).to_string();
        let newer =
            json!({"spec": {"template": {"metadata": {"annotations": {"version": version}}}}});
        let mut rollout = Watched::of(self.rollouts(), "peer");
        rollout.patch(&newer, false).await?;
        let is_paused = |rollout: &DynamicObject| {
            let status = &rollout.data["status"];
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let mut paused =
                conditions.filter(|it| it["type"] == "Paused" && it["status"] == "True");
            let observed = rollout
                .metadata
                .generation
                .map(|generation| json!(generation.to_string()));
            status["phase"] == "Paused"
                && paused.next().is_some()
                && Some(&status["observedGeneration"]) == observed.as_ref()
                && rollout
                    .data
                    .pointer("/spec/template/metadata/annotations/version")
                    == Some(&json!(version))
                && status["abort"].is_null()
        };
        rollout.until(is_paused).await?;
        let began = Instant::now();
        rollout
            .patch(&json!({"status": {"abort": true}}), true)
            .await?;
        rollout
            .until(|rollout| !rollout.data["status"]["abortedAt"].is_null())
            .await?;
        Ok(began.elapsed())
    }

    /// Starts a Job and suspends it. Returns how long it took until the Job's condition showed it.
    pub async fn job(&self, round: usize) -> anyhow::Result<Duration> {
        let name = format!("job-{round}");
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("batch", "v1", "Job"));
        let jobs = Api::<DynamicObject>::namespaced_with(self.client.clone(), JOBS, &kind);
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "peer", "image": "peer"}]}}},
        });
        jobs.create(&PostParams::default(), &serde_json::from_value(job)?)
            .await?;
        let mut job = Watched::of(jobs, &name);
        job.until(|job| job.data["status"]["active"] == 1).await?;
        let began = Instant::now();
        job.patch(&json!({"spec": {"suspend": true}}), false)
            .await?;
        job.until(|job| {
            let conditions = job.data["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten();
            conditions
                .filter(|it| it["type"] == "Suspended" && it["status"] == "True")
                .count()
                > 0
        })
        .await?;
        Ok(began.elapsed())
    }
}

/// An object with a watch of it.
struct Watched {
    objects: Api<DynamicObject>,
    name: String,
    events: futures::stream::BoxStream<'static, watcher::Result<DynamicObject>>,
}

impl Watched {
    /// Starts to watch the object. The watch shows its current state first.
    fn of(objects: Api<DynamicObject>, name: &str) -> Self {
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let events = watcher(objects.clone(), only)
            .default_backoff()
            .applied_objects()
            .boxed();
        Self {
            objects,
            name: name.to_owned(),
            events,
        }
    }

    async fn patch(&self, patch: &Value, is_status: bool) -> anyhow::Result<()> {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        if is_status {
            self.objects
                .patch_status(&self.name, &params, &patch)
                .await?;
        } else {
            self.objects.patch(&self.name, &params, &patch).await?;
        }
        Ok(())
    }

    async fn until(&mut self, is_so: impl Fn(&DynamicObject) -> bool) -> anyhow::Result<()> {
        let found = async {
            while let Some(event) = self.events.next().await {
                if event.is_ok_and(|object| object.name_any() == self.name && is_so(&object)) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .with_context(|| format!("{} never gets there", self.name))
    }
}
