//! A cluster or a pool: what its spec asks for and what is observed of it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;

use crate::{
    api::{
        AgentPool, AgentPoolMode, AskedFor, KubernetesVersion, LastOperation, OperationTarget,
        OperationType, PowerState, TargetKind,
    },
    lifecycle::{observed::NodeView, settings::NodeSettings, snapshot::Snapshot, windows::Windows},
};

use super::{
    asked::{asked_of_cluster, asked_of_pool},
    hold::{Held, held_back},
};

/// A cluster or a pool.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// Its kind and name.
    pub key: OperationTarget,
    /// Its metadata.
    pub metadata: &'a ObjectMeta,
    /// Its uid.
    pub uid: &'a str,
    /// The generation of its spec.
    pub generation: i64,
    /// When its deletion was requested. None if it isn't being deleted.
    pub deleted: Option<Timestamp>,
    /// What its spec asks for.
    pub asked: AskedFor,
    /// Its observed state.
    pub there: There,
    /// The operation on it that ended last.
    pub last: Option<&'a LastOperation>,
    /// What is on hold.
    pub held: Held,
    /// Whether Belay has already written its status.
    pub was_seen: bool,
    /// The fingerprint of the last abort request on it that Belay acted on.
    pub observed_abort: Option<&'a String>,
    /// The pool, if it is one.
    pub pool: Option<Pool<'a>>,
}

/// The facts that only pools have.
#[derive(Clone, Debug)]
pub struct Pool<'a> {
    /// The object.
    pub object: &'a AgentPool,
    /// The nodes.
    pub nodes: &'a [NodeView],
    /// What scales it, if that isn't Belay.
    pub scaled_by: Option<&'a str>,
    /// The settings that its nodes have to get.
    pub settings: NodeSettings,
    /// Whether its spec would leave the cluster without a System pool. Then it stays a System pool.
    pub mode_is_kept: bool,
}

/// The observed state of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct There {
    /// Whether anything of it exists: a control plane, nodes, or a pool that the engine shows as off.
    pub exists: bool,
    /// The oldest version that it runs.
    pub oldest: Option<KubernetesVersion>,
    /// The newest version that it runs; for a pool without nodes, the version that its next nodes were to run.
    pub newest: Option<KubernetesVersion>,
    /// The number of nodes that it keeps for now: the engine's own number, or those that aren't being deleted.
    pub count: usize,
    /// Whether it is on.
    pub power: PowerState,
    /// The power state in its status. While the target starts or stops, this is the state that it is going to.
    pub shown_power: PowerState,
}

impl<'a> Target<'a> {
    /// Returns the facts of the cluster.
    pub fn of_cluster(snapshot: &'a Snapshot, windows: &Windows) -> Self {
        let cluster = snapshot.cluster.as_ref();
        let status = cluster.status.as_ref();
        let asked = asked_of_cluster(cluster);
        let runs = snapshot.control_plane();
        let is_off = runs.is_some() && !snapshot.is_running();
        Self {
            held: Held {
                own: held_back(
                    status.and_then(|status| status.hold.as_ref()),
                    &asked,
                    windows,
                ),
                ..Held::default()
            },
            last: status.and_then(|status| status.last_operation.as_ref()),
            was_seen: was_seen(status.and_then(|status| status.observed_generation)),
            observed_abort: status.and_then(|status| status.observed_abort.as_ref()),
            there: There {
                exists: runs.is_some(),
                oldest: runs,
                newest: runs,
                count: 0,
                power: if is_off {
                    PowerState::Stopped
                } else {
                    PowerState::Running
                },
                shown_power: status
                    .and_then(|status| status.power_state)
                    .unwrap_or_default()
                    .code,
            },
            asked,
            pool: None,
            ..Self::of_metadata(&cluster.metadata, TargetKind::ManagedCluster)
        }
    }

    fn of_pool(
        snapshot: &'a Snapshot,
        object: &'a AgentPool,
        mode_is_kept: bool,
        windows: &Windows,
    ) -> Self {
        let status = object.status.as_ref();
        let nodes = snapshot.nodes(object.metadata.name.as_deref().unwrap_or_default());
        let mut settings = NodeSettings::of(object);
        if mode_is_kept {
            settings.mode = AgentPoolMode::System;
        }
        let mut asked = asked_of_pool(&snapshot.cluster, object, &settings);
        if mode_is_kept {
            // A System pool has at least one node, and runs.
            asked.count = asked.count.map(|count| count.max(1));
            asked.power_state = Some(PowerState::Running);
        }
        let lasting = snapshot.lasting(nodes);
        let versions = || lasting.clone().map(|node| node.version);
        let next = || {
            let shown = &status?.versions;
            shown.last()?.kubernetes_version.parse().ok()
        };
        let power = status.and_then(|status| status.power_state);
        let shown_power = power.unwrap_or_default().code;
        let in_flight = status.and_then(|status| status.operation.as_ref());
        let stay = lasting.clone().filter(|node| node.stays()).count();
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let kept = snapshot.observed.kept.get(name).copied();
        let scaled_by = snapshot.observed.scaled_by_others.get(name);
        let count = kept.unwrap_or(stay);
        let is_off = snapshot.observed.off.contains(name);
        let there = There {
            exists: !nodes.is_empty() || is_off,
            oldest: versions().min(),
            newest: versions().max().or_else(next),
            count,
            power: match in_flight.map(|operation| operation.type_) {
                _ if count > 0 => PowerState::Running,
                _ if is_off => PowerState::Stopped,
                Some(OperationType::Start) => PowerState::Stopped,
                Some(OperationType::Stop) => PowerState::Running,
                _ => shown_power,
            },
            shown_power,
        };
        let hold = status.and_then(|status| status.hold.as_ref());
        let cluster_hold = status.and_then(|status| status.cluster_hold.as_ref());
        let held = Held {
            own: held_back(hold, &asked, windows),
            by_cluster: held_back(cluster_hold, &asked, windows),
        };
        Self {
            held: held.with_count(asked.power_state != Some(there.power)),
            last: status.and_then(|status| status.last_operation.as_ref()),
            was_seen: was_seen(status.and_then(|status| status.observed_generation)),
            observed_abort: status.and_then(|status| status.observed_abort.as_ref()),
            there,
            asked,
            pool: Some(Pool {
                object,
                nodes,
                scaled_by: scaled_by.map(String::as_str),
                settings,
                mode_is_kept,
            }),
            ..Self::of_metadata(&object.metadata, TargetKind::AgentPool)
        }
    }

    fn of_metadata(metadata: &'a ObjectMeta, kind: TargetKind) -> Self {
        Self {
            key: OperationTarget {
                kind,
                name: metadata.name.clone().unwrap_or_default(),
            },
            metadata,
            uid: metadata.uid.as_deref().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            deleted: metadata.deletion_timestamp.as_ref().map(|time| time.0),
            asked: AskedFor::default(),
            there: There::default(),
            last: None,
            held: Held::default(),
            was_seen: false,
            observed_abort: None,
            pool: None,
        }
    }

    /// Whether it is the cluster.
    pub fn is_cluster(&self) -> bool {
        self.pool.is_none()
    }

    /// Whether there was never an operation on it and nothing of it exists.
    pub fn is_new(&self) -> bool {
        self.last.is_none() && !self.there.exists
    }

    /// Whether the last operation deleted everything that it had.
    pub fn is_gone(&self) -> bool {
        self.last.is_some_and(LastOperation::has_deleted)
    }

    /// Whether it is a pool that follows its cluster's version.
    pub fn follows(&self) -> bool {
        let own = |pool: &Pool<'_>| pool.object.spec.kubernetes_version.is_some();
        self.pool.as_ref().is_some_and(|pool| !own(pool))
    }

    /// Whether it is a System pool, by its spec or because the cluster needs one.
    pub fn is_system(&self) -> bool {
        let pool = self.pool.as_ref();
        pool.is_some_and(|pool| pool.settings.mode == AgentPoolMode::System)
    }

    /// Whether its spec says that it has to run.
    pub fn is_to_run(&self) -> bool {
        self.asked.power_state == Some(PowerState::Running)
    }

    /// Returns the version of a pool's nodes under a control plane of that version: the pool's own version, or the
    /// control plane's. It is never newer than the control plane's.
    pub fn version_under(&self, control_plane: KubernetesVersion) -> KubernetesVersion {
        let pool = self.pool.as_ref();
        pool.map_or(control_plane, |pool| {
            version_under(control_plane, pool.object)
        })
    }

    /// Returns the number of nodes in a pool's spec if it runs, else 0.
    pub fn count_if(&self, runs: bool) -> usize {
        let count = usize::try_from(self.asked.count.unwrap_or_default()).unwrap_or_default();
        if runs { count } else { 0 }
    }

    /// Returns how many nodes a pool has to have: 0 while it or its cluster is off; the current number while
    /// something else scales it.
    pub fn desired_count(&self, snapshot: &Snapshot) -> usize {
        let runs = snapshot.is_running() && self.is_to_run();
        if runs && self.is_scaled_by_others() {
            return self.there.count;
        }
        self.count_if(runs)
    }

    /// Whether it is a pool that runs and that something other than Belay scales.
    pub fn is_scaled_by_others(&self) -> bool {
        let pool = self.pool.as_ref();
        let scaled_by = pool.and_then(|pool| pool.scaled_by);
        scaled_by.is_some() && self.there.power == PowerState::Running
    }

    /// Whether a node of the pool runs another version than it should, or is quarantined: both wait to be replaced.
    pub fn has_outdated_nodes(&self, snapshot: &Snapshot) -> bool {
        let (Some(pool), Some(control_plane)) = (&self.pool, snapshot.control_plane()) else {
            return false;
        };
        let wanted = self.version_under(control_plane);
        let mut lasting = snapshot.lasting(pool.nodes);
        lasting.any(|node| node.version != wanted || node.quarantined)
    }

    /// Whether all nodes that stay have the desired settings.
    pub fn has_its_settings(&self, snapshot: &Snapshot) -> bool {
        self.pool.as_ref().is_none_or(|pool| {
            let mut nodes = snapshot.lasting(pool.nodes).filter(|node| node.stays());
            nodes.all(|node| node.settings == pool.settings)
        })
    }
}

/// Whether Belay wrote a status. The schema's default status has the generation -1.
fn was_seen(observed_generation: Option<i64>) -> bool {
    observed_generation.is_some_and(|generation| generation >= 0)
}

/// Returns the version of a pool's nodes under a control plane of that version.
pub fn version_under(control_plane: KubernetesVersion, pool: &AgentPool) -> KubernetesVersion {
    let own = pool.spec.kubernetes_version.as_deref();
    let own: Option<KubernetesVersion> = own.and_then(|version| version.parse().ok());
    own.map_or(control_plane, |own| own.min(control_plane))
}

/// Returns the pools. If several pools stop being System pools at once, before the API server can know, and none
/// would be left, one of them stays a System pool: preferably one that isn't being deleted, then the one deleted
/// last, then the last by name.
pub fn of_pools<'a>(snapshot: &'a Snapshot, windows: &Windows) -> Vec<Target<'a>> {
    let lives = |pool: &&AgentPool| pool.metadata.deletion_timestamp.is_none();
    let pools = || snapshot.pools.iter().map(AsRef::as_ref);
    let has_system_pool = pools()
        .filter(lives)
        .any(|pool| pool.spec.mode == AgentPoolMode::System);
    let cluster_goes = snapshot.cluster.metadata.deletion_timestamp.is_some();
    let kept = if has_system_pool || cluster_goes {
        None
    } else {
        let goes_last = |pool: &&AgentPool| {
            let deleted = pool.metadata.deletion_timestamp.clone();
            (deleted.is_none(), deleted, pool.metadata.name.clone())
        };
        pools()
            .filter(|pool| was_system(snapshot, pool))
            .max_by_key(goes_last)
    };
    pools()
        .map(|pool| {
            let mode_is_kept = kept.is_some_and(|kept| std::ptr::eq(kept, pool));
            Target::of_pool(snapshot, pool, mode_is_kept, windows)
        })
        .collect()
}

/// Whether a pool was a System pool when the cluster's status was last written, or has nodes of one.
fn was_system(snapshot: &Snapshot, pool: &AgentPool) -> bool {
    let name = pool.name_any();
    let reported = snapshot.cluster.status.as_ref().and_then(|status| {
        let mut pools = status.agent_pools.iter();
        pools.find(|reported| reported.name == name)
    });
    reported.is_some_and(|reported| reported.mode == AgentPoolMode::System)
        || snapshot
            .nodes(&name)
            .iter()
            .any(|node| node.settings.mode == AgentPoolMode::System)
}
