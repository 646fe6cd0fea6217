//! The rights that the chart gives an operator for Cluster API's Clusters.

use std::{path::Path, process::Command};

/// The namespace where the chart would be installed.
pub const NAMESPACE: &str = "belay-system";
/// Its service account.
pub const ACCOUNT: &str = "belay";

/// Returns the chart's service account and its rights, with `clusterAPI.enabled`. Helm keeps its files in `home`.
pub fn of_chart(home: &Path) -> String {
    let output = Command::new(testenv::binary("helm").expect("helm"))
        .env("HOME", home)
        .args(["template", "belay"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/belay"))
        .arg(format!("--namespace={NAMESPACE}"))
        .args([
            "--set=clusterAPI.enabled=true",
            "--show-only=templates/rbac.yaml",
        ])
        .arg("--show-only=templates/serviceaccount.yaml")
        .output()
        .expect("helm runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
