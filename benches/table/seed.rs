//! Many clusters at rest, without the work of creating them: copies of one that Belay created, with its final statuses.

use std::time::Duration;

use anyhow::Context as _;
use belay::api::{
    AgentPool, KwokControlPlane, ManagedCluster, OPERATION_UID_LABEL, Operation, OperationPhase,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    clusters,
    fleet::{Fleet, is},
    objects::{Kind, Objects},
    stage::{Stage, until},
};

/// The number of clusters that are written at once.
const AT_ONCE: usize = 32;
/// The template's name. It occurs nowhere else in its objects, so it can be replaced in their text.
const TEMPLATE: &str = "template0x";

/// One cluster at rest, as Belay left it.
pub struct Template {
    namespace: String,
    cluster: Value,
    record: Value,
    pools: Vec<Value>,
    operations: Vec<Value>,
}

impl Template {
    /// Lets Belay create a cluster with this many empty pools.
    ///
    /// # Errors
    /// If it isn't created.
    pub async fn make(stage: &Stage, pools: usize) -> anyhow::Result<Self> {
        let namespace = format!("of-{pools}-pools");
        stage.namespace(&namespace).await?;
        let fleet = Fleet::of(&stage.client, &namespace);
        let _operator = stage.operate_in(&namespace)?;
        clusters::create_cluster(&fleet.objects, TEMPLATE, json!({})).await?;
        for pool in 0..pools {
            let name = format!("{TEMPLATE}-p{pool}");
            clusters::create_pool(&fleet.objects, &name, TEMPLATE, 0).await?;
        }
        fleet.is_ready(1, pools).await?;
        // The last write of a change comes after its end.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let objects = &fleet.objects;
        let [cluster] = &values::<ManagedCluster>(objects).await?[..] else {
            anyhow::bail!("not one cluster");
        };
        let [record] = &values::<KwokControlPlane>(objects).await?[..] else {
            anyhow::bail!("not one control plane");
        };
        Ok(Self {
            cluster: cluster.clone(),
            record: record.clone(),
            pools: values::<AgentPool>(objects).await?,
            operations: values::<Operation>(objects).await?,
            namespace,
        })
    }

    /// Writes the clusters with these numbers into a namespace, each with this many finished Operations.
    ///
    /// # Errors
    /// If the API server refuses one of them.
    pub async fn copy(
        &self,
        stage: &Stage,
        namespace: &str,
        numbers: std::ops::Range<usize>,
        operations: usize,
    ) -> anyhow::Result<()> {
        let control_plane = &stage.audited.control_plane;
        let admin = stage.client_of(&control_plane.kubeconfig_admin()).await?;
        let objects = &Objects::new(admin, namespace);
        open(stage, objects).await?;
        let all = numbers.map(|number| self.copy_one(objects, namespace, number, operations));
        stream::iter(all)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        close(stage, objects).await
    }

    async fn copy_one(
        &self,
        objects: &Objects,
        namespace: &str,
        number: usize,
        operations: usize,
    ) -> anyhow::Result<()> {
        let mut copy = Copy {
            objects,
            replaced: vec![
                (TEMPLATE.to_owned(), clusters::name(number)),
                (self.namespace.clone(), namespace.to_owned()),
            ],
        };
        copy.create::<ManagedCluster>(&self.cluster).await?;
        copy.create::<KwokControlPlane>(&self.record).await?;
        for pool in &self.pools {
            copy.create::<AgentPool>(pool).await?;
        }
        for operation in self.operations.iter().take(operations) {
            copy.operation(operation).await?;
        }
        for old in self.operations.len()..operations {
            let mut old_one = self.operations.last().context("an Operation")?.clone();
            old_one["metadata"]["name"] = json!(format!("{TEMPLATE}-old-{old}"));
            copy.operation(&old_one).await?;
        }
        for pool in &self.pools {
            copy.status::<AgentPool>(pool).await?;
        }
        copy.status::<ManagedCluster>(&self.cluster).await
    }
}

/// A copy in progress, with the texts that replace the template's names and uids.
struct Copy<'a> {
    objects: &'a Objects,
    replaced: Vec<(String, String)>,
}

impl Copy<'_> {
    /// Writes the copy of an object.
    async fn create<K: Kind>(&mut self, of: &Value) -> anyhow::Result<K> {
        let made: K = serde_json::from_value(as_written(&self.fill(of)?))?;
        let made = self
            .objects
            .api()
            .create(&PostParams::default(), &made)
            .await?;
        let (old, new) = (of["metadata"]["uid"].as_str(), made.uid());
        let (old, new) = old.zip(new).context("uids")?;
        self.replaced.push((old.to_owned(), new));
        Ok(made)
    }

    /// Writes the copy of an Operation, and the label with its own uid.
    async fn operation(&mut self, of: &Value) -> anyhow::Result<()> {
        let made: Operation = self.create(of).await?;
        let own = json!({"metadata": {"labels": {OPERATION_UID_LABEL: made.uid()}}});
        self.objects
            .patch::<Operation>(&made.name_any(), &own)
            .await
    }

    /// Writes the status of a copy.
    async fn status<K: Kind>(&self, of: &Value) -> anyhow::Result<()> {
        let filled = self.fill(of)?;
        let name = filled["metadata"]["name"].as_str().context("a name")?;
        let status = Patch::Merge(json!({"status": filled["status"]}));
        let objects = self.objects.api::<K>();
        objects
            .patch_status(name, &PatchParams::default(), &status)
            .await?;
        Ok(())
    }

    fn fill(&self, template: &Value) -> anyhow::Result<Value> {
        let mut text = template.to_string();
        for (old, new) in &self.replaced {
            text = text.replace(old, new);
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// Returns an object without the fields that the API server sets.
fn as_written(object: &Value) -> Value {
    let mut written = object.clone();
    if let Some(metadata) = written["metadata"].as_object_mut() {
        metadata.retain(|field, _| {
            [
                "name",
                "labels",
                "annotations",
                "finalizers",
                "ownerReferences",
            ]
            .contains(&&**field)
        });
    }
    written
}

async fn values<K: Kind>(objects: &Objects) -> anyhow::Result<Vec<Value>> {
    let all = objects.list::<K>().await?;
    Ok(all
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()?)
}

/// Makes the API server accept Operations together with their statuses, and refuse nothing. (There are ten times as
/// many Operations as other objects, so this saves much time.)
async fn open(stage: &Stage, objects: &Objects) -> anyhow::Result<()> {
    stage.without_bindings()?;
    let without = r#"[{"op": "remove", "path": "/spec/versions/0/subresources"}]"#;
    stage.audited.kubectl(
        &[
            "patch",
            "crd",
            "operations.belay.dev",
            "--type=json",
            "-p",
            without,
        ],
        "",
    )?;
    let spec = json!({"type": "Reconcile", "target": {"kind": "ManagedCluster", "name": "none"}});
    let mut probe = Operation::new("probe", serde_json::from_value(spec)?);
    probe.status = Some(serde_json::from_value(json!({"phase": "Succeeded"}))?);
    let (operations, probe) = (objects.api::<Operation>(), &probe);
    until("with statuses at once", async || {
        let made = operations.create(&PostParams::default(), probe).await?;
        operations.delete("probe", &DeleteParams::default()).await?;
        Ok(is(&made, OperationPhase::Succeeded))
    })
    .await
}

/// Restores on the API server what the chart defines.
async fn close(stage: &Stage, objects: &Objects) -> anyhow::Result<()> {
    stage.install()?;
    let operations = objects.api::<Operation>();
    until("with statuses apart", async || {
        let (params, none) = (PatchParams::default(), Patch::Merge(json!({})));
        let answer = operations.patch_status("none", &params, &none).await;
        // If this subresource doesn't exist, the answer names no object.
        Ok(matches!(answer, Err(kube::Error::Api(refused)) if refused.message.contains("\"none\"")))
    })
    .await?;
    // The policies take effect a moment after they are written, and nothing shows when.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(())
}
