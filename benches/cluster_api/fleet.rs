//! The Clusters of the benchmark, and the changes that people make to them.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use belay::api::{
    AgentPool, ManagedCluster, Operation, OperationPhase, OperationType, ProvisioningState,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams},
};
use serde_json::{Value, json};

use super::{
    machines::{self, has_lost_its_infrastructure, is_ready},
    objects::Objects,
    stage::Stage,
};

/// The namespace of all objects.
pub const NAMESPACE: &str = "fleet";
/// The number of Machines of each Cluster: one in its control plane, two in each pool.
pub const MACHINES: usize = 5;
/// The version that the Clusters run first, and the version that they are upgraded to.
const VERSIONS: [&str; 2] = ["1.35.0", "1.36.0"];
/// The number of requests that people make at once.
const AT_ONCE: usize = 16;
/// How long to wait for the whole fleet.
const PATIENCE: Duration = Duration::from_hours(1);
/// How often to check.
const LOOK: Duration = Duration::from_secs(3);

/// A number of identical Clusters.
pub struct Fleet {
    client: Client,
    pub objects: Objects,
    clusters: usize,
}

impl Fleet {
    /// Returns a fleet with this many Clusters.
    pub fn new(client: Client, clusters: usize) -> Self {
        let objects = Objects::new(client.clone(), NAMESPACE);
        Self {
            client,
            objects,
            clusters,
        }
    }

    /// Lets Cluster API create the Clusters, and waits until all their Machines are Ready.
    pub async fn create(&self, stage: &Stage) -> anyhow::Result<()> {
        stage.apply(&example("class.yaml")?)?;
        let cluster = example("cluster.yaml")?.replace("replicas: 3}", "replicas: 2}");
        for number in 0..self.clusters {
            stage.apply(&cluster.replace("name: demo", &format!("name: {}", name(number))))?;
        }
        self.until("has all Machines Ready", async || {
            let machines = self.machines().list(&ListParams::default()).await?.items;
            let are_lost = |machine: &&DynamicObject| has_lost_its_infrastructure(machine);
            for machine in machines.iter().filter(are_lost) {
                let gone = DeleteParams::default();
                self.machines().delete(&machine.name_any(), &gone).await?;
            }
            let ready = machines.iter().filter(|machine| is_ready(machine));
            Ok(ready.count() == self.clusters * MACHINES)
        })
        .await
    }

    /// Adopts all Clusters.
    pub fn adopt(&self, stage: &Stage) -> anyhow::Result<()> {
        for number in 0..self.clusters {
            stage.apply(&stage.adoption(&name(number))?)?;
        }
        Ok(())
    }

    /// Waits until all Clusters and pools are Ready.
    pub async fn is_ready(&self) -> anyhow::Result<()> {
        self.until("is Ready", async || {
            let clusters = self.objects.list::<ManagedCluster>().await?;
            let of_clusters = clusters.iter().filter_map(|one| one.status.as_ref());
            let of_clusters = of_clusters.filter_map(|status| status.provisioning_state);
            let pools = self.objects.list::<AgentPool>().await?;
            let of_pools = pools.iter().filter_map(|one| one.status.as_ref());
            let of_pools = of_pools.filter_map(|status| status.provisioning_state);
            let states = of_clusters.chain(of_pools);
            let ready = states.filter(|state| *state == ProvisioningState::Succeeded);
            Ok(ready.count() == self.clusters * 3)
        })
        .await
    }

    /// Requests the upgrade of all Clusters, and waits until all upgrades are in progress.
    pub async fn upgrade(&self) -> anyhow::Result<()> {
        let [_, new] = VERSIONS;
        let version = json!({"spec": {"kubernetesVersion": new}});
        stream::iter(0..self.clusters)
            .map(|number| self.set_version(name(number), &version))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        self.until("is upgraded", async || {
            let upgrades = self.operations(OperationType::Upgrade).await?;
            Ok(upgrades.len() == self.clusters)
        })
        .await
    }

    async fn set_version(&self, name: String, version: &Value) -> anyhow::Result<()> {
        self.objects.patch::<ManagedCluster>(&name, version).await
    }

    /// Returns the names of the Operations of a type that have started.
    pub async fn operations(&self, type_: OperationType) -> anyhow::Result<Vec<String>> {
        let all = self.objects.list::<Operation>().await?;
        let of_type = all.iter().filter(|operation| {
            let status = operation.status.as_ref();
            operation.spec.type_ == type_
                && status.is_some_and(|status| status.start_time.is_some())
        });
        Ok(of_type.map(kube::ResourceExt::name_any).collect())
    }

    /// Waits until all of these Operations are in that phase. None may fail.
    pub async fn all_are(&self, names: &[String], phase: OperationPhase) -> anyhow::Result<()> {
        self.until("comes to the end of its operation", async || {
            let all = self.objects.list::<Operation>().await?;
            let of_names = all.iter().filter(|one| names.contains(&one.name_any()));
            let statuses = of_names.filter_map(|one| one.status.as_ref());
            let mut ended = 0;
            for status in statuses {
                ensure!(
                    status.phase != OperationPhase::Failed,
                    "failed: {:?}",
                    status.error
                );
                ended += usize::from(status.phase == phase);
            }
            Ok(ended == names.len())
        })
        .await
    }

    /// Checks that every Machine still exists, and that the Machines of an aborted upgrade aren't all of one version.
    pub async fn has_kept_what_was_aborted(&self, aborted: &[String]) -> anyhow::Result<()> {
        let machines = self.machines().list(&ListParams::default()).await?.items;
        let mut versions = BTreeMap::<String, usize>::new();
        for machine in &machines {
            let version = machine.data["spec"]["version"].as_str().unwrap_or_default();
            *versions.entry(version.to_owned()).or_default() += 1;
        }
        println!("Machines by version: {versions:?}");
        let [old, _] = VERSIONS.map(|version| format!("v{version}"));
        ensure!(
            versions.get(&old).is_some_and(|old| *old >= aborted.len()),
            "the aborted upgrades went on"
        );
        ensure!(
            machines.len() >= self.clusters * MACHINES,
            "only {} Machines are left",
            machines.len()
        );
        Ok(())
    }

    async fn until(
        &self,
        what: &str,
        is_so: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !is_so().await? {
            if began.elapsed() > PATIENCE {
                bail!("the fleet never {what}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn machines(&self) -> Api<DynamicObject> {
        machines::api(self.client.clone(), NAMESPACE, "Machine")
    }
}

fn name(number: usize) -> String {
    format!("c{number}")
}

fn example(file: &str) -> anyhow::Result<String> {
    let examples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cluster-api"));
    Ok(fs::read_to_string(examples.join(file))?)
}
