//! Reads what the findings are made of, with few requests.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, Client, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use crate::provider::nodes::drain::pods_of;

use super::{PoolPods, pods::claims_of};

/// Up to this number of nodes, Belay lists the pods of each node. If there are more, it lists all pods.
const FEW: usize = 10;
/// How many of these lists are read at the same time.
const AT_ONCE: usize = 4;
/// How many objects are read in one request.
const PAGE: u32 = 500;

/// The names of the nodes of a pool that are drained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// The pool's name.
    pub pool: String,
    /// The names of the nodes.
    pub nodes: Vec<String>,
}

/// Reads the pods on these nodes.
///
/// # Errors
/// Returns an error if they can't be read.
pub async fn pods(client: &Client, drained: &[Drained]) -> kube::Result<Vec<PoolPods>> {
    let nodes = drained.iter().flat_map(|drained| {
        drained
            .nodes
            .iter()
            .map(|node| (node.clone(), &drained.pool))
    });
    let pool_of: BTreeMap<String, &String> = nodes.collect();
    let api = Api::<Pod>::all(client.clone());
    let mut pools = BTreeMap::<&String, Vec<Pod>>::new();
    let mut keep = |pods: Vec<Pod>| {
        for mut pod in pods {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            if let Some(pool) = node.and_then(|node| pool_of.get(node)) {
                pod.metadata.managed_fields = None;
                pools.entry(pool).or_default().push(pod);
            }
        }
    };
    if pool_of.len() <= FEW {
        let names: Vec<String> = pool_of.keys().cloned().collect();
        let lists = stream::iter(names).map(|node| {
            let (api, of_node) = (api.clone(), pods_of(&node));
            async move { api.list(&of_node).await.map(|list| list.items) }
        });
        let lists: Vec<Vec<Pod>> = lists.buffered(AT_ONCE).try_collect().await?;
        lists.into_iter().for_each(&mut keep);
    } else {
        each_page(&api, keep).await?;
    }
    let of_pool = |(pool, pods): (&String, Vec<Pod>)| PoolPods {
        pool: pool.clone(),
        pods,
    };
    Ok(pools.into_iter().map(of_pool).collect())
}

/// Reads all budgets.
///
/// # Errors
/// Returns an error if they can't be read.
pub async fn budgets(client: &Client) -> kube::Result<Vec<Arc<PodDisruptionBudget>>> {
    let mut all = Vec::new();
    let keep = |budgets: Vec<_>| all.extend(budgets.into_iter().map(Arc::new));
    each_page(&Api::all(client.clone()), keep).await?;
    Ok(all)
}

/// Reads the volumes, unless none of these pods uses a claim.
///
/// # Errors
/// Returns an error if they can't be read.
pub async fn volumes(client: &Client, pools: &[PoolPods]) -> kube::Result<Vec<PersistentVolume>> {
    let mut pods = pools.iter().flat_map(|pool| &pool.pods);
    let mut all = Vec::new();
    if pods.any(|pod| !claims_of(pod).is_empty()) {
        each_page(&Api::all(client.clone()), |volumes| all.extend(volumes)).await?;
    }
    Ok(all)
}

/// Lists all objects of a kind, page by page.
async fn each_page<K>(api: &Api<K>, mut keep: impl FnMut(Vec<K>)) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        let next = page.metadata.continue_.clone();
        keep(page.items);
        match next.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}
