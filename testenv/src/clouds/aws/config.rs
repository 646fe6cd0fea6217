//! The configuration of a nodegroup: its labels, its taints, its number of nodes, and how many nodes it replaces at
//! once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    answers::Refusal,
    call::read,
    resources::{Id, Resources},
    update::{Change, Kind, Param, Plan},
};

/// The requested configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    labels: Labels,
    taints: Taints,
    #[serde(rename = "scalingConfig")]
    sizes: Scaling,
    #[serde(rename = "updateConfig")]
    pace: Pace,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Labels {
    #[serde(rename = "addOrUpdateLabels")]
    added: BTreeMap<String, String>,
    #[serde(rename = "removeLabels")]
    removed: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Taints {
    #[serde(rename = "addOrUpdateTaints")]
    added: Vec<Taint>,
    #[serde(rename = "removeTaints")]
    removed: Vec<Taint>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Taint {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Effect {
    NoSchedule,
    NoExecute,
    PreferNoSchedule,
}

/// The number of nodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Scaling {
    #[serde(rename = "minSize")]
    min: Option<i64>,
    #[serde(rename = "maxSize")]
    max: Option<i64>,
    #[serde(rename = "desiredSize")]
    desired: Option<i64>,
}

/// How nodes are replaced.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pace {
    #[serde(rename = "maxUnavailable")]
    number: Option<i64>,
    #[serde(rename = "maxUnavailablePercentage")]
    percentage: Option<i64>,
    #[serde(rename = "updateStrategy")]
    strategy: Option<Strategy>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Strategy {
    Default,
    Minimal,
}

/// Returns what a nodegroup does when a request changes its configuration.
pub(super) fn of_nodegroup(resources: &Resources, id: &Id, body: &Value) -> Result<Plan, Refusal> {
    let config: Config = read(body)?;
    let nodegroup = resources.get(id).unwrap_or(&Value::Null);
    let wrong = config.labels.wrong();
    let wrong = wrong.or_else(|| config.sizes.wrong(&nodegroup["scalingConfig"]));
    if let Some(wrong) = wrong.or_else(|| config.pace.wrong()) {
        return Err(Refusal::parameter(wrong));
    }
    Ok(Plan {
        kind: Kind::ConfigUpdate,
        params: config.params(),
        change: Change::Config(Box::new(config)),
    })
}

impl Config {
    /// Returns the parts as an update shows them: anything but numbers and texts as JSON.
    fn params(&self) -> Vec<Param> {
        let (labels, taints) = (&self.labels, &self.taints);
        let (sizes, pace) = (&self.sizes, &self.pace);
        let all = [
            ("LabelsToAdd", json!(labels.added)),
            ("LabelsToRemove", json!(labels.removed)),
            ("TaintsToAdd", json!(taints.added)),
            ("TaintsToRemove", json!(taints.removed)),
            ("MinSize", json!(sizes.min)),
            ("MaxSize", json!(sizes.max)),
            ("DesiredSize", json!(sizes.desired)),
            ("MaxUnavailable", json!(pace.number)),
            ("MaxUnavailablePercentage", json!(pace.percentage)),
            ("UpdateStrategy", json!(pace.strategy)),
        ];
        let all = all.into_iter().filter_map(|(name, value)| match value {
            Value::Null => None,
            Value::Array(all) if all.is_empty() => None,
            Value::Object(all) if all.is_empty() => None,
            Value::String(word) => Some((name, word)),
            value => Some((name, value.to_string())),
        });
        all.collect()
    }

    /// Applies the configuration to a nodegroup.
    pub fn apply(&self, nodegroup: &mut Value) {
        self.labels.apply(&mut nodegroup["labels"]);
        self.taints.apply(&mut nodegroup["taints"]);
        self.sizes.apply(&mut nodegroup["scalingConfig"]);
        self.pace.apply(&mut nodegroup["updateConfig"]);
        take_nulls(nodegroup);
    }
}

impl Labels {
    fn wrong(&self) -> Option<String> {
        let mut removed = self.removed.iter();
        let both = removed.find(|key| self.added.contains_key(*key))?;
        Some(format!(
            "Label {both} can't be added and removed in the same request"
        ))
    }

    fn apply(&self, labels: &mut Value) {
        for (key, value) in &self.added {
            labels[key] = json!(value);
        }
        let labels = labels.as_object_mut().into_iter();
        labels.for_each(|labels| labels.retain(|key, _| !self.removed.contains(key)));
    }
}

impl Taints {
    /// Applies the changes. A taint is identified by its key and its effect. A nodegroup without taints shows none.
    fn apply(&self, taints: &mut Value) {
        let changed = self.added.iter().chain(&self.removed);
        let changed: Vec<_> = changed
            .map(|taint| (json!(taint.key), json!(taint.effect)))
            .collect();
        let before = taints.as_array().into_iter().flatten();
        let others = before.filter(|taint| {
            let id = (taint["key"].clone(), taint["effect"].clone());
            !changed.contains(&id)
        });
        let added = self.added.iter().map(|taint| json!(taint));
        let all: Vec<_> = others.cloned().chain(added).collect();
        *taints = json!((!all.is_empty()).then_some(all));
    }
}

impl Scaling {
    fn fields(&self) -> [(&'static str, Option<i64>); 3] {
        [
            ("minSize", self.min),
            ("maxSize", self.max),
            ("desiredSize", self.desired),
        ]
    }

    fn apply(&self, sizes: &mut Value) {
        for (field, size) in self.fields() {
            if let Some(size) = size {
                sizes[field] = json!(size);
            }
        }
    }

    /// Returns why EKS refuses this change together with the current values.
    fn wrong(&self, now: &Value) -> Option<String> {
        let [min, max, desired] = self
            .fields()
            .map(|(field, size)| size.or_else(|| now[field].as_i64()).unwrap_or_default());
        if max < 1 {
            Some("maxSize must be greater than or equal to 1".into())
        } else if min < 0 {
            Some("minSize must be greater than or equal to 0".into())
        } else if min > desired {
            Some(format!(
                "Minimum capacity {min} can't be greater than desired size {desired}"
            ))
        } else if desired > max {
            Some(format!(
                "Desired capacity {desired} can't be greater than max size {max}"
            ))
        } else {
            None
        }
    }
}

impl Pace {
    fn wrong(&self) -> Option<String> {
        let (number, percentage) = (self.number, self.percentage);
        if number.is_some() && percentage.is_some() {
            return Some(
                "maxUnavailable and maxUnavailablePercentage can't both be specified".into(),
            );
        }
        let most = number.or(percentage)?;
        (!(1..=100).contains(&most))
            .then(|| format!("maxUnavailable must be between 1 and 100, not {most}"))
    }

    /// Applies the change. A number replaces a percentage, and the other way round.
    fn apply(&self, config: &mut Value) {
        let (number, percentage) = (self.number, self.percentage);
        if number.or(percentage).is_some() {
            config["maxUnavailable"] = json!(number);
            config["maxUnavailablePercentage"] = json!(percentage);
        }
        if let Some(strategy) = self.strategy {
            config["updateStrategy"] = json!(strategy);
        }
        take_nulls(config);
    }
}

/// Removes fields that are null, because EKS doesn't show them.
fn take_nulls(object: &mut Value) {
    let object = object.as_object_mut().into_iter();
    object.for_each(|object| object.retain(|_, value| !value.is_null()));
}
