//! A script that upgrades nodes with kubectl only. Each node takes a few calls.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{
    POOLS, SCRIPT,
    objects::{make_nodes, node},
};
use crate::stage::Stage;

/// The nodes that the script upgrades.
pub struct Script {
    home: PathBuf,
    kubeconfig: PathBuf,
    manifest: PathBuf,
    nodes: usize,
    at_once: usize,
}

impl Script {
    /// Creates the nodes.
    pub async fn prepare(stage: &Stage, nodes: usize, at_once: usize) -> anyhow::Result<Self> {
        let control_plane = &stage.audited.control_plane;
        let manifest = control_plane.dir().join("node.json");
        fs::write(&manifest, node(SCRIPT, "NAME", "VERSION").to_string())?;
        make_nodes(stage, SCRIPT, nodes).await?;
        Ok(Self {
            home: control_plane.dir().to_owned(),
            kubeconfig: stage.account(SCRIPT).await?.1,
            manifest,
            nodes,
            at_once,
        })
    }

    /// Upgrades all nodes from one version to another.
    pub async fn upgrade(&self, from: &str, to: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        for pool in 0..POOLS {
            let (nodes, at_once) = (self.nodes.to_string(), self.at_once.to_string());
            let program = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/benches/table/upgrade/script.sh"
            );
            let status = tokio::process::Command::new("sh")
                .args([
                    program,
                    &format!("{SCRIPT}-p{pool}"),
                    &nodes,
                    &at_once,
                    from,
                    to,
                ])
                .env("KUBECTL", testenv::binary("kubectl")?)
                .env("KUBECONFIG", &self.kubeconfig)
                .env("MANIFEST", &self.manifest)
                // The folder where kubectl caches discovery.
                .env("HOME", &self.home)
                .kill_on_drop(true)
                .status()
                .await?;
            ensure!(status.success(), "the script failed");
        }
        Ok(began.elapsed())
    }
}
