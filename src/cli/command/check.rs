//! `kubectl belay check`: what would be in the way of an upgrade of a cluster. Writes nothing.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use kube::{ResourceExt as _, api::ListParams};
use serde::Serialize;

use crate::{
    api::{AgentPool, KubernetesVersion, ManagedCluster},
    cli::{
        cluster::{errors, foresee, session::Session, view::of_cluster},
        display::foreseen,
        terminal::{
            look::Look,
            output::{self, Format},
            text,
        },
    },
    lifecycle::{Finding, Observation, Preflight, surge_of},
    provider::{
        self, kwok,
        nodes::preflight::{of_room, of_versions, read::Drained},
    },
};

/// Show what would be in the way of an upgrade of a cluster and all its pools, with the commands that help.
///
/// Lists PodDisruptionBudgets that never allow an eviction, or allow none now, pods that no controller makes again,
/// volumes that exist on one node only, pools whose versions would differ too much from the next minor version of the
/// control plane, and missing room for the nodes of the surge. Nothing is written. What you may not read is named, and
/// left out.
///
/// Exit codes: 0 if the clusters could be checked, also if something would be in the way; 1 if they can't be read.
#[derive(Args, Debug)]
pub struct CheckFlags {
    /// The cluster. By default, all clusters of the namespace.
    pub cluster: Option<String>,

    /// The output format.
    #[arg(long, short, value_enum)]
    pub output: Option<CheckFormat>,
}

/// The output formats of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What would be in the way of a cluster's upgrade.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The cluster's namespace.
    pub namespace: String,
    /// The cluster's name.
    pub cluster: String,
    /// What was found.
    #[serde(flatten)]
    pub preflight: Preflight,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the clusters can't be read.
pub async fn run(session: &Session, flags: &CheckFlags) -> anyhow::Result<ExitCode> {
    let api = session.api::<ManagedCluster>();
    let clusters = if let Some(name) = &flags.cluster {
        vec![errors::get(&api, name).await?]
    } else {
        let listed = api.list(&ListParams::default()).await;
        listed.context("failed to read the clusters")?.items
    };
    let mut checked = Vec::new();
    for cluster in &clusters {
        checked.push(check(session, cluster).await?);
    }
    match flags.output {
        None if checked.is_empty() => {
            let nothing = format!(
                "There is no ManagedCluster in namespace {}.",
                session.namespace
            );
            output::say(&nothing)?;
        }
        None => output::say(&shown(&checked, &session.look))?,
        Some(CheckFormat::Json) => output::value(Format::Json, &checked)?,
        Some(CheckFormat::Yaml) => output::value(Format::Yaml, &checked)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(session: &Session, cluster: &ManagedCluster) -> anyhow::Result<Checked> {
    let name = cluster.name_any();
    let observed = provider::look(&session.client, cluster).await;
    let observed = observed.context("failed to read the cluster's nodes")?;
    let pools = session.api::<AgentPool>().list(&of_cluster(&name)).await;
    let pools = pools.context("failed to read the pools")?.items;
    let drained = observed.nodes.iter().map(|(pool, nodes)| Drained {
        pool: pool.clone(),
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
    });
    let drained: Vec<_> = drained.collect();
    let known = known(cluster, &pools, &observed);
    Ok(Checked {
        namespace: cluster.namespace().unwrap_or_default(),
        preflight: foresee::look(session, cluster, &drained, known).await,
        cluster: name,
    })
}

/// Returns what follows from the objects of Belay and the nodes alone.
fn known(cluster: &ManagedCluster, pools: &[AgentPool], observed: &Observation) -> Vec<Finding> {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let all: usize = observed.nodes.values().map(Vec::len).sum();
    let surge = pools.iter().map(|pool| {
        let nodes = observed.nodes.get(&pool.name_any()).map_or(0, Vec::len);
        surge_of(&pool.spec.upgrade_settings, nodes).min(nodes)
    });
    let most = all + surge.max().unwrap_or_default();
    let quota = kwok::quota(&cluster.spec.provider);
    let mut findings: Vec<Finding> = of_room((&namespace, &name), most, quota)
        .into_iter()
        .collect();
    if let Some(control_plane) = observed.control_plane {
        let next = KubernetesVersion {
            minor: control_plane.version.minor + 1,
            patch: 0,
            ..control_plane.version
        };
        let nodes = observed.nodes.iter();
        let nodes = nodes.map(|(pool, nodes)| (pool.as_str(), nodes.as_slice()));
        findings.extend(of_versions(&namespace, next, nodes));
    }
    findings
}

/// Returns the text for people.
pub fn shown(checked: &[Checked], look: &Look) -> String {
    let blocks = checked.iter().map(|checked| {
        let found = &checked.preflight;
        let name = look.bold(&format!("ManagedCluster {}", checked.cluster));
        let words = match found.findings.len() {
            0 if found.unseen.is_empty() => "nothing is in the way of an upgrade".to_owned(),
            0 => "nothing was found in the way of an upgrade".to_owned(),
            count => format!("{} in the way of an upgrade", text::count(count, "finding")),
        };
        let mut lines = vec![look.wrap("", "  ", &format!("{name}: {words}"))];
        lines.extend(foreseen::lines(found, look, "  "));
        lines.join("\n")
    });
    let blocks: Vec<String> = blocks.collect();
    blocks.join("\n\n")
}
