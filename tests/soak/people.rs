//! The actions of people and others. If the API server refuses an action, they go on.

use std::fmt::Debug;

use belay::api::{AgentPool, ManagedCluster, Operation};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{acts::Known, event::What, place::Place};

/// A person who acts in a namespace.
pub struct Person<'a> {
    place: &'a Place,
    /// The number of objects made so far, for their names.
    made: usize,
}

impl<'a> Person<'a> {
    pub fn of(place: &'a Place) -> Self {
        Self { place, made: 0 }
    }

    /// Performs an event, if it is an action of people.
    pub async fn does(&mut self, what: &What) -> Result<(), String> {
        match *what {
            What::Version(version) => self.cluster(json!({"kubernetesVersion": version})).await,
            What::Policy(policy) => self.cluster(json!({"concurrencyPolicy": policy})).await,
            What::ClusterPower(state) => self.cluster(json!({"powerState": state})).await,
            What::ProvisioningTime(time) => {
                let options = json!({"kwok": {"nodeProvisioningTime": time}});
                self.cluster(json!({"provider": options})).await
            }
            What::DeleteCluster => self.deletes::<ManagedCluster>("demo").await,
            What::MakeCluster => {
                let spec = json!({"kubernetesVersion": "1.35.7", "provider": {"kwok": {"nodeProvisioningTime": "300ms"}}});
                self.makes::<ManagedCluster>("demo", spec).await
            }
            What::Count(pool, count) => self.pool(pool, json!({"count": count})).await,
            What::ScaleSubresource(pool, count) => self.scales(pool, count).await,
            What::Labels(pool, number) => {
                let labels = json!({"tier": number.to_string()});
                self.pool(pool, json!({"nodeLabels": labels})).await
            }
            What::Surge(pool, surge, unavailable) => {
                let settings = json!({"maxSurge": surge, "maxUnavailable": unavailable});
                self.pool(pool, json!({"upgradeSettings": settings})).await
            }
            What::PoolPower(pool, state) => self.pool(pool, json!({"powerState": state})).await,
            What::DeletePool(pool) => self.deletes::<AgentPool>(pool).await,
            What::MakePool(pool, count) => {
                let spec = json!({"clusterName": "demo", "count": count});
                self.makes::<AgentPool>(pool, spec).await
            }
            ref other => self.asks(other).await,
        }
    }

    async fn asks(&mut self, what: &What) -> Result<(), String> {
        match *what {
            What::AskCluster(type_) => self.asks_for(type_, "ManagedCluster", "demo").await,
            What::AskPool(type_, pool) => self.asks_for(type_, "AgentPool", pool).await,
            What::Abort(which, policy) => self.aborts(which, policy).await,
            What::AbortOnCluster => self.aborts_on::<ManagedCluster>("demo").await,
            What::AbortOnPool(pool) => self.aborts_on::<AgentPool>(pool).await,
            What::DeleteOperation(which) => match self.nth::<Operation>(which).await? {
                Some(operation) => self.deletes::<Operation>(&operation.name_any()).await,
                None => Ok(()),
            },
            What::Keep(pods) => {
                if self.place.budgets.kept(&self.place.belay.namespace) > 0 {
                    self.place.keep(pods).await;
                }
                Ok(())
            }
            What::DeleteNode(which) => self.deletes_node(which).await,
            What::Cordon(which, cordoned) => self.cordons(which, cordoned).await,
            What::DeletePod(which) => match self.nth::<Pod>(which).await? {
                Some(pod) => self.deletes::<Pod>(&pod.name_any()).await,
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    async fn cluster(&self, spec: Value) -> Result<(), String> {
        self.patches::<ManagedCluster>("demo", json!({"spec": spec}))
            .await
    }

    async fn pool(&self, pool: &str, spec: Value) -> Result<(), String> {
        self.patches::<AgentPool>(pool, json!({"spec": spec})).await
    }

    async fn scales(&self, pool: &str, count: usize) -> Result<(), String> {
        let patch = Patch::Merge(json!({"spec": {"replicas": count}}));
        let pools = self.place.belay.api::<AgentPool>();
        may_be_refused(
            pools
                .patch_scale(pool, &PatchParams::default(), &patch)
                .await,
        )
    }

    async fn asks_for(&mut self, type_: &str, kind: &str, target: &str) -> Result<(), String> {
        let mut spec = json!({"type": type_, "target": {"kind": kind, "name": target}});
        match type_ {
            "Scale" => spec["count"] = json!(self.made % 4),
            "Upgrade" if kind == "ManagedCluster" => spec["kubernetesVersion"] = json!("1.36.3"),
            "Rollback" => spec["kubernetesVersion"] = json!("1.35.7"),
            _ => {}
        }
        self.made += 1;
        let name = format!("asked-{}", self.made);
        self.makes::<Operation>(&name, spec).await
    }

    async fn aborts(&mut self, which: usize, policy: Option<&str>) -> Result<(), String> {
        let operations = self.list::<Operation>().await?;
        let is_in_flight = |operation: &&Operation| {
            let status = operation.status.as_ref();
            !status.is_some_and(|status| status.phase.is_finished())
        };
        let in_flight: Vec<_> = operations.iter().filter(is_in_flight).collect();
        if in_flight.is_empty() {
            return Ok(());
        }
        let operation = in_flight[which % in_flight.len()].name_any();
        self.made += 1;
        let mut annotations = json!({"belay.dev/abort": format!("abort {}", self.made)});
        if let Some(policy) = policy {
            annotations["belay.dev/abort-policy"] = json!(policy);
        }
        let patch = json!({"metadata": {"annotations": annotations}});
        self.patches::<Operation>(&operation, patch).await
    }

    async fn aborts_on<K: Known>(&mut self, name: &str) -> Result<(), String> {
        self.made += 1;
        let reason = format!("abort {}", self.made);
        let patch = json!({"metadata": {"annotations": {"belay.dev/abort": reason}}});
        self.patches::<K>(name, patch).await
    }

    async fn deletes_node(&self, which: usize) -> Result<(), String> {
        let nodes = self.place.belay.nodes().await;
        let Some(node) = nodes.get(which % nodes.len().max(1)) else {
            return Ok(());
        };
        let params = DeleteParams::default();
        let all = Api::<Node>::all(self.place.belay.client.clone());
        may_be_refused(all.delete(&node.name_any(), &params).await)
    }

    async fn cordons(&self, which: usize, cordoned: bool) -> Result<(), String> {
        let nodes = self.place.belay.nodes().await;
        let Some(node) = nodes.get(which % nodes.len().max(1)) else {
            return Ok(());
        };
        let patch = Patch::Merge(json!({"spec": {"unschedulable": cordoned}}));
        let all = Api::<Node>::all(self.place.belay.client.clone());
        let params = PatchParams::default();
        may_be_refused(all.patch(&node.name_any(), &params, &patch).await)
    }

    async fn list<K: Known>(&self) -> Result<Vec<K>, String> {
        let (all, params) = (self.place.belay.api::<K>(), ListParams::default());
        let listed = all.list(&params).await;
        Ok(listed.map_err(|error| error.to_string())?.items)
    }

    async fn nth<K: Known>(&self, which: usize) -> Result<Option<K>, String> {
        let mut all = self.list::<K>().await?;
        let which = which % all.len().max(1);
        Ok((which < all.len()).then(|| all.swap_remove(which)))
    }

    async fn makes<K: Known>(&self, name: &str, spec: Value) -> Result<(), String> {
        let object = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name}, "spec": spec});
        let object = serde_json::from_value(object).expect("an object");
        let all = self.place.belay.api::<K>();
        may_be_refused(all.create(&PostParams::default(), &object).await)
    }

    async fn patches<K: Known>(&self, name: &str, patch: Value) -> Result<(), String> {
        let (all, params) = (self.place.belay.api::<K>(), PatchParams::default());
        may_be_refused(all.patch(name, &params, &Patch::Merge(patch)).await)
    }

    async fn deletes<K: Known>(&self, name: &str) -> Result<(), String> {
        let (all, params) = (self.place.belay.api::<K>(), DeleteParams::default());
        may_be_refused(all.delete(name, &params).await)
    }
}

/// A person's request may be refused; any other error is a failure of the test.
fn may_be_refused<T: Debug>(answer: kube::Result<T>) -> Result<(), String> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => Ok(()),
        Err(error) => Err(format!("a person's request: {error}")),
    }
}
