//! A Cluster's objects at one moment, and whether others that were read are newer.

use std::{collections::HashMap, sync::Arc};

use kube::{
    Client,
    api::{ListParams, ObjectList},
    core::DynamicObject,
};

use crate::{machinery::versions::version, provider::engine::EngineError};

use super::{
    answers::failed,
    kinds::{self, Kind},
};

/// The kinds that are listed to find everything that belongs to a Cluster, including the Cluster itself.
pub const LISTED: [Kind; 4] = [
    Kind::Cluster,
    Kind::MachineDeployment,
    Kind::MachineSet,
    Kind::Machine,
];

/// A Cluster's objects. Those that watches have shown are shared with everybody else who looks at them.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// The Cluster. None if it doesn't exist.
    pub cluster: Option<Arc<DynamicObject>>,
    /// The control plane. None if it isn't one of kubeadm.
    pub control_plane: Option<Arc<DynamicObject>>,
    /// Its `MachineDeployments`.
    pub deployments: Vec<Arc<DynamicObject>>,
    /// Their `MachineSets`.
    pub sets: Vec<Arc<DynamicObject>>,
    /// Its Machines.
    pub machines: Vec<Arc<DynamicObject>>,
}

impl Objects {
    /// Reads the current objects from the API server. Returns them, and how new they are.
    pub async fn read(
        client: &Client,
        namespace: &str,
        cluster: &str,
    ) -> Result<(Self, Moment), EngineError> {
        let list = async |kind: Kind| {
            let params = match kind {
                Kind::Cluster => ListParams::default().fields(&format!("metadata.name={cluster}")),
                _ => kinds::of_cluster(cluster),
            };
            kind.api(client, namespace).list(&params).await
        };
        let [clusters, deployments, sets, machines] = LISTED;
        let lists = tokio::try_join!(
            list(clusters),
            list(deployments),
            list(sets),
            list(machines)
        );
        let (clusters, deployments, sets, machines) = lists.map_err(|error| failed(&error))?;
        let moment = Moment([&clusters, &deployments, &sets, &machines].map(Listed::of));
        let shared = |list: ObjectList<DynamicObject>| list.items.into_iter().map(Arc::new);
        let mut read = Self {
            cluster: shared(clusters).next(),
            control_plane: None,
            deployments: shared(deployments).collect(),
            sets: shared(sets).collect(),
            machines: shared(machines).collect(),
        };
        if let Some(name) = read.control_plane_name() {
            let control_planes = Kind::KubeadmControlPlane.api(client, namespace);
            let control_plane = control_planes.get_opt(name).await;
            let control_plane = control_plane.map_err(|error| failed(&error))?;
            read.control_plane = control_plane.map(Arc::new);
        }
        Ok((read, moment))
    }

    /// Returns the name of the control plane. None if it isn't one of kubeadm.
    pub fn control_plane_name(&self) -> Option<&str> {
        let cluster = self.cluster.as_deref()?;
        let kind = kinds::text(cluster, "/spec/controlPlaneRef/kind");
        let name = kinds::text(cluster, "/spec/controlPlaneRef/name");
        name.filter(|_| kind == Some("KubeadmControlPlane"))
    }

    /// Returns whether none of the objects is older than what was read at that moment.
    pub fn are_as_new_as(&self, moment: &Moment) -> bool {
        let clusters: Vec<_> = self.cluster.iter().cloned().collect();
        let seen = [&clusters, &self.deployments, &self.sets, &self.machines];
        let mut pairs = moment.0.iter().zip(seen);
        pairs.all(|(read, seen)| read.is_shown_by(seen))
    }
}

/// How new a Cluster's objects were when they were read, by kind.
#[derive(Debug)]
pub struct Moment([Listed; LISTED.len()]);

/// How new a list is.
#[derive(Debug)]
struct Listed {
    /// The resourceVersion of the list.
    version: u64,
    /// The resourceVersions of its objects, by their uids.
    objects: HashMap<String, u64>,
}

impl Listed {
    fn of(list: &ObjectList<DynamicObject>) -> Self {
        let listed = list.metadata.resource_version.as_deref();
        let of_object = |object: &DynamicObject| {
            let uid = object.metadata.uid.clone();
            (uid.unwrap_or_default(), version(object).unwrap_or(u64::MAX))
        };
        Self {
            // If versions can't be compared, the objects are read each time.
            version: listed
                .and_then(|listed| listed.parse().ok())
                .unwrap_or(u64::MAX),
            objects: list.iter().map(of_object).collect(),
        }
    }

    /// Returns whether the objects that are seen are no older than the list: each listed object is there, or a newer
    /// version of it, and objects that weren't listed were created later.
    fn is_shown_by(&self, seen: &[Arc<DynamicObject>]) -> bool {
        let mut left = self.objects.len();
        let is_newer = |object: &Arc<DynamicObject>| {
            let seen = version(object.as_ref()).unwrap_or_default();
            let uid = object.metadata.uid.as_deref().unwrap_or_default();
            match self.objects.get(uid) {
                Some(listed) => {
                    left -= 1;
                    seen >= *listed
                }
                None => seen > self.version,
            }
        };
        seen.iter().all(is_newer) && left == 0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(uid: &str, version: u64) -> DynamicObject {
        let object = json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
            "metadata": {"name": uid, "uid": uid, "resourceVersion": version.to_string()}});
        serde_json::from_value(object).expect("an object")
    }

    fn list(version: &str, objects: &[(&str, u64)]) -> Listed {
        let items: Vec<_> = objects
            .iter()
            .map(|(uid, version)| json!(object(uid, *version)))
            .collect();
        let list = json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineList",
            "metadata": {"resourceVersion": version}, "items": items});
        Listed::of(&serde_json::from_value(list).expect("a list"))
    }

    #[test]
    fn a_cache_is_as_new_as_a_list_if_it_has_all_listed_objects_and_no_deleted_one() {
        let listed = list("9", &[("a", 5), ("b", 7)]);
        for (seen, is_shown, why) in [
            (vec![("a", 5), ("b", 7)], true, "the same"),
            (vec![("a", 10), ("b", 7)], true, "one has changed since"),
            (
                vec![("a", 5), ("b", 7), ("c", 10)],
                true,
                "one was made since",
            ),
            (vec![("a", 4), ("b", 7)], false, "one is old"),
            (
                vec![("a", 5)],
                false,
                "one isn't seen yet, or is gone since",
            ),
            (vec![("a", 5), ("b", 7), ("c", 3)], false, "one was gone"),
        ] {
            let seen: Vec<_> = seen
                .into_iter()
                .map(|(uid, version)| Arc::new(object(uid, version)))
                .collect();
            assert_eq!(listed.is_shown_by(&seen), is_shown, "{why}");
        }
        let without_numbers = list("a", &[]);
        assert!(!without_numbers.is_shown_by(&[Arc::new(object("a", 5))]));
    }
}
