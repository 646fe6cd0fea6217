//! The state of a namespace, for comparison: its nodes and all objects.

use belay::api::{AgentPool, ManagedCluster, Operation};
use kube::{Resource, ResourceExt as _, api::ListParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::belay::{Belay, is_cordoned, version};

impl Belay {
    /// Checks that there are this many nodes, all on 1.36.3, and that all of them accept pods.
    pub async fn has_upgraded_nodes(&self, count: usize) {
        let nodes = self.nodes().await;
        assert_eq!(nodes.len(), count);
        let is_upgraded = |node| version(node) == "v1.36.3" && !is_cordoned(node);
        assert!(nodes.iter().all(is_upgraded), "{nodes:#?}");
    }

    /// Returns the state of each of Belay's objects and nodes, without a kubelet's heartbeats.
    pub async fn state(&self) -> Vec<String> {
        let mut state = self.versions::<ManagedCluster>().await;
        state.extend(self.versions::<AgentPool>().await);
        state.extend(self.versions::<Operation>().await);
        let nodes = self.nodes().await.into_iter();
        state.extend(nodes.map(|node| {
            let (metadata, spec) = (&node.metadata, &node.spec);
            let labels_and_annotations = (&metadata.labels, &metadata.annotations);
            format!(
                "{:?} {:?} {labels_and_annotations:?} {spec:?}",
                metadata.name, metadata.uid
            )
        }));
        state
    }

    async fn versions<K>(&self) -> Vec<String>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let listed = self.api::<K>().list(&ListParams::default()).await;
        let objects = listed.expect("listed").items.into_iter();
        let version = |object: K| format!("{:?}/{:?}", object.uid(), object.resource_version());
        objects.map(version).collect()
    }
}
