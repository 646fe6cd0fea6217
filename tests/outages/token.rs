//! The operator's token is revoked and replaced in its file. The operator must continue by itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use belay::api::OperationType;
use kube::config::Kubeconfig;
use serde_json::json;

use super::{
    account::{Installed, RELEASE, SYSTEM},
    belay::World,
    guard::Guard,
};

/// The time limit until the operator has read the file again and reaches the API server.
const RELOAD: Duration = Duration::from_secs(90);

fn token_of(kubeconfig: &Kubeconfig) -> String {
    let config = serde_json::to_value(kubeconfig).expect("a kubeconfig");
    let token = config["users"][0]["user"]["token"].as_str();
    token.expect("a token").to_owned()
}

pub async fn a_revoked_and_rotated_token_fails_no_operation(_: Arc<World>) {
    let installed = Installed::start().await;
    let belay = &installed.belay;
    let granted = installed.kubeconfig().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let write = |kubeconfig: &Kubeconfig| {
        std::fs::write(file.path(), token_of(kubeconfig)).expect("written");
    };
    write(&granted);
    let mut config = serde_json::to_value(&granted).expect("a kubeconfig");
    config["users"][0]["user"] = json!({"tokenFile": file.path()});
    let config = serde_json::from_value(config).expect("a kubeconfig");
    let kubeconfig = installed.write(&config).await.display().to_string();
    belay.start_operator_with(&[("KUBECONFIG", &kubeconfig)]);
    belay.cluster_with_blocked_drains(2).await;
    let guard = Guard::watch(belay, 2, 2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    // A token is bound to the uid of its account, so it isn't valid for a new account with the same name.
    let of_system = ["-n", SYSTEM];
    for verb in ["delete", "create"] {
        installed
            .world
            .kubectl(&[&of_system[..], &[verb, "serviceaccount", RELEASE]].concat());
    }
    belay
        .eventually("the API server refuses the operator's token", || async {
            belay.log().contains("Unauthorized")
        })
        .await;
    belay.abort(&upgrade, "while the token is invalid").await;
    write(&installed.kubeconfig().await);
    let rotated = Instant::now();
    let canceled = belay.is_canceled(&upgrade).await;
    assert!(rotated.elapsed() < RELOAD, "{:?}", rotated.elapsed());
    assert_eq!(canceled.error, None);
    belay.lock_is_free().await;
    guard.check(2, 2, 3);
    installed.continue_upgrade().await;
    let upgrades = belay.operations(OperationType::Upgrade, "demo").await;
    assert_eq!(upgrades.len(), 1);
    guard.check(1, 2, 3);
    belay.kill_operator();
    belay.check_history();
}
