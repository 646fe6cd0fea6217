//! What goes on at a control plane or a nodegroup. EKS lists all updates that there ever were, and not which of them go
//! on.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_sdk_eks::types::{Update, UpdateParamType, UpdateStatus, UpdateType};

use crate::provider::engine::{EngineError, Site};

use super::{eks::Eks, goal::Request, resource::written};

/// A control plane, or a nodegroup by its name, by its cluster's namespace and name.
type Key = (String, String, Option<String>);

/// The updates that have ended. What has ended is not asked for again.
#[derive(Default)]
pub struct Updates {
    ended: Mutex<HashMap<Key, BTreeSet<String>>>,
}

impl Updates {
    /// The update that goes on there; none where none does.
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

/// Whether an update may be what a request has begun.
pub fn is_of(update: &Update, request: &Request) -> bool {
    match request {
        Request::Version(version) => {
            param(update, &UpdateParamType::Version).is_some_and(|named| named == written(*version))
        }
        Request::Config(_) => update.r#type() == Some(&UpdateType::ConfigUpdate),
        Request::Delete => false,
    }
}

/// A parameter of an update.
pub fn param<'a>(update: &'a Update, of: &UpdateParamType) -> Option<&'a str> {
    let mut params = update.params().iter();
    params.find(|param| param.r#type() == Some(of))?.value()
}
