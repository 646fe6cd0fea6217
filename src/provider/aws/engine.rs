//! EKS as an engine: it begins and shows updates, and stops the few that can be stopped.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_eks::types::{Cancellation, CancellationStatus, Update, UpdateParamType, UpdateStatus};
use kube::Client;

use crate::{
    api::{AwsProviderSpec, OperationError},
    lifecycle::{Observation, Rules, Stage, join_sentences},
    provider::{
        adopted::{
            credentials::Person,
            handle::Handle,
            inside::{self, Inside},
            rested::Rested,
        },
        engine::{Answer, Change, Engine, EngineError, EngineProvider, Pace, Running, Site, State},
        nodes::preflight::Seen,
        requests::Failure,
    },
};

use super::{
    ByEks, Settings,
    eks::Eks,
    goal::{self, Request},
    look, progress,
    resource::{ControlPlane, Doing, Nodegroup, settings, version_of},
    updates::{Updates, is_of, param},
};

/// Returns the provider, for clusters of any account and region.
///
/// # Errors
/// If the settings are invalid.
pub fn provider(client: &Client, settings: &Settings) -> anyhow::Result<EngineProvider> {
    let operator = Person::Operator(settings.identity_namespaces.clone());
    Ok(EngineProvider::new(Arc::new(ByUpdates {
        eks: Eks::new(client.clone(), settings, operator)?,
        client: client.clone(),
        updates: Updates::default(),
        rested: Rested::default(),
        look_every: settings.look_every,
    })))
}

/// Returns the label of the nodes of a nodegroup.
fn nodes_of(group: &str) -> String {
    format!("eks.amazonaws.com/nodegroup={group}")
}

struct ByUpdates {
    eks: Eks,
    /// Reads Secrets.
    client: Client,
    updates: Updates,
    rested: Rested,
    look_every: Duration,
}

/// A control plane or a nodegroup, and the next request that a change needs for it.
struct Needed {
    group: Option<String>,
    doing: Doing,
    request: Option<Request>,
}

impl Needed {
    fn handle(&self, operation: String) -> String {
        let node_pool = self.group.clone();
        let handle = Handle {
            node_pool,
            operation,
        };
        handle.to_string()
    }
}

impl ByUpdates {
    async fn control_plane(&self, site: &Site) -> Result<ControlPlane, EngineError> {
        let read = self.eks.control_plane(site).await?;
        read.ok_or_else(|| Failure::Final(missing(&settings(&site.provider), None)))
    }

    /// Reads the resource that a change is about.
    async fn needed(&self, site: &Site, change: &Change) -> Result<Needed, EngineError> {
        let settings = settings(&site.provider);
        let Stage::Pool(goal) = &change.stage else {
            let now = self.control_plane(site).await?;
            let request = match &change.stage {
                Stage::ControlPlane(Some(goal)) => goal::of_control_plane(&now, *goal),
                _ => None,
            };
            return Ok(Needed {
                group: None,
                doing: now.doing,
                request,
            });
        };
        let name = settings.nodegroup_of(&goal.pool);
        let (doing, request) = match self.eks.nodegroup(site, name).await? {
            Some(now) => (now.doing, goal::of_nodegroup(&now, goal)),
            None if goal.deleted => (Doing::Rests, None),
            None => return Err(Failure::Final(missing(&settings, Some(name)))),
        };
        Ok(Needed {
            group: Some(name.to_owned()),
            doing,
            request,
        })
    }

    /// Returns the id of the running update that leads to what is needed. None if there is none. The status of a
    /// control plane doesn't show whether an update is running, see `look`.
    async fn going_on(&self, site: &Site, needed: &Needed) -> Result<Option<String>, EngineError> {
        let group = needed.group.as_deref();
        if group.is_some() && needed.doing != Doing::Updates {
            return Ok(None);
        }
        let update = self.updates.in_progress(&self.eks, site, group).await?;
        let leads_there = |request: &Request| update.as_ref().is_some_and(|it| is_of(it, request));
        Ok(match &needed.request {
            Some(request) if !leads_there(request) => None,
            _ => update.and_then(|update| update.id),
        })
    }

    /// Adds what the nodegroup's nodes show to what EKS reports of an update, if a kubeconfig is given.
    async fn look_inside(&self, site: &Site, group: &str, update: &Update, running: &mut Running) {
        let Some(secret) = settings(&site.provider).kubeconfig_secret else {
            return;
        };
        let inside = Inside {
            client: &self.client,
            site,
            secret: &secret,
            nodes: nodes_of(group),
            version: param(update, &UpdateParamType::Version).and_then(version_of),
        };
        inside.add_to(running).await;
    }

    /// Returns what a refusal to cancel an update means. An operator that died may already have cancelled it.
    async fn why_not(
        &self,
        site: &Site,
        handle: &Handle,
        refusal: &OperationError,
    ) -> Result<Answer, EngineError> {
        let update = self.eks.update(site, None, &handle.operation).await?;
        let goes_on = |update: &Update| update.status() == Some(&UpdateStatus::InProgress);
        let Some(update) = update.filter(goes_on) else {
            return Ok(Answer::TooLate);
        };
        let cancellation = update.cancellation().and_then(Cancellation::status);
        if cancellation == Some(&CancellationStatus::InProgress) {
            return Ok(Answer::Accepted);
        }
        Ok(refused_to_stop(&format!(
            "EKS refused: {}",
            refusal.message
        )))
    }

    async fn send(
        &self,
        site: &Site,
        needed: &Needed,
        request: &Request,
        change: &str,
    ) -> Result<String, EngineError> {
        let (group, token) = (needed.group.as_deref(), request.token(change));
        match (request, group) {
            (Request::Version(version), _) => {
                self.eks.change_version(site, group, *version, token).await
            }
            (Request::Config(config), Some(group)) => {
                self.eks.change_config(site, group, config, token).await
            }
            (Request::Delete, Some(group)) => {
                self.eks.delete(site, group).await.map(|()| String::new())
            }
            (Request::Config(_) | Request::Delete, None) => {
                unreachable!("only nodegroups are asked for that")
            }
        }
    }
}

/// Returns the error for a cluster or a nodegroup that doesn't exist.
pub fn missing(settings: &AwsProviderSpec, group: Option<&str>) -> OperationError {
    let AwsProviderSpec { name, region, .. } = settings;
    match group {
        None => OperationError::new(
            "ClusterNotFound",
            format!(
                "EKS cluster {name} does not exist in region {region} of the account: create it in AWS, or create a new ManagedCluster with the right spec.provider.aws"
            ),
        ),
        Some(group) => OperationError::new(
            "NodePoolNotFound",
            format!(
                "EKS cluster {name} has no nodegroup {group}: create it in AWS (aws eks create-nodegroup), or name another one in spec.provider.aws.nodegroups"
            ),
        ),
    }
}

#[async_trait]
impl Engine for ByUpdates {
    fn rules(&self) -> &'static dyn Rules {
        &ByEks
    }

    /// A look is a request for the cluster and one for each nodegroup, and an account shares its limit with all of its
    /// other tools. Updates take minutes.
    fn pace(&self) -> Pace {
        Pace {
            idle: self.look_every,
            busy: self.look_every.min(Duration::from_secs(5)),
            per_second: 2,
        }
    }

    fn account(&self, site: &Site) -> String {
        let settings = settings(&site.provider);
        match settings.credentials_secret {
            Some(secret) => format!("{} {}/{secret}", settings.region, site.namespace),
            None => settings.region,
        }
    }

    async fn inside(&self, site: &Site, pools: &[String]) -> Result<Seen, String> {
        let settings = settings(&site.provider);
        let label = |pool: &String| (pool.clone(), nodes_of(settings.nodegroup_of(pool)));
        let pools: Vec<_> = pools.iter().map(label).collect();
        let secret = settings.kubeconfig_secret.as_deref();
        inside::pods_and_budgets(&self.client, site, secret, &pools).await
    }

    async fn look(&self, site: &Site) -> Result<Observation, EngineError> {
        let control_plane = self.control_plane(site).await?;
        let mut groups = Vec::<Nodegroup>::new();
        for name in self.eks.nodegroups(site).await? {
            // A nodegroup that is deleted at this moment counts as gone.
            groups.extend(self.eks.nodegroup(site, &name).await?);
        }
        let mut seen = look::observation(site, &control_plane, &groups);
        let settings = settings(&site.provider);
        self.rested.correct(site, &mut seen, |pool| {
            let mut groups = groups.iter();
            groups.any(|group| settings.pool_of(&group.name) == pool && group.doing != Doing::Rests)
        });
        let moving = groups.iter().filter(|group| group.doing == Doing::Updates);
        let moving = moving.map(|group| Some(group.name.as_str()));
        // A cluster of EKS Auto Mode whose nodes are rolled back is ACTIVE until its control plane is rolled back, too.
        // Source: the user guide of EKS, "Rollback EKS Auto Mode clusters".
        for group in [None].into_iter().chain(moving) {
            let update = self.updates.in_progress(&self.eks, site, group).await?;
            let begun = update.and_then(|update| look::begun(site, group, &update));
            seen.begun_by_others.extend(begun);
        }
        Ok(seen)
    }

    async fn begin(&self, site: &Site, change: &Change) -> Result<String, EngineError> {
        let needed = self.needed(site, change).await?;
        let id = match (self.going_on(site, &needed).await?, &needed.request) {
            (Some(id), _) => id,
            (None, Some(request)) => self.send(site, &needed, request, &change.token).await?,
            (None, None) => String::new(),
        };
        Ok(needed.handle(id))
    }

    async fn is_whole(&self, site: &Site, change: &Change) -> Result<bool, EngineError> {
        Ok(self.needed(site, change).await?.request.is_none())
    }

    /// EKS doesn't show the token of an update. The begun update shows what was asked for.
    async fn find(&self, site: &Site, change: &Change) -> Result<Option<String>, EngineError> {
        let needed = self.needed(site, change).await?;
        let id = self.going_on(site, &needed).await?;
        let is_there = || needed.request.is_none().then(String::new);
        Ok(id.or_else(is_there).map(|id| needed.handle(id)))
    }

    async fn poll(&self, site: &Site, handle: &str) -> Result<State, EngineError> {
        let handle = Handle::parse(handle);
        let group = handle.node_pool.as_deref();
        if !handle.operation.is_empty() {
            let update = self.eks.update(site, group, &handle.operation).await?;
            if let Some(update) = update {
                let mut state = progress::of_update(&update);
                if let (State::Running(running), Some(group)) = (&mut state, group) {
                    self.look_inside(site, group, &update, running).await;
                }
                return Ok(state);
            }
        }
        let doing = match group {
            None => self.control_plane(site).await?.doing,
            // Nothing runs on a nodegroup that is gone.
            Some(name) => self
                .eks
                .nodegroup(site, name)
                .await?
                .map_or(Doing::Rests, |group| group.doing),
        };
        Ok(progress::of_resource(doing))
    }

    /// Source: the API reference of EKS, `CancelUpdate`: only the rollback of a cluster of EKS Auto Mode can be
    /// cancelled, and only while its nodes are rolled back. The request can't even name a nodegroup's update.
    async fn stop(&self, site: &Site, handle: &str) -> Result<Answer, EngineError> {
        let handle = Handle::parse(handle);
        if let Some(group) = &handle.node_pool {
            let why = format!("EKS can't stop an update of nodegroup {group}");
            return Ok(refused_to_stop(&why));
        }
        match self.eks.cancel(site, &handle.operation).await {
            Ok(_) => Ok(Answer::Accepted),
            Err(refused) if refused.is_missing => Ok(Answer::TooLate),
            Err(refused) => match refused.error {
                Failure::Final(error) => self.why_not(site, &handle, &error).await,
                passing @ Failure::Passing(_) => Err(passing),
            },
        }
    }
}

/// What a person can do instead.
const AFTER_STEP: &str =
    "To stop after the current step, abort with the annotation belay.dev/abort-policy: AfterStep";

/// Returns the answer that an update goes on: why, and what a person can do instead.
fn refused_to_stop(why: &str) -> Answer {
    Answer::Refused(join_sentences(why, AFTER_STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_abort_says_in_whole_sentences_what_to_do() {
        let Answer::Refused(why) = refused_to_stop("EKS refused: Its nodes are rolling back.")
        else {
            panic!("it is refused")
        };
        assert_eq!(
            why,
            "EKS refused: Its nodes are rolling back. To stop after the current step, abort with the annotation belay.dev/abort-policy: AfterStep"
        );
    }
}
