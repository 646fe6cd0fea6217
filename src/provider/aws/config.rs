//! What an update of a nodegroup's configuration asks for.

use std::collections::BTreeMap;

use aws_sdk_eks::types;

use crate::api::{NodeTaint, TaintEffect};

use super::resource::{Pace, Share, Sizes};

/// The changes of a nodegroup's configuration. What it doesn't name stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Labels to set.
    pub labels: BTreeMap<String, String>,
    /// Labels to remove, by their keys.
    pub old_labels: Vec<String>,
    /// Taints to set.
    pub taints: Vec<NodeTaint>,
    /// Taints to remove.
    pub old_taints: Vec<NodeTaint>,
    /// The sizes to set.
    pub sizes: Option<Sizes>,
    /// How nodes are to be replaced.
    pub pace: Option<Pace>,
}

impl Config {
    /// Returns whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the labels in the terms of EKS. None if they stay.
    pub fn written_labels(&self) -> Option<types::UpdateLabelsPayload> {
        let is_needed = !self.labels.is_empty() || !self.old_labels.is_empty();
        is_needed.then(|| {
            let mut written = types::UpdateLabelsPayload::builder();
            for (key, value) in &self.labels {
                written = written.add_or_update_labels(key, value);
            }
            for key in &self.old_labels {
                written = written.remove_labels(key);
            }
            written.build()
        })
    }

    /// Returns the taints in the terms of EKS. None if they stay.
    pub fn written_taints(&self) -> Option<types::UpdateTaintsPayload> {
        let is_needed = !self.taints.is_empty() || !self.old_taints.is_empty();
        is_needed.then(|| {
            let mut written = types::UpdateTaintsPayload::builder();
            for taint in &self.taints {
                written = written.add_or_update_taints(taint_of(taint));
            }
            for taint in &self.old_taints {
                written = written.remove_taints(taint_of(taint));
            }
            written.build()
        })
    }

    /// Returns the sizes in the terms of EKS. None if they stay.
    pub fn written_sizes(&self) -> Option<types::NodegroupScalingConfig> {
        let Sizes {
            least,
            most,
            desired,
        } = self.sizes?;
        let written = types::NodegroupScalingConfig::builder();
        let written = written.min_size(least).max_size(most);
        Some(written.desired_size(desired).build())
    }

    /// Returns how nodes are replaced, in the terms of EKS. None if that stays.
    pub fn written_pace(&self) -> Option<types::NodegroupUpdateConfig> {
        let pace = self.pace?;
        let written = types::NodegroupUpdateConfig::builder();
        let written = match pace.at_once {
            Share::Nodes(nodes) => written.max_unavailable(nodes),
            Share::Percent(percent) => written.max_unavailable_percentage(percent),
        };
        let strategy = if pace.is_minimal {
            types::NodegroupUpdateStrategies::Minimal
        } else {
            types::NodegroupUpdateStrategies::Default
        };
        Some(written.update_strategy(strategy).build())
    }
}

fn taint_of(taint: &NodeTaint) -> types::Taint {
    let effect = match taint.effect {
        TaintEffect::NoSchedule => types::TaintEffect::NoSchedule,
        TaintEffect::PreferNoSchedule => types::TaintEffect::PreferNoSchedule,
        TaintEffect::NoExecute => types::TaintEffect::NoExecute,
    };
    let value = Some(&taint.value).filter(|value| !value.is_empty());
    let written = types::Taint::builder().key(&taint.key);
    written.set_value(value.cloned()).effect(effect).build()
}
