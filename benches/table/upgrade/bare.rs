//! The floor of an upgrade: a loop that does only what each node needs.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, EvictParams, ListParams, PostParams},
    runtime::{
        conditions,
        wait::{Condition, await_condition},
    },
};

use super::{
    BARE, BELAY, POOLS,
    objects::{is_ready, make_nodes, name, node},
};
use crate::stage::Stage;

/// The nodes that the loop upgrades.
pub struct Bare {
    nodes: Api<Node>,
    pods: Api<Pod>,
    count: usize,
    at_once: usize,
}

impl Bare {
    /// Creates the nodes.
    pub async fn prepare(stage: &Stage, count: usize, at_once: usize) -> anyhow::Result<Self> {
        make_nodes(stage, BARE, count).await?;
        let (kubeconfig, _) = stage.account(BARE).await?;
        let client = stage.client_of(&kubeconfig).await?;
        Ok(Self {
            nodes: Api::all(client.clone()),
            pods: Api::namespaced(client, BELAY),
            count,
            at_once,
        })
    }

    /// Upgrades all nodes from one version to another.
    pub async fn upgrade(&self, from: &str, to: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        for pool in 0..POOLS {
            let replaced = (1..=self.count).map(|number| {
                let (old, new) = (name(BARE, pool, from, number), name(BARE, pool, to, number));
                self.replace(old, new, to)
            });
            stream::iter(replaced)
                .buffer_unordered(self.at_once)
                .try_collect::<()>()
                .await?;
        }
        Ok(began.elapsed())
    }

    async fn replace(&self, old: String, new: String, version: &str) -> anyhow::Result<()> {
        let made = serde_json::from_value(node(BARE, &new, version))?;
        self.nodes.create(&PostParams::default(), &made).await?;
        await_condition(self.nodes.clone(), &new, Ready).await?;
        self.nodes.cordon(&old).await?;
        let of_node = ListParams::default().fields(&format!("spec.nodeName={old}"));
        for pod in self.pods.list(&of_node).await? {
            let name = pod.name_any();
            self.pods.evict(&name, &EvictParams::default()).await?;
            let uid = pod.uid().unwrap_or_default();
            let is_gone = conditions::is_deleted(&uid);
            await_condition(self.pods.clone(), &name, is_gone).await?;
        }
        self.nodes.delete(&old, &DeleteParams::default()).await?;
        Ok(())
    }
}

/// Whether a node is Ready.
struct Ready;

impl Condition<Node> for Ready {
    fn matches_object(&self, node: Option<&Node>) -> bool {
        node.is_some_and(is_ready)
    }
}
