//! The label by which the API server finds the pools that can't be scaled now.

use kube::ResourceExt as _;

use crate::api::{AgentPool, SCALE_REFUSED_LABEL};

use super::{Action, Snapshot};

/// Labels the pools whose status refuses a scale, and no others. It only finds them: what holds is the
/// status, which is written first.
pub(super) fn pools(snapshot: &Snapshot) -> Vec<Action> {
    let refuses = |pool: &AgentPool| {
        let status = pool.status.as_ref();
        status.is_some_and(|status| status.scale_refusal.is_some())
    };
    let is_labelled = |pool: &AgentPool| pool.labels().contains_key(SCALE_REFUSED_LABEL);
    let pools = snapshot.pools.iter();
    pools
        .filter(|pool| refuses(pool) != is_labelled(pool))
        .map(|pool| Action::LabelPool {
            name: pool.name_any(),
            refuses_scale: refuses(pool),
        })
        .collect()
}
