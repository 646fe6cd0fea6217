//! What the API server answers for each object: a dry-run apply, as kubectl would do it.

use std::fmt::Debug;

use kube::{
    Api, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    api::{AgentPool, ManagedCluster, Operation},
    cli::cluster::{errors, manifests::Manifest, session::Session},
};

/// The annotation in which kubectl stores what it applied, unless it applies server-side.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One of Belay's objects, as it would be after the apply.
#[derive(Clone, Debug)]
pub enum Ours {
    /// A cluster.
    Cluster(Box<ManagedCluster>),
    /// A pool.
    Pool(Box<AgentPool>),
    /// An Operation.
    Operation(Box<Operation>),
}

/// What an apply does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Effect {
    /// The object doesn't exist yet.
    Made,
    /// The object changes.
    Changed,
    /// The object stays as it is.
    Unchanged,
}

/// The result of the dry run for an object.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The manifest that was applied.
    pub manifest: Manifest,
    /// Its namespace.
    pub namespace: String,
    /// The resulting object, or why it is refused.
    pub result: Result<(Effect, Ours), String>,
}

/// Tries all manifests, one after the other, as kubectl would apply them.
///
/// # Errors
/// Returns an error if the API server doesn't answer.
pub async fn try_all(
    session: &Session,
    manifests: Vec<Manifest>,
    field_manager: &str,
) -> anyhow::Result<Vec<Tried>> {
    let mut tried = Vec::new();
    for manifest in manifests {
        let namespace = manifest
            .namespace()
            .unwrap_or(&session.namespace)
            .to_owned();
        let apply = Apply {
            session,
            namespace: &namespace,
            manifest: &manifest,
            field_manager,
        };
        let result = match apply.try_it().await {
            Ok(result) => Ok(result),
            Err(kube::Error::Api(status)) => Err(errors::refusal(&status)),
            Err(error) => return Err(error.into()),
        };
        tried.push(Tried {
            manifest,
            namespace,
            result: result.and_then(|result| result),
        });
    }
    Ok(tried)
}

struct Apply<'a> {
    session: &'a Session,
    namespace: &'a str,
    manifest: &'a Manifest,
    field_manager: &'a str,
}

type Answer = kube::Result<Result<(Effect, Ours), String>>;

impl Apply<'_> {
    async fn try_it(&self) -> Answer {
        let manifest = self.manifest;
        if manifest.name().is_empty() {
            return Ok(Err("metadata.name is missing".into()));
        }
        let given = &self.session.namespace;
        if self.session.is_namespace_given && self.namespace != given {
            return Ok(Err(format!(
                "metadata.namespace is {}, but --namespace is {given}",
                self.namespace
            )));
        }
        let is_version = manifest.object["apiVersion"] == *ManagedCluster::api_version(&());
        match manifest.kind() {
            "ManagedCluster" if is_version => self.apply(|it| Ours::Cluster(Box::new(it))).await,
            "AgentPool" if is_version => self.apply(|it| Ours::Pool(Box::new(it))).await,
            "Operation" if is_version => self.apply(|it| Ours::Operation(Box::new(it))).await,
            kind => Ok(Err(format!(
                "there is no kind {kind} in {}",
                manifest.object["apiVersion"].as_str().unwrap_or_default()
            ))),
        }
    }

    async fn apply<K>(&self, ours: impl Fn(K) -> Ours) -> Answer
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.session.client.clone(), self.namespace);
        let Some(name) = self.manifest.object["metadata"]["name"].as_str() else {
            return self.create(&ours).await;
        };
        let there = api.get_opt(name).await?;
        let mut params = PatchParams {
            dry_run: true,
            field_manager: Some(self.field_manager.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::default()
        };
        let last = there
            .as_ref()
            .and_then(|there| there.annotations().get(LAST_APPLIED));
        let last: Option<Value> = last.and_then(|last| serde_json::from_str(last).ok());
        let object = self.object();
        let patch = if let Some(last) = last {
            Patch::Merge(with_what_went(&last, &object))
        } else {
            params.force = true;
            Patch::Apply(object)
        };
        let object = api.patch(name, &params, &patch).await?;
        let effect = match there {
            None => Effect::Made,
            Some(there) if essence(&there) == essence(&object) => Effect::Unchanged,
            Some(_) => Effect::Changed,
        };
        Ok(Ok((effect, ours(object))))
    }

    /// Returns the object as kubectl sends it. An object that kubectl applied before has these fields as well.
    fn object(&self) -> Value {
        let mut object = self.manifest.object.clone();
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!(self.namespace);
        if metadata["annotations"].is_null() {
            metadata["annotations"] = json!({});
        }
        object
    }

    /// Creates an object whose name the API server generates.
    async fn create<K>(&self, ours: &impl Fn(K) -> Ours) -> Answer
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let resource = ApiResource::erase::<K>(&());
        let client = self.session.client.clone();
        let api = Api::<DynamicObject>::namespaced_with(client, self.namespace, &resource);
        let params = PostParams {
            dry_run: true,
            field_manager: Some(self.field_manager.to_owned()),
        };
        let object = serde_json::from_value(self.manifest.object.clone());
        let object = object.map_err(kube::Error::SerdeError)?;
        let made = api.create(&params, &object).await?;
        let made = serde_json::from_value(json!(made)).map_err(kube::Error::SerdeError)?;
        Ok(Ok((Effect::Made, ours(made))))
    }
}

/// Returns the manifest as a merge patch. The patch also removes fields that were applied before and are no longer in
/// the manifest.
fn with_what_went(last: &Value, manifest: &Value) -> Value {
    let (Some(last), Some(fields)) = (last.as_object(), manifest.as_object()) else {
        return manifest.clone();
    };
    let mut patch = fields.clone();
    for (key, before) in last {
        let now = fields.get(key).map(|now| with_what_went(before, now));
        patch.insert(key.clone(), now.unwrap_or(Value::Null));
    }
    Value::Object(patch)
}

/// Returns the part of an object that someone wrote.
fn essence(object: &impl Serialize) -> Value {
    let mut object = json!(object);
    object["status"].take();
    let metadata = &mut object["metadata"];
    for noted in ["managedFields", "resourceVersion", "generation"] {
        metadata[noted].take();
    }
    if metadata["annotations"].is_object() {
        metadata["annotations"][LAST_APPLIED].take();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_an_apply_no_longer_has_is_removed() {
        let last = json!({"spec": {"count": 3, "nodeLabels": {"a": "1", "b": "2"}, "vmSize": "x"}});
        let now = json!({"spec": {"count": 4, "nodeLabels": {"a": "1"}, "mode": "User"}});
        assert_eq!(
            with_what_went(&last, &now),
            json!({"spec": {"count": 4, "nodeLabels": {"a": "1", "b": null}, "vmSize": null, "mode": "User"}})
        );
    }
}
