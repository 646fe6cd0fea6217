//! An operator that uses the account from the chart, and other requests of this account.

use std::{path::PathBuf, process::Command, sync::Arc};

use belay::api::TargetKind;
use kube::{Client, config::Kubeconfig};
use testenv::ControlPlane;

use super::{belay::Belay, world::World};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/belay");
/// The names of the release's account and of its namespace.
pub const RELEASE: &str = "belay";
pub const SYSTEM: &str = "belay-system";

/// A control plane on which the chart is installed.
pub struct Installed {
    pub world: Arc<World>,
    pub belay: Arc<Belay>,
}

impl Installed {
    /// Installs the chart, and creates a namespace without an operator. The chart's own pods don't run on this control
    /// plane.
    pub async fn start() -> Self {
        let control_plane = ControlPlane::start().await.expect("a control plane");
        let kubeconfig = control_plane.dir().join("admin.kubeconfig");
        let helm = Command::new(testenv::binary("helm").expect("helm"))
            .env("KUBECONFIG", &kubeconfig)
            .env("HOME", control_plane.dir())
            .args(["install", RELEASE, CHART, "--create-namespace"])
            .arg(format!("--namespace={SYSTEM}"))
            .output()
            .expect("helm runs");
        assert!(
            helm.status.success(),
            "{}",
            String::from_utf8_lossy(&helm.stderr)
        );
        let world = World::of(control_plane);
        world.wait_for_policies();
        let belay = Belay::start_without_operator(&world).await;
        Self { world, belay }
    }

    /// Returns a kubeconfig of the account, with a new token.
    pub async fn kubeconfig(&self) -> Kubeconfig {
        let control_plane = self.world.control_plane.lock().await;
        let granted = control_plane.kubeconfig_for_service_account(SYSTEM, RELEASE);
        granted.await.expect("a token")
    }

    /// Writes a kubeconfig for an operator, and returns its path.
    pub async fn write(&self, kubeconfig: &Kubeconfig) -> PathBuf {
        let control_plane = self.world.control_plane.lock().await;
        let written = control_plane.write_kubeconfig(kubeconfig, "account");
        written.expect("written")
    }

    /// Returns a client of the account.
    pub async fn client(&self) -> Client {
        let kubeconfig = self.kubeconfig().await;
        let control_plane = self.world.control_plane.lock().await;
        let config = control_plane.config(&kubeconfig).await;
        let mut config = config.expect("a configuration");
        config.default_retry = false;
        Client::try_from(config).expect("a client")
    }

    /// Continues an aborted upgrade, and waits until it ends.
    pub async fn continue_upgrade(&self) {
        let belay = &self.belay;
        belay.set_min_available(1).await;
        belay
            .reconcile(TargetKind::ManagedCluster, "demo", "continue")
            .await;
        belay.succeeds("continue").await;
        belay.cluster_is_ready().await;
        belay.has_upgraded_nodes(2).await;
    }
}
