//! The running updates of a control plane or a nodegroup. EKS lists all updates that ever existed, but not which of
//! them are running.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_sdk_eks::types::{Update, UpdateParamType, UpdateStatus, UpdateType};

use crate::provider::engine::{EngineError, Site};

use super::{eks::Eks, goal::Request, resource::written};

/// The namespace and name of a cluster, and the name of a nodegroup. No nodegroup means the control plane.
type Key = (String, String, Option<String>);

/// The updates that have ended. Belay doesn't ask for them again.
#[derive(Default)]
pub struct Updates {
    ended: Mutex<HashMap<Key, BTreeSet<String>>>,
}

impl Updates {
    /// Returns the update that is running there. None if none is.
    pub async fn in_progress(
        &self,
        eks: &Eks,
        site: &Site,
        group: Option<&str>,
    ) -> Result<Option<Update>, EngineError> {
        let key = (
            site.namespace.clone(),
            site.cluster.clone(),
            group.map(ToOwned::to_owned),
        );
        let listed = eks.updates(site, group).await?;
        let known = self.lock().get(&key).cloned().unwrap_or_default();
        let mut ended = BTreeSet::new();
        let mut going_on = None;
        for id in listed {
            if !known.contains(&id) {
                let update = eks.update(site, group, &id).await?;
                let goes_on = |update: &Update| update.status() == Some(&UpdateStatus::InProgress);
                if let Some(update) = update.filter(goes_on) {
                    going_on = Some(update);
                    continue;
                }
            }
            ended.insert(id);
        }
        self.lock().insert(key, ended);
        Ok(going_on)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, BTreeSet<String>>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a request may have begun an update.
pub fn is_of(update: &Update, request: &Request) -> bool {
    match request {
        Request::Version(version) => {
            param(update, &UpdateParamType::Version).is_some_and(|named| named == written(*version))
        }
        Request::Config(_) => update.r#type() == Some(&UpdateType::ConfigUpdate),
        Request::Delete => false,
    }
}

/// Returns a parameter of an update.
pub fn param<'a>(update: &'a Update, of: &UpdateParamType) -> Option<&'a str> {
    let mut params = update.params().iter();
    params.find(|param| param.r#type() == Some(of))?.value()
}
