//! The few requests to EKS that operate a cluster.

use std::future::Future;

use aws_sdk_eks::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::Update,
};

use crate::{
    api::KubernetesVersion,
    provider::{
        adopted::credentials::Person,
        engine::{EngineError, Site},
    },
};

use super::{
    answers::Refused,
    clients::Clients,
    config::Config,
    resource::{ControlPlane, Nodegroup, settings, written},
    settings::Settings,
};

/// A client of EKS, for clusters of any account and region.
pub struct Eks {
    clients: Clients,
}

impl Eks {
    /// Returns a client with these settings.
    ///
    /// # Errors
    /// If the settings are invalid.
    pub fn new(kube: kube::Client, settings: &Settings, person: Person) -> anyhow::Result<Self> {
        let clients = Clients::new(kube, settings, person)?;
        Ok(Self { clients })
    }

    /// Returns the control plane of a cluster. None if the cluster doesn't exist.
    pub async fn control_plane(&self, site: &Site) -> Result<Option<ControlPlane>, EngineError> {
        let read = self.asked(site, |client, name| {
            client.describe_cluster().name(name).send()
        });
        let read = found(read.await)?;
        let cluster = read.as_ref().and_then(|read| read.cluster());
        Ok(cluster.map(ControlPlane::from))
    }

    /// Returns the names of the nodegroups of a cluster.
    pub async fn nodegroups(&self, site: &Site) -> Result<Vec<String>, EngineError> {
        let (mut names, mut next) = (Vec::new(), None);
        loop {
            let token = next.take();
            let page = self.asked(site, |client, name| {
                let page = client.list_nodegroups().cluster_name(name);
                page.set_next_token(token).send()
            });
            let page = page.await?;
            names.extend_from_slice(page.nodegroups());
            match page.next_token {
                Some(token) => next = Some(token),
                None => return Ok(names),
            }
        }
    }

    /// Returns a nodegroup. None if it doesn't exist.
    pub async fn nodegroup(
        &self,
        site: &Site,
        group: &str,
    ) -> Result<Option<Nodegroup>, EngineError> {
        let read = self.asked(site, |client, name| {
            let read = client.describe_nodegroup().cluster_name(name);
            read.nodegroup_name(group).send()
        });
        let read = found(read.await)?;
        let group = read.as_ref().and_then(|read| read.nodegroup());
        Ok(group.map(Nodegroup::from))
    }

    /// Returns the ids of the updates of a nodegroup, or of a control plane.
    pub async fn updates(
        &self,
        site: &Site,
        group: Option<&str>,
    ) -> Result<Vec<String>, EngineError> {
        let (mut ids, mut next) = (Vec::new(), None);
        loop {
            let token = next.take();
            let page = self.asked(site, |client, name| {
                let page = client.list_updates().name(name);
                let page = page.set_nodegroup_name(group.map(ToOwned::to_owned));
                page.set_next_token(token).send()
            });
            let page = page.await?;
            ids.extend_from_slice(page.update_ids());
            match page.next_token {
                Some(token) => next = Some(token),
                None => return Ok(ids),
            }
        }
    }

    /// Returns an update. None if EKS doesn't know it.
    pub async fn update(
        &self,
        site: &Site,
        group: Option<&str>,
        id: &str,
    ) -> Result<Option<Update>, EngineError> {
        let read = self.asked(site, |client, name| {
            let read = client.describe_update().name(name).update_id(id);
            read.set_nodegroup_name(group.map(ToOwned::to_owned)).send()
        });
        Ok(found(read.await)?.and_then(|read| read.update))
    }

    /// Begins an update of a nodegroup, or of a control plane, to a version. Returns its id.
    pub async fn change_version(
        &self,
        site: &Site,
        group: Option<&str>,
        version: KubernetesVersion,
        token: String,
    ) -> Result<String, EngineError> {
        let version = written(version);
        let update = match group {
            None => {
                let begun = self.asked(site, |client, name| {
                    let begun = client.update_cluster_version().name(name);
                    begun.version(version).client_request_token(token).send()
                });
                begun.await?.update
            }
            Some(group) => {
                let begun = self.asked(site, |client, name| {
                    let begun = client.update_nodegroup_version().cluster_name(name);
                    let begun = begun.nodegroup_name(group).version(version);
                    begun.client_request_token(token).send()
                });
                begun.await?.update
            }
        };
        Ok(id_of(update))
    }

    /// Begins an update of a nodegroup's configuration. Returns its id.
    pub async fn change_config(
        &self,
        site: &Site,
        group: &str,
        config: &Config,
        token: String,
    ) -> Result<String, EngineError> {
        let begun = self.asked(site, |client, name| {
            let begun = client.update_nodegroup_config().cluster_name(name);
            begun
                .nodegroup_name(group)
                .set_labels(config.written_labels())
                .set_taints(config.written_taints())
                .set_scaling_config(config.written_sizes())
                .set_update_config(config.written_pace())
                .client_request_token(token)
                .send()
        });
        Ok(id_of(begun.await?.update))
    }

    /// Begins the deletion of a nodegroup. It is no error if the nodegroup is already gone.
    pub async fn delete(&self, site: &Site, group: &str) -> Result<(), EngineError> {
        let begun = self.asked(site, |client, name| {
            let begun = client.delete_nodegroup().cluster_name(name);
            begun.nodegroup_name(group).send()
        });
        found(begun.await).map(|_| ())
    }

    /// Asks to cancel the update of a control plane.
    pub async fn cancel(&self, site: &Site, id: &str) -> Result<Option<Update>, Refused> {
        let asked = self.asked(site, |client, name| {
            client.cancel_update().name(name).update_id(id).send()
        });
        asked.await.map(|asked| asked.update)
    }

    /// Makes a request with the client of a cluster, and with the cluster's name in AWS.
    async fn asked<T, E, F>(
        &self,
        site: &Site,
        request: impl FnOnce(Client, String) -> F + Send,
    ) -> Result<T, Refused>
    where
        F: Future<Output = Result<T, SdkError<E>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let client = self.clients.of(site).await?;
        let answered = request(client, settings(&site.provider).name).await;
        answered.map_err(|error| {
            let refused = Refused::from(error);
            if refused.is_about_credentials {
                self.clients.forget(site);
            }
            self.clients.with_advice(site, refused)
        })
    }
}

/// Returns what was asked for. None if it doesn't exist.
fn found<T>(answered: Result<T, Refused>) -> Result<Option<T>, EngineError> {
    match answered {
        Ok(answer) => Ok(Some(answer)),
        Err(refused) if refused.is_missing => Ok(None),
        Err(refused) => Err(refused.error),
    }
}

fn id_of(update: Option<Update>) -> String {
    update.and_then(|update| update.id).unwrap_or_default()
}
