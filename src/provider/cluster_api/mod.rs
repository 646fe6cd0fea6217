//! Nodes by Cluster API: a Cluster is operated through its own objects, whether it existed before or Belay made it, and
//! Cluster API stays the engine. Belay makes and deletes no Machine itself.

mod adopt;
mod answers;
mod blocked;
mod change;
mod creation;
mod deletion;
mod found;
mod goal;
mod handle;
mod kinds;
mod look;
mod progress;
mod rules;
mod stop;
mod strangers;
mod wakes;
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
pub use adopt::{Adopted, manifests};
use deletion::Deletion;
use found::{Found, no_cluster};
use handle::Handle;
pub use rules::ByClusterApi;
use wakes::Wakes;

/// The provider on the cluster that `client` reaches, for the clusters of these namespaces.
pub fn provider(client: &Client, scope: &Scope) -> EngineProvider {
    EngineProvider::new(Arc::new(ClusterApi {
        client: client.clone(),
        wakes: Wakes::new(client, scope),
    }))
}

/// What is there of a cluster now, asked of the API server once; where it can't be read, why.
pub async fn look_once(client: &Client, cluster: &ManagedCluster) -> Observation {
    let seen = seen(client, &Site::of(cluster)).await;
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

async fn seen(client: &Client, site: &Site) -> Result<Observation, EngineError> {
    match Found::find(client, site).await? {
        Some(found) => look::observation(&found, site),
        // It isn't made yet, or it was deleted as it was asked for.
        None if is_made_by_belay(site) || !ByClusterApi.retains(&site.provider) => {
            Ok(Observation::default())
        }
        None => Err(EngineError::Final(no_cluster(site))),
    }
}

/// Whether Belay makes the Cluster where there is none.
fn is_made_by_belay(site: &Site) -> bool {
    let settings = site.provider.cluster_api.as_ref();
    settings.is_some_and(|settings| settings.create.is_some())
}

/// The engine: Cluster API's controllers, through their objects.
struct ClusterApi {
    client: Client,
    wakes: Wakes,
}

impl Drop for ClusterApi {
    fn drop(&mut self) {
        self.wakes.end();
    }
}

#[async_trait]
impl Engine for ClusterApi {
    fn rules(&self) -> &'static dyn Rules {
        &ByClusterApi
    }

    fn pace(&self) -> Pace {
        Pace {
            idle: if self.wakes.are_up() {
                Duration::from_secs(30)
            } else {
                Duration::from_secs(5)
            },
            busy: Duration::from_secs(1),
            per_second: 50,
        }
    }

    /// All are on one API server.
    fn account(&self, _: &Site) -> String {
        "cluster-api".into()
    }

    fn changes(&self, site: &Site) -> Option<watch::Receiver<u64>> {
        let settings = site.provider.cluster_api.as_ref()?;
        Some(self.wakes.of(&site.namespace, &settings.cluster_name))
    }

    async fn look(&self, site: &Site) -> Result<Observation, EngineError> {
        seen(&self.client, site).await
    }

    async fn begin(&self, site: &Site, change: &Change) -> Result<String, EngineError> {
        if let Some(deletion) = Deletion::of(change) {
            deletion.begin(&self.client, site).await?;
            return Ok(deletion.to_string());
        }
        let handle = change::begin(&self.client, site, change).await?;
        Ok(handle.to_string())
    }

    async fn find(&self, site: &Site, change: &Change) -> Result<Option<String>, EngineError> {
        if let Some(deletion) = Deletion::of(change) {
            let was_begun = deletion.was_begun(&self.client, site).await?;
            return Ok(was_begun.then(|| deletion.to_string()));
        }
        let handle = Handle::of(change);
        let found = match Found::find_whole(&self.client, site).await? {
            Some(found) => found,
            None if is_made_by_belay(site) => return Ok(None),
            None => return Err(EngineError::Final(no_cluster(site))),
        };
        let is_written = handle.written(&found)?.is_some();
        Ok(is_written.then(|| handle.to_string()))
    }

    async fn poll(&self, site: &Site, handle: &str) -> Result<State, EngineError> {
        if let Some(deletion) = Deletion::parse(handle) {
            return deletion.state(&self.client, site).await;
        }
        let handle = Handle::parse(handle);
        let Some(found) = Found::find_whole(&self.client, site).await? else {
            // The abort of a creation deletes a Cluster of which nothing was made.
            return if is_made_by_belay(site) && handle.pool.is_none() {
                Ok(State::Stopped)
            } else {
                Err(EngineError::Final(no_cluster(site)))
            };
        };
        let state = progress::state(&found, &handle)?;
        let is_settled = state != State::Stopped
            || !progress::may_settle(&found, &handle)?
            || stop::settle(&self.client, site, &found, &handle).await?;
        Ok(if is_settled {
            state
        } else {
            progress::settling()
        })
    }

    async fn stop(&self, site: &Site, handle: &str) -> Result<Answer, EngineError> {
        if let Some(deletion) = Deletion::parse(handle) {
            return deletion.stop(&self.client, site).await;
        }
        stop::stop(&self.client, site, &Handle::parse(handle)).await
    }
}
