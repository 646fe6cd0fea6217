//! Nodes by Cluster API. Belay operates a Cluster through the Cluster's own objects, whether it existed before or Belay
//! created it. Cluster API stays the engine: Belay itself creates and deletes no Machine.

mod adopt;
mod answers;
mod autoscaled;
mod blocked;
mod change;
mod creation;
mod deletion;
mod found;
mod goal;
mod handle;
mod kinds;
mod look;
mod mirror;
mod objects;
mod progress;
mod reader;
mod rules;
mod stop;
mod strangers;
mod write;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use kube::Client;
use tokio::sync::watch;

use crate::{
    api::ManagedCluster,
    lifecycle::{Observation, Rules, Trouble},
    machinery::watches::Scope,
};

use super::engine::{Answer, Change, Engine, EngineError, EngineProvider, Pace, Site, State};
pub use adopt::manifests;
use deletion::Deletion;
use found::{Found, no_cluster};
use handle::Handle;
use mirror::Mirror;
use reader::Reader;
pub use rules::ByClusterApi;

/// Returns the provider on the cluster that `client` reaches, for the clusters of these namespaces.
pub fn provider(client: &Client, scope: &Scope) -> EngineProvider {
    EngineProvider::new(Arc::new(ClusterApi(Reader {
        client: client.clone(),
        mirror: Mirror::new(client, scope),
    })))
}

/// Reads the current state of a cluster from the API server, once. If that fails, the result says why.
pub async fn look_once(client: &Client, cluster: &ManagedCluster) -> Observation {
    let site = Site::of(cluster);
    let found = Found::read(client, &site).await;
    let seen = found.and_then(|found| observation(found.as_ref(), &site));
    seen.unwrap_or_else(|error| {
        let passing = error.as_passing();
        Observation {
            trouble: Some(Trouble {
                reason: passing.reason,
                message: passing.message,
                seen_at: None,
            }),
            ..Observation::default()
        }
    })
}

fn observation(found: Option<&Found>, site: &Site) -> Result<Observation, EngineError> {
    match found {
        Some(found) => look::observation(found, site),
        // It isn't created yet, or it was deleted as requested.
        None if is_made_by_belay(site) || !ByClusterApi.retains(&site.provider, None) => {
            Ok(Observation::default())
        }
        None => Err(EngineError::Final(no_cluster(site))),
    }
}

/// Returns how far the change of a handle is.
fn state(found: Option<&Found>, site: &Site, handle: &str) -> Result<State, EngineError> {
    if let Some(deletion) = Deletion::parse(handle) {
        return Ok(deletion.state(found));
    }
    let handle = Handle::parse(handle);
    match found {
        Some(found) => progress::state(found, &handle),
        // The abort of a creation deletes a Cluster if nothing was created for it yet.
        None if is_made_by_belay(site) && handle.pool.is_none() => Ok(State::Stopped),
        None => Err(EngineError::Final(no_cluster(site))),
    }
}

/// Returns whether Belay creates the Cluster if it doesn't exist.
fn is_made_by_belay(site: &Site) -> bool {
    let settings = site.provider.cluster_api.as_ref();
    settings.is_some_and(|settings| settings.create.is_some())
}

/// The engine: Cluster API's controllers, through their objects.
struct ClusterApi(Reader);

impl ClusterApi {
    /// Settles a change that was stopped. Returns whether nothing is left to settle.
    async fn is_settled(
        &self,
        site: &Site,
        found: &Found,
        handle: &str,
    ) -> Result<bool, EngineError> {
        let handle = Handle::parse(handle);
        Ok(!progress::may_settle(found, &handle)?
            || stop::settle(&self.0.client, site, found, &handle).await?)
    }
}

impl Drop for ClusterApi {
    fn drop(&mut self) {
        self.0.mirror.end();
    }
}

#[async_trait]
impl Engine for ClusterApi {
    fn rules(&self) -> &'static dyn Rules {
        &ByClusterApi
    }

    fn pace(&self) -> Pace {
        Pace {
            idle: if self.0.mirror.is_up() {
                Duration::from_secs(30)
            } else {
                Duration::from_secs(5)
            },
            busy: Duration::from_secs(1),
            per_second: 50,
        }
    }

    /// All clusters are on one API server.
    fn account(&self, _: &Site) -> String {
        "cluster-api".into()
    }

    fn changes(&self, site: &Site) -> Option<watch::Receiver<u64>> {
        let settings = site.provider.cluster_api.as_ref()?;
        Some(
            self.0
                .mirror
                .changes_of(&site.namespace, &settings.cluster_name),
        )
    }

    async fn look(&self, site: &Site) -> Result<Observation, EngineError> {
        let found = self.0.seen(site).await?;
        if let Ok(seen) = observation(found.as_ref(), site) {
            return Ok(seen);
        }
        // An old view is no reason to report an error: read the Cluster again.
        let found = self.0.now(site).await?;
        observation(found.as_ref(), site)
    }

    async fn begin(&self, site: &Site, change: &Change) -> Result<String, EngineError> {
        if let Some(deletion) = Deletion::of(change) {
            deletion.begin(&self.0, site).await?;
            return Ok(deletion.to_string());
        }
        let handle = change::begin(&self.0, site, change).await?;
        Ok(handle.to_string())
    }

    async fn find(&self, site: &Site, change: &Change) -> Result<Option<String>, EngineError> {
        if let Some(deletion) = Deletion::of(change) {
            let was_begun = deletion.was_begun(&self.0, site).await?;
            return Ok(was_begun.then(|| deletion.to_string()));
        }
        let handle = Handle::of(change);
        let found = match self.0.now(site).await? {
            Some(found) => found,
            None if is_made_by_belay(site) => return Ok(None),
            None => return Err(EngineError::Final(no_cluster(site))),
        };
        let is_written = handle.written(&found)?.is_some();
        Ok(is_written.then(|| handle.to_string()))
    }

    async fn poll(&self, site: &Site, handle: &str) -> Result<State, EngineError> {
        let found = self.0.seen(site).await?;
        if let Ok(State::Running(running)) = state(found.as_ref(), site, handle) {
            return Ok(State::Running(running));
        }
        // An end is reported only from the current state.
        let found = self.0.now(site).await?;
        let state = state(found.as_ref(), site, handle)?;
        match &found {
            Some(found) if state == State::Stopped => {
                let is_settled = self.is_settled(site, found, handle).await?;
                Ok(if is_settled {
                    state
                } else {
                    progress::settling(found, &Handle::parse(handle))?
                })
            }
            _ => Ok(state),
        }
    }

    async fn stop(&self, site: &Site, handle: &str) -> Result<Answer, EngineError> {
        if let Some(deletion) = Deletion::parse(handle) {
            return deletion.stop(&self.0, site).await;
        }
        stop::stop(&self.0, site, &Handle::parse(handle)).await
    }
}
