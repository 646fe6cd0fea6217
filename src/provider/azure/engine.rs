//! AKS as an engine: it begins, shows and stops operations.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use kube::Client;
use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    api::{AzureProviderSpec, OperationError},
    lifecycle::{Observation, Rules, Stage},
    provider::{
        adopted::{
            credentials::Person,
            handle::Handle,
            inside::{self, Inside},
            rested::Rested,
        },
        engine::{Answer, Change, Engine, EngineError, EngineProvider, Pace, Site, State},
        nodes::preflight::Seen,
        requests::Failure,
    },
};

use super::{
    ByAks, Settings,
    arm::{Arm, Call},
    goal::{self, Request},
    look, progress,
    resource::{Id, Properties, settings, tag},
};

/// Returns the provider, for clusters of any subscription.
///
/// # Errors
/// If the settings are invalid.
pub fn provider(client: &Client, settings: &Settings) -> anyhow::Result<EngineProvider> {
    let operator = Person::Operator(settings.identity_namespaces.clone());
    let arm = Arm::new(client.clone(), settings, operator)?;
    Ok(EngineProvider::new(Arc::new(Aks {
        arm,
        client: client.clone(),
        rested: Rested::default(),
        look_every: settings.look_every,
    })))
}

/// Returns the label of the nodes of a node pool.
fn nodes_of(node_pool: &str) -> String {
    format!("kubernetes.azure.com/agentpool={node_pool}")
}

struct Aks {
    arm: Arm,
    /// Reads Secrets.
    client: Client,
    rested: Rested,
    look_every: Duration,
}

/// A cluster or a node pool, and the next request that a change needs for it.
struct Needed {
    node_pool: Option<String>,
    /// Null if it should be gone, and is.
    resource: Value,
    request: Option<Request>,
}

impl Needed {
    fn now(&self) -> Properties<'_> {
        Properties(&self.resource["properties"])
    }

    /// Returns whether the goal is reached, and nothing is running. What failed isn't there, whatever it looks like.
    fn is_there(&self) -> bool {
        self.request.is_none() && self.now().state() == "Succeeded"
    }

    fn handle(&self, operation: String) -> String {
        let node_pool = self.node_pool.clone();
        let handle = Handle {
            node_pool,
            operation,
        };
        handle.to_string()
    }
}

impl Aks {
    /// Reads the resource that a change is about.
    async fn needed(&self, site: &Site, change: &Change) -> Result<Needed, EngineError> {
        let settings = settings(&site.provider);
        let (node_pool, is_to_go) = match &change.stage {
            Stage::Pool(goal) => (Some(settings.node_pool_of(&goal.pool)), goal.deleted),
            Stage::ControlPlane(_) | Stage::Follow(_) => (None, false),
        };
        let read = self.arm.get(site, &Id::new(&settings, node_pool)).await?;
        let resource = match read {
            Some(resource) => resource,
            None if is_to_go => Value::Null,
            None => return Err(Failure::Final(missing(&settings, node_pool))),
        };
        let request = match &change.stage {
            Stage::Pool(_) if resource.is_null() => None,
            Stage::Pool(goal) => goal::of_node_pool(&resource, goal),
            Stage::ControlPlane(Some(goal)) => goal::of_cluster(&resource, *goal),
            Stage::ControlPlane(None) | Stage::Follow(_) => None,
        };
        Ok(Needed {
            node_pool: node_pool.map(ToOwned::to_owned),
            resource,
            request,
        })
    }

    /// Returns the id of what runs on a resource. Empty if Azure doesn't show it.
    async fn latest(&self, site: &Site, id: &Id<'_>) -> Result<String, EngineError> {
        let latest = self.arm.operation(site, id, "latest").await?;
        let name = latest.as_ref().and_then(|latest| latest["name"].as_str());
        Ok(name.unwrap_or_default().to_owned())
    }

    /// Returns the operation of a handle. None if Azure doesn't show it.
    async fn operation(
        &self,
        site: &Site,
        id: &Id<'_>,
        handle: &Handle,
    ) -> Result<Option<Value>, EngineError> {
        if handle.operation.is_empty() {
            return Ok(None);
        }
        self.arm.operation(site, id, &handle.operation).await
    }
}

/// Returns the error for a cluster or a node pool that doesn't exist.
pub fn missing(settings: &AzureProviderSpec, node_pool: Option<&str>) -> OperationError {
    let AzureProviderSpec {
        name,
        resource_group,
        ..
    } = settings;
    match node_pool {
        None => OperationError::new(
            "ClusterNotFound",
            format!(
                "AKS cluster {name} does not exist in resource group {resource_group}, or Belay may not read it: create it in Azure, or create a new ManagedCluster with the right spec.provider.azure"
            ),
        ),
        Some(node_pool) => OperationError::new(
            "NodePoolNotFound",
            format!(
                "AKS cluster {name} has no node pool {node_pool}: create it in Azure (az aks nodepool add), or name another one in spec.provider.azure.nodePools"
            ),
        ),
    }
}

#[async_trait]
impl Engine for Aks {
    fn rules(&self) -> &'static dyn Rules {
        &ByAks
    }

    /// Azure allows a principal some 25 reads of a subscription per second for a while; others read as well.
    /// Source: Microsoft Learn, "Understand how Azure Resource Manager throttles requests".
    fn pace(&self) -> Pace {
        Pace {
            idle: self.look_every,
            busy: self.look_every.min(Duration::from_secs(2)),
            per_second: 10,
        }
    }

    fn account(&self, site: &Site) -> String {
        settings(&site.provider).subscription_id
    }

    async fn inside(&self, site: &Site, pools: &[String]) -> Result<Seen, String> {
        let settings = settings(&site.provider);
        let label = |pool: &String| (pool.clone(), nodes_of(settings.node_pool_of(pool)));
        let pools: Vec<_> = pools.iter().map(label).collect();
        let secret = settings.kubeconfig_secret.as_deref();
        inside::pods_and_budgets(&self.client, site, secret, &pools).await
    }

    async fn look(&self, site: &Site) -> Result<Observation, EngineError> {
        let settings = settings(&site.provider);
        let cluster = self.arm.get(site, &Id::new(&settings, None)).await?;
        let cluster = cluster.ok_or_else(|| Failure::Final(missing(&settings, None)))?;
        let mut seen = look::observation(&cluster, &settings);
        let moving = look::moving(&cluster);
        self.rested.correct(site, &mut seen, |pool| {
            let mut moving = moving.iter().map(|moving| moving.node_pool);
            moving.any(|of| of.is_none_or(|node_pool| settings.pool_of(node_pool) == pool))
        });
        for moving in moving {
            let id = Id::new(&settings, moving.node_pool);
            let operation = self.latest(site, &id).await?;
            // Without an id, Belay can't distinguish it from its own operation.
            if !operation.is_empty() {
                let begun = moving.begun(&cluster, site, &settings, operation);
                seen.begun_by_others.extend(begun);
            }
        }
        Ok(seen)
    }

    async fn begin(&self, site: &Site, change: &Change) -> Result<String, EngineError> {
        let settings = settings(&site.provider);
        let needed = self.needed(site, change).await?;
        let id = Id::new(&settings, needed.node_pool.as_deref());
        let call = match &needed.request {
            Some(Request::Put(wanted)) => Call::Put(wanted, tag(&needed.resource)),
            Some(Request::Post(name)) => Call::Post(name),
            Some(Request::Delete) => Call::Delete,
            None if needed.now().is_moving() => {
                return Ok(needed.handle(self.latest(site, &id).await?));
            }
            None if needed.is_there() => {
                return Ok(needed.handle(String::new()));
            }
            // If it is written once more, Azure completes it.
            None => Call::Put(&needed.resource, tag(&needed.resource)),
        };
        let operation = self.arm.begin(site, &id, call).await?;
        Ok(needed.handle(operation))
    }

    async fn is_whole(&self, site: &Site, change: &Change) -> Result<bool, EngineError> {
        Ok(self.needed(site, change).await?.is_there())
    }

    /// Azure keeps no token of a change. The resource shows what was asked for.
    async fn find(&self, site: &Site, change: &Change) -> Result<Option<String>, EngineError> {
        let settings = settings(&site.provider);
        let needed = self.needed(site, change).await?;
        if needed.request.is_some() {
            return Ok(None);
        }
        if needed.now().is_moving() {
            let id = Id::new(&settings, needed.node_pool.as_deref());
            return Ok(Some(needed.handle(self.latest(site, &id).await?)));
        }
        Ok(needed.is_there().then(|| needed.handle(String::new())))
    }

    async fn poll(&self, site: &Site, handle: &str) -> Result<State, EngineError> {
        let (settings, handle) = (settings(&site.provider), Handle::parse(handle));
        let node_pool = handle.node_pool.as_deref();
        let id = Id::new(&settings, node_pool);
        let Some(resource) = self.arm.get(site, &id).await? else {
            return match node_pool {
                // Its deletion is done, or the change doesn't matter any more.
                Some(_) => Ok(State::Done),
                None => Err(Failure::Final(missing(&settings, None))),
            };
        };
        let operation = self.operation(site, &id, &handle).await?;
        let mut state = progress::state(&resource, operation.as_ref());
        if let (State::Running(running), Some(node_pool), Some(secret)) =
            (&mut state, node_pool, &settings.kubeconfig_secret)
        {
            let inside = Inside {
                client: &self.client,
                site,
                secret,
                nodes: nodes_of(node_pool),
                version: None,
            };
            inside.add_to(running).await;
        }
        Ok(state)
    }

    async fn stop(&self, site: &Site, handle: &str) -> Result<Answer, EngineError> {
        let (settings, handle) = (settings(&site.provider), Handle::parse(handle));
        let id = Id::new(&settings, handle.node_pool.as_deref());
        let aborted = self.arm.begin(site, &id, Call::Post("abort")).await;
        match aborted {
            Ok(_) => Ok(Answer::Accepted),
            // Source: Microsoft Learn, "Terminate a long running operation on an AKS cluster": 409 if it has ended.
            Err(refused) if refused.status == Some(StatusCode::CONFLICT) => Ok(Answer::TooLate),
            Err(refused) => match refused.error {
                Failure::Final(error) => Ok(Answer::Refused(error.message)),
                passing @ Failure::Passing(_) => Err(passing),
            },
        }
    }
}
