//! Reads Clusters: as watches show them, or as they are now.

use kube::Client;

use crate::provider::engine::{EngineError, Site};

use super::{
    found::{Found, cluster_name},
    mirror::Mirror,
    objects::Objects,
};

/// Reads Clusters.
pub struct Reader {
    /// The API server.
    pub client: Client,
    /// What watches show.
    pub mirror: Mirror,
}

impl Reader {
    /// Returns a Cluster as watches showed it some milliseconds ago, and no older than what was read of it before. If
    /// watches don't show it, it is read.
    pub async fn seen(&self, site: &Site) -> Result<Option<Found>, EngineError> {
        match self.mirror.objects(&site.namespace, cluster_name(site)) {
            Some(objects) => Ok(Found::of(site, objects)),
            None => self.now(site).await,
        }
    }

    /// Reads a Cluster as it is now.
    pub async fn now(&self, site: &Site) -> Result<Option<Found>, EngineError> {
        let (namespace, cluster) = (&site.namespace, cluster_name(site));
        let (objects, at) = Objects::read(&self.client, namespace, cluster).await?;
        self.mirror.has_read(namespace, cluster, at);
        Ok(Found::of(site, objects))
    }
}
