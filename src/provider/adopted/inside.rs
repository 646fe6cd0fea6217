//! A look into a cloud's cluster, with its kubeconfig: which pod and which budget block a drain, and how many nodes
//! have their new version. A cloud shows neither.

use std::{future::Future, time::Duration};

use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::ListParams,
    config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig},
};

use crate::{
    api::KubernetesVersion,
    lifecycle::join_sentences,
    machinery::connection,
    provider::{
        engine::{EngineError, Running, Site},
        nodes::{
            budget_in_the_way, has_to_go, passing, pods_of,
            preflight::{self, read},
        },
        requests::{Blocked, Failure},
    },
};

use super::credentials;

/// The key of the kubeconfig in its Secret.
const KEY: &str = "kubeconfig";
/// How long a look may take. After that, the cloud's own answer counts alone.
const PATIENCE: Duration = Duration::from_secs(4);

/// The nodes of a node pool on which work is running.
pub struct Inside<'a> {
    /// Reads Secrets.
    pub client: &'a Client,
    /// The cluster.
    pub site: &'a Site,
    /// The Secret with the kubeconfig.
    pub secret: &'a str,
    /// The label that all nodes of the pool have.
    pub nodes: String,
    /// The version that they go to. None if they don't go to another version.
    pub version: Option<KubernetesVersion>,
}

impl Inside<'_> {
    /// Adds what is seen to what the cloud reports. If nothing can be seen, the message says why.
    pub async fn add_to(&self, running: &mut Running) {
        let looked = tokio::time::timeout(PATIENCE, self.look()).await;
        let looked = looked.unwrap_or_else(|_| {
            Err(credentials::refused(
                "Unreachable",
                "the cluster's API server doesn't answer",
            ))
        });
        match looked {
            Ok(seen) => {
                running.blocked = running.blocked.take().or(seen.blocked);
                running.nodes_left = running.nodes_left.or(seen.nodes_left);
            }
            Err(error) => {
                let (message, why) = (&running.message, error.as_passing());
                let unseen = format!("Belay can't see what blocks it ({why})");
                running.message = join_sentences(message, &unseen);
            }
        }
    }

    async fn look(&self) -> Result<Seen, EngineError> {
        let client = connect(self.client, self.site, self.secret).await?;
        let nodes = listed(Api::<Node>::all(client.clone()).list(&self.of_pool())).await?;
        let mut seen = Seen {
            blocked: None,
            nodes_left: self.version.map(|version| left(&nodes, version)),
        };
        let is_drained = |node: &&Node| {
            let spec = node.spec.as_ref();
            spec.is_some_and(|spec| spec.unschedulable == Some(true))
        };
        let drained: Vec<_> = nodes.iter().filter(is_drained).collect();
        if drained.is_empty() {
            return Ok(seen);
        }
        let budgets = Api::<PodDisruptionBudget>::all(client.clone());
        let budgets = listed(budgets.list(&ListParams::default())).await?;
        let pods = Api::<Pod>::all(client);
        for node in drained {
            let pods = listed(pods.list(&pods_of(&node.name_any()))).await?;
            let mut going = pods.iter().filter(|pod| has_to_go(pod));
            seen.blocked = going.find_map(|pod| budget_in_the_way(&budgets, pod));
            if seen.blocked.is_some() {
                break;
            }
        }
        Ok(seen)
    }

    fn of_pool(&self) -> ListParams {
        ListParams::default().labels(&self.nodes)
    }
}

/// Reads the pods on the nodes of these pools, each given by its name and the label that all its nodes have, and the
/// budgets. Without a Secret, nothing can be read.
///
/// # Errors
/// Returns why they can't be read.
pub async fn pods_and_budgets(
    client: &Client,
    site: &Site,
    secret: Option<&str>,
    pools: &[(String, String)],
) -> Result<preflight::Seen, String> {
    let secret = secret.ok_or(
        "the cluster has no kubeconfigSecret in spec.provider that lets Belay list its pods and PodDisruptionBudgets",
    )?;
    let read = async {
        let client = connect(client, site, secret).await?;
        let mut drained = Vec::new();
        for (pool, label) in pools {
            let of_pool = ListParams::default().labels(label);
            let nodes = listed(Api::<Node>::all(client.clone()).list(&of_pool)).await?;
            let nodes = nodes.iter().map(kube::ResourceExt::name_any).collect();
            let pool = pool.clone();
            drained.push(read::Drained { pool, nodes });
        }
        let (pools, budgets) =
            tokio::try_join!(read::pods(&client, &drained), read::budgets(&client))
                .map_err(|error| unread(&error))?;
        let volumes = Vec::new();
        Ok::<_, EngineError>(preflight::Seen {
            pools,
            budgets,
            volumes,
        })
    };
    let words = |error: EngineError| error.as_passing().to_string();
    read.await.map_err(words)
}

async fn connect(client: &Client, site: &Site, secret: &str) -> Result<Client, EngineError> {
    let place = (site.namespace.as_str(), secret);
    let [text] = credentials::read(client, place, [KEY], &[]).await?;
    let unusable = |why: String| {
        let why = format!("Secret {secret}: {why}");
        credentials::refused("InvalidKubeconfig", why)
    };
    let kubeconfig = Kubeconfig::from_yaml(&text).map_err(|error| unusable(error.to_string()))?;
    if let Some(why) = leaves_the_text(&kubeconfig) {
        return Err(unusable(why));
    }
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let config = config.map_err(|error| unusable(error.to_string()))?;
    let client = connection::builder(connection::bounded(config));
    let client = client.map_err(|error| unusable(error.to_string()))?;
    Ok(client.build())
}

struct Seen {
    blocked: Option<Blocked>,
    nodes_left: Option<i32>,
}

/// Returns how many nodes run another minor version.
fn left(nodes: &[Node], version: KubernetesVersion) -> i32 {
    let is_older = |node: &&Node| {
        let info = node
            .status
            .as_ref()
            .and_then(|status| status.node_info.as_ref());
        let runs = info.and_then(|info| minor_of(&info.kubelet_version));
        runs.is_some_and(|minor| minor != version.minor)
    };
    i32::try_from(nodes.iter().filter(is_older).count()).unwrap_or(i32::MAX)
}

/// Returns the minor version in a kubelet's version, such as `v1.34.2-eks-113cf36`.
fn minor_of(kubelet: &str) -> Option<u32> {
    kubelet.split('.').nth(1)?.parse().ok()
}

/// Returns why a kubeconfig isn't accepted: a person who may write a Secret must not make the operator run a program or
/// read a file.
fn leaves_the_text(kubeconfig: &Kubeconfig) -> Option<String> {
    let of_user = |user: &AuthInfo| {
        [
            ("exec", user.exec.is_some()),
            ("auth-provider", user.auth_provider.is_some()),
            ("tokenFile", user.token_file.is_some()),
            ("client-certificate", user.client_certificate.is_some()),
            ("client-key", user.client_key.is_some()),
        ]
    };
    let of_cluster = |cluster: &Cluster| {
        [(
            "certificate-authority",
            cluster.certificate_authority.is_some(),
        )]
    };
    let users = kubeconfig.auth_infos.iter();
    let users = users
        .filter_map(|user| user.auth_info.as_ref())
        .flat_map(of_user);
    let clusters = kubeconfig.clusters.iter();
    let clusters = clusters.filter_map(|cluster| cluster.cluster.as_ref());
    let mut fields = users.chain(clusters.flat_map(of_cluster));
    let (field, _) = fields.find(|(_, is_set)| *is_set)?;
    Some(format!(
        "the kubeconfig has {field}: write a token, or certificates as data, because the operator runs no program and reads no file for a kubeconfig"
    ))
}

async fn listed<K: Clone>(
    list: impl Future<Output = kube::Result<kube::api::ObjectList<K>>>,
) -> Result<Vec<K>, EngineError> {
    let listed = list.await;
    listed
        .map(|list| list.items)
        .map_err(|error| unread(&error))
}

fn unread(error: &kube::Error) -> EngineError {
    Failure::Passing(passing(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_that_runs_a_program_or_reads_a_file_is_refused() {
        let with = |user: &str, cluster: &str| {
            let text = format!(
                "{{clusters: [{{name: c, cluster: {{server: 'https://localhost', {cluster}}}}}], users: [{{name: u, user: {{{user}}}}}]}}"
            );
            leaves_the_text(&Kubeconfig::from_yaml(&text).expect("a kubeconfig"))
        };
        assert_eq!(with("token: abc", "certificate-authority-data: abc"), None);
        for (user, cluster, field) in [
            ("exec: {command: aws}", "", "exec"),
            ("tokenFile: /token", "", "tokenFile"),
            ("client-key: /key", "", "client-key"),
            (
                "token: abc",
                "certificate-authority: /ca",
                "certificate-authority",
            ),
        ] {
            let why = with(user, cluster).expect("a reason");
            assert!(why.contains(&format!("has {field}:")), "{why}");
        }
    }

    #[test]
    fn the_minor_version_of_a_kubelet_is_parsed_with_a_clouds_suffix() {
        for (text, minor) in [
            ("v1.34.2-eks-113cf36", Some(34)),
            ("v1.33.4", Some(33)),
            ("", None),
        ] {
            assert_eq!(minor_of(text), minor);
        }
    }
}
