//! Handles identify the engine's work, also after a restart. A handle contains what the change is about, and the
//! change's token, which the changed object carries as an annotation.

use std::fmt;

use kube::{ResourceExt as _, core::DynamicObject};

use crate::{
    api::KubernetesVersion,
    lifecycle::Stage,
    provider::engine::{Change, EngineError},
};

use super::{
    found::Found,
    kinds::{self, Kind},
};

/// The annotation with a control plane's last change.
const CONTROL_PLANE_CHANGE: &str = "belay.dev/control-plane-change";
/// The annotations with the pools' last changes.
const POOL_CHANGE: &str = "pool.belay.dev/";
/// The annotations with the versions that Belay last asked for: of the control plane, and of the pools.
const CONTROL_PLANE_VERSION: &str = "belay.dev/control-plane-version";
const POOL_VERSION: &str = "version.pool.belay.dev/";
/// The prefix of a pool's handle if its Machines are replaced.
const REPLACED: &str = "replaced/";
/// The prefix of another pool's handle.
const RESIZED: &str = "resized/";
/// The prefix of the handle of a change that others asked for.
const OTHERS: &str = "others/";

/// What a handle names: the control plane or a pool, and the token of its change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The pool. None for the control plane.
    pub pool: Option<String>,
    /// Whether Machines of another version are replaced.
    pub replaces: bool,
    /// The change's token. If others asked for the change, what they asked for.
    pub token: String,
    /// Whether others asked for it, outside Belay.
    pub by_others: bool,
}

impl Handle {
    /// Returns the handle of a change.
    pub fn of(change: &Change) -> Self {
        let (pool, replaces) = match &change.stage {
            Stage::Pool(goal) => (Some(goal.pool.clone()), goal.replace_outdated),
            Stage::ControlPlane(_) | Stage::Follow(_) => (None, true),
        };
        Self {
            pool,
            replaces,
            token: change.token.clone(),
            by_others: false,
        }
    }

    /// Returns the handle of what others asked for: a version or a number of Machines, of a pool or of the control
    /// plane.
    pub fn of_others(pool: Option<&str>, replaces: bool, asked: &str) -> Self {
        Self {
            pool: pool.map(ToOwned::to_owned),
            replaces,
            token: asked.to_owned(),
            by_others: true,
        }
    }

    /// Returns the handle that a text names.
    pub fn parse(text: &str) -> Self {
        let of_others = text.strip_prefix(OTHERS);
        let rest = of_others.unwrap_or(text);
        let (what, token) = rest.rsplit_once('/').unwrap_or(("", rest));
        let (replaced, resized) = (what.strip_prefix(REPLACED), what.strip_prefix(RESIZED));
        Self {
            pool: replaced.or(resized).map(ToOwned::to_owned),
            replaces: resized.is_none(),
            token: token.to_owned(),
            by_others: of_others.is_some(),
        }
    }

    /// Returns the annotation that has its token.
    pub fn annotation(&self) -> String {
        match &self.pool {
            Some(pool) => format!("{POOL_CHANGE}{pool}"),
            None => CONTROL_PLANE_CHANGE.into(),
        }
    }

    /// Returns the annotation that has the version that Belay last asked for. If others asked for the same version
    /// before, the managed fields don't show that Belay did.
    pub fn version_annotation(&self) -> String {
        match &self.pool {
            Some(pool) => format!("{POOL_VERSION}{pool}"),
            None => CONTROL_PLANE_VERSION.into(),
        }
    }

    /// Writes into an object that its change was begun, and which version the change asks for.
    pub fn mark(&self, object: &mut DynamicObject, change: &Change) {
        let annotations = object.annotations_mut();
        annotations.insert(self.annotation(), change.token.clone());
        if let Some(version) = version_of(&change.stage) {
            annotations.insert(self.version_annotation(), version.to_string());
        }
    }

    /// Returns the object that carries the annotation.
    pub fn object<'a>(&self, found: &'a Found) -> Result<(Kind, &'a DynamicObject), EngineError> {
        let Some(pool) = &self.pool else {
            return found.control_plane_spec();
        };
        found.pool_spec(pool)
    }

    /// Returns what is written of its change: the token and, once it was asked to stop, the time of that. None if
    /// somebody has asked for something else since.
    pub fn written(&self, found: &Found) -> Result<Option<String>, EngineError> {
        let (_, object) = self.object(found)?;
        let written = kinds::annotation(object, &self.annotation());
        let written = written.filter(|written| written.split('/').next() == Some(&self.token));
        if written.is_some() || !self.by_others {
            return Ok(written.map(ToOwned::to_owned));
        }
        Ok(self.asked_now(found)?.filter(|asked| *asked == self.token))
    }

    /// Returns what is asked for now, in the form of a handle of others.
    fn asked_now(&self, found: &Found) -> Result<Option<String>, EngineError> {
        let Some(pool) = &self.pool else {
            return Ok(found.wanted_version().map(|version| version.to_string()));
        };
        let wanted = found.wanted(found.deployment(pool)?);
        Ok(if self.replaces {
            wanted.version.map(|version| version.to_string())
        } else {
            Some(wanted.replicas.to_string())
        })
    }
}

/// Returns the version that a stage asks for. None if it changes no version.
fn version_of(stage: &Stage) -> Option<KubernetesVersion> {
    match stage {
        Stage::ControlPlane(goal) => goal.map(|goal| goal.version),
        Stage::Pool(goal) => goal.replace_outdated.then_some(goal.version),
        Stage::Follow(_) => None,
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.by_others {
            formatter.write_str(OTHERS)?;
        }
        match &self.pool {
            Some(pool) if self.replaces => write!(formatter, "{REPLACED}{pool}/{}", self.token),
            Some(pool) => write!(formatter, "{RESIZED}{pool}/{}", self.token),
            None => write!(formatter, "control-plane/{}", self.token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Handle;

    #[test]
    fn a_handle_survives_writing_and_reading() {
        for text in [
            "control-plane/uid-0",
            "replaced/md-0/uid-1",
            "resized/md-0/uid-1",
            "others/control-plane/1.36.0",
            "others/replaced/md-0/1.36.0",
            "others/resized/md-0/3",
        ] {
            assert_eq!(Handle::parse(text).to_string(), text);
        }
    }
}
