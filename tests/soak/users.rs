//! The actions of users and of others. If the API server refuses an action, they continue with the next one.

use std::fmt::Debug;

use belay::api::{AgentPool, ManagedCluster, Operation};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{actions::NamespacedKind, event::What, place::Place};

/// A user who acts in a namespace.
pub struct User<'a> {
    place: &'a Place,
    /// The number of objects and abort so far, for their names.
    count_so_far: usize,
}

impl<'a> User<'a> {
    pub fn of(place: &'a Place) -> Self {
        Self {
            place,
            count_so_far: 0,
        }
    }

    /// Performs an event if it is an action of users or of others.
    pub async fn act(&mut self, what: &What) -> Result<(), String> {
        match *what {
            What::Version(version) => self.cluster(json!({"kubernetesVersion": version})).await,
            What::Policy(policy) => self.cluster(json!({"concurrencyPolicy": policy})).await,
            What::ClusterPower(state) => self.cluster(json!({"powerState": state})).await,
            What::ProvisioningTime(time) => {
                let options = json!({"kwok": {"nodeProvisioningTime": time}});
                self.cluster(json!({"provider": options})).await
            }
            What::DeleteCluster => self.delete::<ManagedCluster>("demo").await,
            What::CreateCluster => {
                let spec = json!({"kubernetesVersion": "1.35.7", "provider": {"kwok": {"nodeProvisioningTime": "300ms"}}});
                self.create::<ManagedCluster>("demo", spec).await
            }
            What::Count(pool, count) => self.pool(pool, json!({"count": count})).await,
            What::ScaleSubresource(pool, count) => self.scale(pool, count).await,
            What::Labels(pool, number) => {
                let labels = json!({"tier": number.to_string()});
                self.pool(pool, json!({"nodeLabels": labels})).await
            }
            What::Surge(pool, surge, unavailable) => {
                let settings = json!({"maxSurge": surge, "maxUnavailable": unavailable});
                self.pool(pool, json!({"upgradeSettings": settings})).await
            }
            What::PoolPower(pool, state) => self.pool(pool, json!({"powerState": state})).await,
            What::DeletePool(pool) => self.delete::<AgentPool>(pool).await,
            What::CreatePool(pool, count) => {
                let spec = json!({"clusterName": "demo", "count": count});
                self.create::<AgentPool>(pool, spec).await
            }
            ref other => self.act_on_operations(other).await,
        }
    }

    async fn act_on_operations(&mut self, what: &What) -> Result<(), String> {
        match *what {
            What::OperationOnCluster(type_) => {
                self.create_operation(type_, "ManagedCluster", "demo").await
            }
            What::OperationOnPool(type_, pool) => {
                self.create_operation(type_, "AgentPool", pool).await
            }
            What::Abort(which, policy) => self.abort(which, policy).await,
            What::AbortOnCluster => self.abort_on::<ManagedCluster>("demo").await,
            What::AbortOnPool(pool) => self.abort_on::<AgentPool>(pool).await,
            What::DeleteOperation(which) => match self.nth::<Operation>(which).await? {
                Some(operation) => self.delete::<Operation>(&operation.name_any()).await,
                None => Ok(()),
            },
            What::ProtectedPods(pods) => {
                if self.place.budgets.required(&self.place.belay.namespace) > 0 {
                    self.place.set_protected_pods(pods).await;
                }
                Ok(())
            }
            What::DeleteNode(which) => self.delete_node(which).await,
            What::Cordon(which, cordoned) => self.cordon(which, cordoned).await,
            What::DeletePod(which) => match self.nth::<Pod>(which).await? {
                Some(pod) => self.delete::<Pod>(&pod.name_any()).await,
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    async fn cluster(&self, spec: Value) -> Result<(), String> {
        self.patch::<ManagedCluster>("demo", json!({"spec": spec}))
            .await
    }

    async fn pool(&self, pool: &str, spec: Value) -> Result<(), String> {
        self.patch::<AgentPool>(pool, json!({"spec": spec})).await
    }

    async fn scale(&self, pool: &str, count: usize) -> Result<(), String> {
        let patch = Patch::Merge(json!({"spec": {"replicas": count}}));
        let pools = self.place.belay.api::<AgentPool>();
        may_be_refused(
            pools
                .patch_scale(pool, &PatchParams::default(), &patch)
                .await,
        )
    }

    async fn create_operation(
        &mut self,
        type_: &str,
        kind: &str,
        target: &str,
    ) -> Result<(), String> {
        let mut spec = json!({"type": type_, "target": {"kind": kind, "name": target}});
        match type_ {
            "Scale" => spec["count"] = json!(self.count_so_far % 4),
            "Upgrade" if kind == "ManagedCluster" => spec["kubernetesVersion"] = json!("1.36.3"),
            "Rollback" => spec["kubernetesVersion"] = json!("1.35.7"),
            _ => {}
        }
        self.count_so_far += 1;
        let name = format!("requested-{}", self.count_so_far);
        self.create::<Operation>(&name, spec).await
    }

    async fn abort(&mut self, which: usize, policy: Option<&str>) -> Result<(), String> {
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
        self.count_so_far += 1;
        let mut annotations = json!({"belay.dev/abort": format!("abort {}", self.count_so_far)});
        if let Some(policy) = policy {
            annotations["belay.dev/abort-policy"] = json!(policy);
        }
        let patch = json!({"metadata": {"annotations": annotations}});
        self.patch::<Operation>(&operation, patch).await
    }

    async fn abort_on<K: NamespacedKind>(&mut self, name: &str) -> Result<(), String> {
        self.count_so_far += 1;
        let reason = format!("abort {}", self.count_so_far);
        let patch = json!({"metadata": {"annotations": {"belay.dev/abort": reason}}});
        self.patch::<K>(name, patch).await
    }

    async fn delete_node(&self, which: usize) -> Result<(), String> {
        let nodes = self.place.belay.nodes().await;
        let Some(node) = nodes.get(which % nodes.len().max(1)) else {
            return Ok(());
        };
        let params = DeleteParams::default();
        let all = Api::<Node>::all(self.place.belay.client.clone());
        may_be_refused(all.delete(&node.name_any(), &params).await)
    }

    async fn cordon(&self, which: usize, cordoned: bool) -> Result<(), String> {
        let nodes = self.place.belay.nodes().await;
        let Some(node) = nodes.get(which % nodes.len().max(1)) else {
            return Ok(());
        };
        let patch = Patch::Merge(json!({"spec": {"unschedulable": cordoned}}));
        let all = Api::<Node>::all(self.place.belay.client.clone());
        let params = PatchParams::default();
        may_be_refused(all.patch(&node.name_any(), &params, &patch).await)
    }

    async fn list<K: NamespacedKind>(&self) -> Result<Vec<K>, String> {
        let (all, params) = (self.place.belay.api::<K>(), ListParams::default());
        let listed = all.list(&params).await;
        Ok(listed.map_err(|error| error.to_string())?.items)
    }

    async fn nth<K: NamespacedKind>(&self, which: usize) -> Result<Option<K>, String> {
        let mut all = self.list::<K>().await?;
        let which = which % all.len().max(1);
        Ok((which < all.len()).then(|| all.swap_remove(which)))
    }

    async fn create<K: NamespacedKind>(&self, name: &str, spec: Value) -> Result<(), String> {
        let object = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name}, "spec": spec});
        let object = serde_json::from_value(object).expect("an object");
        let all = self.place.belay.api::<K>();
        may_be_refused(all.create(&PostParams::default(), &object).await)
    }

    async fn patch<K: NamespacedKind>(&self, name: &str, patch: Value) -> Result<(), String> {
        let (all, params) = (self.place.belay.api::<K>(), PatchParams::default());
        may_be_refused(all.patch(name, &params, &Patch::Merge(patch)).await)
    }

    async fn delete<K: NamespacedKind>(&self, name: &str) -> Result<(), String> {
        let (all, params) = (self.place.belay.api::<K>(), DeleteParams::default());
        may_be_refused(all.delete(name, &params).await)
    }
}

/// Accepts a refusal of a user's request. Any other error is a failure of the test.
fn may_be_refused<T: Debug>(answer: kube::Result<T>) -> Result<(), String> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => Ok(()),
        Err(error) => Err(format!("the request of a user failed: {error}")),
    }
}
