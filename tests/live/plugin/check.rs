//! `kubectl belay check` and `kubectl belay plan` list what would be in the way of an upgrade.

use std::sync::Arc;

use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World},
    plugin::{run, run_with, text},
};

/// Returns the kubeconfig of a user who may see Belay's objects and nodes, and nothing else.
fn kubeconfig_of_viewer(belay: &Belay, folder: &tempfile::TempDir) -> String {
    let user = format!("{}-viewer", belay.namespace);
    let objects = "managedclusters,agentpools,operations,kwokcontrolplanes";
    belay.allow(&user, &[&format!("get,list on {objects}")]);
    belay.kubectl(&[
        "create",
        "clusterrole",
        &user,
        "--verb=list",
        "--resource=nodes",
    ]);
    let (role, subject) = (format!("--clusterrole={user}"), format!("--user={user}"));
    belay.kubectl(&["create", "clusterrolebinding", &user, &role, &subject]);
    let mut kubeconfig = Kubeconfig::read_from(&belay.world.kubeconfig).expect("a kubeconfig");
    for named in &mut kubeconfig.auth_infos {
        if let Some(auth) = &mut named.auth_info {
            auth.impersonate = Some(user.clone());
        }
    }
    let file = folder.path().join("kubeconfig");
    let written = serde_json::to_string(&kubeconfig).expect("JSON");
    std::fs::write(&file, written).expect("written");
    file.display().to_string()
}

/// Returns the reasons of the findings, and all messages.
fn findings(preflight: &Value) -> (Vec<String>, String) {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = preflight["findings"].as_array().expect("findings").iter();
    let reasons = findings.clone().map(|finding| word(&finding["reason"]));
    let messages: Vec<String> = findings.map(|finding| word(&finding["message"])).collect();
    (reasons.collect(), messages.join("\n"))
}

pub async fn a_plan_and_a_check_list_what_would_be_in_the_way(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.guarded_pools(0).await;
    let budget = |name: &str| format!("PodDisruptionBudget {}/{name} ", belay.namespace);
    let both = ["BudgetNeverAllows", "NoController"].map(ToOwned::to_owned);

    let spec = json!({"kubernetesVersion": "1.36.3", "provider": {"kwok": {"nodeProvisioningTime": "0ms"}}});
    let cluster = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "ManagedCluster",
        "metadata": {"name": "demo"}, "spec": spec});
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("demo.yaml");
    std::fs::write(&file, cluster.to_string()).expect("written");
    let file = file.display().to_string();
    let plan = run(&belay, &["plan", "-f", &file, "-o", "json"]).await;
    assert_eq!(plan.status.code(), Some(0), "warnings aren't errors");
    let plan: Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    let (reasons, messages) = findings(&plan["clusters"][0]["preflight"]);
    assert_eq!(reasons, both);
    assert!(messages.contains(&budget("web")) && !messages.contains(&budget("db")));
    let shown = text(&run(&belay, &["plan", "-f", &file]).await.stdout);
    assert!(shown.contains("What will be in the way:"), "{shown}");
    let help = format!("kubectl -n {} edit pdb web", belay.namespace);
    assert!(shown.contains(&help), "{shown}");

    let check = run(&belay, &["check", "demo", "-o", "json"]).await;
    assert_eq!(check.status.code(), Some(0), "warnings aren't errors");
    let check: Value = serde_json::from_slice(&check.stdout).expect("JSON");
    let (reasons, messages) = findings(&check[0]);
    let [never, bare] = &both;
    assert_eq!(reasons, [never, never, bare, bare].map(Clone::clone));
    assert!(messages.contains(&budget("web")) && messages.contains(&budget("db")));
    let shown = text(&run(&belay, &["check"]).await.stdout);
    assert!(
        shown.starts_with("ManagedCluster demo: 4 findings"),
        "{shown}"
    );
}

pub async fn a_check_names_what_its_user_may_not_read_and_what_has_no_room(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let kwok = json!({"nodeProvisioningTime": "0ms", "maxNodes": 2});
    belay
        .create_cluster_with(json!({"provider": {"kwok": kwok}}))
        .await;
    belay.create_pool("np1", 2).await;
    belay.pool_is_ready("np1").await;
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = kubeconfig_of_viewer(&belay, &folder);
    let environment = [("KUBECONFIG", kubeconfig)];
    let check = run_with(&belay, &["check", "demo"], &environment).await;
    let shown = text(&check.stdout);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    assert!(
        shown.contains("Not looked at: the pods: pods is forbidden"),
        "{shown}"
    );
    assert!(shown.contains("needs room for 3 nodes"), "{shown}");
    assert!(shown.contains(r#"{"kwok":{"maxNodes":3}}"#), "{shown}");
}
