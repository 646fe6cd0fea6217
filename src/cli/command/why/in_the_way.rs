//! Details about a PodDisruptionBudget and its pods, if they block an eviction.

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{Api, Client, ResourceExt as _};

use crate::{
    cli::terminal::look::Look,
    provider::nodes::preflight::{keeps_a_number, rule_of},
};

/// A pod that can't be evicted, and the budget that prevents it.
#[derive(Clone, Debug, Default)]
pub struct InTheWay {
    /// The pod's namespace and name.
    pub pod_name: (String, String),
    /// The budget's namespace and name.
    pub budget_name: (String, String),
    /// The pod, if it can be read.
    pub pod: Option<Pod>,
    /// The budget, if it can be read.
    pub budget: Option<PodDisruptionBudget>,
    /// The kind and the name of the pod's owner, such as `deployment` and `web`.
    pub owner: Option<(String, String)>,
}

/// Returns the pod and the budget that the message of a block names.
fn names(message: &str) -> Option<((String, String), (String, String))> {
    let rest = message.strip_prefix("eviction of ")?;
    let (pod, budget) = rest.split_once(" would violate PodDisruptionBudget ")?;
    // More may follow the name.
    let budget = budget.split([',', ';', ' ']).next()?;
    let parts = |name: &str| {
        let (namespace, name) = name.split_once('/')?;
        Some((namespace.to_owned(), name.to_owned()))
    };
    Some((parts(pod)?, parts(budget)?))
}

impl InTheWay {
    /// Reads the objects that the message of a block names. Leaves out what can't be read, because the message is true
    /// without it.
    pub async fn read(client: &Client, message: &str) -> Option<Self> {
        let (pod_name, budget_name) = names(message)?;
        let pods = Api::<Pod>::namespaced(client.clone(), &pod_name.0);
        let budgets = Api::<PodDisruptionBudget>::namespaced(client.clone(), &budget_name.0);
        let (pod, budget) =
            tokio::join!(pods.get_opt(&pod_name.1), budgets.get_opt(&budget_name.1));
        let pod = pod.ok().flatten();
        let owner = match &pod {
            Some(pod) => owner(client, pod).await,
            None => None,
        };
        Some(Self {
            pod_name,
            budget_name,
            pod,
            budget: budget.ok().flatten(),
            owner,
        })
    }

    /// Describes the pod, and why it stays, in sentences.
    pub fn sentences(&self) -> Vec<String> {
        let (namespace, name) = &self.pod_name;
        let mut sentences = vec![match &self.pod {
            Some(pod) => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
                let on = node.map_or(String::new(), |node| format!(" on node {node}"));
                let of = self
                    .owner
                    .as_ref()
                    .map_or(String::new(), |(kind, name)| format!(", of {kind} {name}"));
                format!("Pod {namespace}/{name}{on}{of}, must leave its node and can't be evicted.")
            }
            None => format!("Pod {namespace}/{name} must leave its node and can't be evicted."),
        }];
        let (namespace, name) = &self.budget_name;
        let subject = format!("PodDisruptionBudget {namespace}/{name}");
        sentences.push(match &self.budget {
            Some(budget) => format!("{subject} {}", budget_sentence(budget)),
            None => format!("{subject} does not allow it. The budget can't be read now."),
        });
        sentences
    }

    /// Returns what makes the eviction possible, each with its command.
    pub fn remedies(&self, look: &Look) -> Vec<(String, String)> {
        let (namespace, name) = &self.budget_name;
        let mut remedies = Vec::new();
        let short = self.budget.as_ref().is_some_and(lacks_pods);
        if short {
            let command = format!(
                "kubectl get pods -n {namespace}{}",
                selector(self.budget.as_ref())
            );
            remedies.push((
                "See which of its pods are not healthy".into(),
                look.other_command(&command),
            ));
        } else if let (Some((kind, owner)), Some(budget)) = (
            &self.owner,
            self.budget.as_ref().filter(|it| keeps_a_number(it)),
        ) {
            let more = budget
                .status
                .as_ref()
                .and_then(|status| status.expected_pods)
                .unwrap_or_default()
                + 1;
            let command = format!("kubectl scale {kind} {owner} -n {namespace} --replicas={more}");
            remedies.push((
                "Run one more pod than the budget requires".into(),
                look.other_command(&command),
            ));
        }
        let command = format!("kubectl edit pdb {name} -n {namespace}");
        remedies.push((
            "Let the budget require one pod less".into(),
            look.other_command(&command),
        ));
        remedies
    }
}

/// Whether fewer of the budget's pods are healthy than it requires.
fn lacks_pods(budget: &PodDisruptionBudget) -> bool {
    let status = budget.status.as_ref();
    status.is_some_and(|status| status.current_healthy < status.desired_healthy)
}

fn budget_sentence(budget: &PodDisruptionBudget) -> String {
    let rule = rule_of(budget);
    let Some(status) = &budget.status else {
        return format!("({rule}) has not counted its pods yet.");
    };
    let [healthy, all, least, allowed] = [
        status.current_healthy,
        status.expected_pods,
        status.desired_healthy,
        status.disruptions_allowed,
    ]
    .map(Option::unwrap_or_default);
    if allowed > 0 {
        return format!("({rule}) allows {allowed} now: the eviction is tried again soon.");
    }
    format!(
        "({rule}) requires {least} of {all} pods, {healthy} are healthy: it allows no eviction."
    )
}

fn selector(budget: Option<&PodDisruptionBudget>) -> String {
    let labels = budget
        .and_then(|budget| {
            budget
                .spec
                .as_ref()?
                .selector
                .as_ref()?
                .match_labels
                .clone()
        })
        .unwrap_or_default();
    let terms: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if terms.is_empty() {
        String::new()
    } else {
        format!(" -l {}", terms.join(","))
    }
}

/// Returns the owner that creates the pod. For a `ReplicaSet`, its Deployment.
async fn owner(client: &Client, pod: &Pod) -> Option<(String, String)> {
    let by = pod
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true))?;
    if by.kind != "ReplicaSet" {
        return matches!(by.kind.as_str(), "StatefulSet" | "ReplicationController")
            .then(|| (by.kind.to_lowercase(), by.name.clone()));
    }
    let sets = Api::<ReplicaSet>::namespaced(client.clone(), &pod.namespace()?);
    let set = sets.get_opt(&by.name).await.ok().flatten();
    let deployment = set.and_then(|set| {
        let mut owners = set.owner_references().iter();
        let owner = owners.find(|owner| owner.kind == "Deployment")?;
        Some(("deployment".to_owned(), owner.name.clone()))
    });
    deployment.or_else(|| Some(("replicaset".to_owned(), by.name.clone())))
}
