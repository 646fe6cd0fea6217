//! Handles: what the engine's work is known by, also after a restart. A handle names what the change is about, and the
//! change's token, which the changed object carries as an annotation.

use std::fmt;

use kube::core::DynamicObject;

use crate::{
    lifecycle::Stage,
    provider::engine::{Change, EngineError},
};

use super::{
    found::{Found, Place},
    kinds::{self, Kind},
};

/// The annotation with a control plane's last change.
const CONTROL_PLANE_CHANGE: &str = "belay.dev/control-plane-change";
/// The annotations with the pools' last changes.
const POOL_CHANGE: &str = "pool.belay.dev/";
/// What the handle of a pool begins with whose Machines are replaced.
const REPLACED: &str = "replaced/";
/// What the handle of another pool begins with.
const RESIZED: &str = "resized/";

/// What a handle names: the control plane or a pool, and the token of its change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The pool; none for the control plane.
    pub pool: Option<String>,
    /// Whether Machines of another version are replaced.
    pub replaces: bool,
    /// The change's token.
    pub token: String,
}

impl Handle {
    /// The handle of a change.
    pub fn of(change: &Change) -> Self {
        let (pool, replaces) = match &change.stage {
            Stage::Pool(goal) => (Some(goal.pool.clone()), goal.replace_outdated),
            Stage::ControlPlane(_) | Stage::Follow(_) => (None, true),
        };
        Self {
            pool,
            replaces,
            token: change.token.clone(),
        }
    }

    /// The handle that a text names.
    pub fn parse(text: &str) -> Self {
        let (what, token) = text.rsplit_once('/').unwrap_or(("", text));
        let (replaced, resized) = (what.strip_prefix(REPLACED), what.strip_prefix(RESIZED));
        Self {
            pool: replaced.or(resized).map(ToOwned::to_owned),
            replaces: resized.is_none(),
            token: token.to_owned(),
        }
    }

    /// The annotation that has its token.
    pub fn annotation(&self) -> String {
        match &self.pool {
            Some(pool) => format!("{POOL_CHANGE}{pool}"),
            None => CONTROL_PLANE_CHANGE.into(),
        }
    }

    /// The object that carries the annotation.
    pub fn object<'a>(&self, found: &'a Found) -> Result<(Kind, &'a DynamicObject), EngineError> {
        let Some(pool) = &self.pool else {
            return Ok((Kind::Cluster, &found.cluster));
        };
        let deployment = found.deployment(pool)?;
        Ok(match found.place(deployment) {
            Place::Topology(_) => (Kind::Cluster, &found.cluster),
            Place::Own => (Kind::MachineDeployment, deployment),
        })
    }

    /// What is written of its change: the token, and, once it was asked to stop, when.
    pub fn written<'a>(&self, found: &'a Found) -> Result<Option<&'a str>, EngineError> {
        let (_, object) = self.object(found)?;
        let written = kinds::annotation(object, &self.annotation());
        Ok(written.filter(|written| written.split('/').next() == Some(&self.token)))
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pool {
            Some(pool) if self.replaces => write!(formatter, "{REPLACED}{pool}/{}", self.token),
            Some(pool) => write!(formatter, "{RESIZED}{pool}/{}", self.token),
            None => write!(formatter, "control-plane/{}", self.token),
        }
    }
}
