//! The table of what is found, and what isn't.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{PersistentVolume, Pod},
    policy::v1::PodDisruptionBudget,
};
use serde_json::{Value, json};

use crate::lifecycle::{Finding, FindingKind, PoolGoal};

use super::{PoolPods, Seen, of_pods, of_room, of_versions};

use FindingKind::{
    BudgetAllowsNoneNow, BudgetNeverAllows, BudgetsOverlap, HostPath, NoController, NoRoom,
    VersionSkew, VolumeOnNode,
};

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

/// Returns a Ready pod of the Deployment `web`, changed by a JSON merge patch.
fn pod(name: &str, patch: &Value) -> Pod {
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "r", "controller": true});
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "team-a", "ownerReferences": [owner],
            "labels": {"app": "web", "pod-template-hash": "abc"}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "web"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    json_patch(&mut pod, patch);
    from(pod)
}

fn json_patch(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            for (key, value) in patch {
                json_patch(object.entry(key).or_insert(Value::Null), value);
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}

/// Returns a budget for `app=web` that has counted its pods: healthy, required, all, and how many may go.
fn budget(
    name: &str,
    spec: &Value,
    [healthy, least, all, allowed]: [i32; 4],
) -> PodDisruptionBudget {
    let mut budget = json!({
        "metadata": {"name": name, "namespace": "team-a", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"observedGeneration": 1, "currentHealthy": healthy, "desiredHealthy": least,
            "expectedPods": all, "disruptionsAllowed": allowed},
    });
    json_patch(&mut budget["spec"], spec);
    from(budget)
}

fn seen(pods: Vec<Pod>, budgets: Vec<PodDisruptionBudget>) -> Seen {
    Seen {
        pools: vec![PoolPods {
            pool: "np1".into(),
            pods,
        }],
        budgets: budgets.into_iter().map(Arc::new).collect(),
        volumes: Vec::new(),
    }
}

fn one(findings: &[Finding]) -> &Finding {
    let [one] = findings else {
        panic!("{findings:#?}")
    };
    one
}

fn not_ready() -> Value {
    json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
}

#[test]
fn a_budget_is_found_if_it_allows_no_eviction_now_or_ever() {
    let two = json!({"minAvailable": 2});
    let scale = "kubectl -n team-a scale deployment web --replicas=3";
    let edit = "kubectl -n team-a edit pdb web";
    let get = "kubectl -n team-a get pods -l app=web";
    for (spec, counts, found) in [
        (two.clone(), [3, 2, 3, 1], None),
        (two.clone(), [2, 2, 2, 0], Some((BudgetNeverAllows, scale))),
        (two.clone(), [1, 2, 1, 0], Some((BudgetNeverAllows, scale))),
        (two, [2, 2, 3, 0], Some((BudgetAllowsNoneNow, get))),
        (
            json!({"minAvailable": "100%"}),
            [2, 2, 2, 0],
            Some((BudgetNeverAllows, edit)),
        ),
        (
            json!({"maxUnavailable": 0}),
            [2, 2, 2, 0],
            Some((BudgetNeverAllows, edit)),
        ),
        (
            json!({"maxUnavailable": "0%"}),
            [2, 2, 2, 0],
            Some((BudgetNeverAllows, edit)),
        ),
        (
            json!({"maxUnavailable": 1}),
            [1, 1, 2, 0],
            Some((BudgetAllowsNoneNow, get)),
        ),
        (json!({"maxUnavailable": 1}), [2, 1, 2, 1], None),
    ] {
        let budgets = vec![budget("web", &spec, counts)];
        let findings = of_pods(&seen(vec![pod("web-0", &json!({}))], budgets));
        let is = findings.first().map(|it| (it.reason, it.help.as_str()));
        assert_eq!(is, found, "{spec} {counts:?}");
        assert!(findings.len() < 2);
    }
}

#[test]
fn a_budget_that_kubernetes_has_not_counted_or_can_not_count_is_found() {
    let web = || vec![pod("web-0", &json!({}))];
    let mut new = budget("web", &json!({"minAvailable": 1}), [2, 1, 2, 1]);
    new.metadata.generation = Some(2);
    let found = of_pods(&seen(web(), vec![new]));
    assert_eq!(one(&found).reason, BudgetAllowsNoneNow);
    let mut uncounted = budget("web", &json!({"maxUnavailable": 1}), [0, 0, 0, 0]);
    let condition = json!([{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed",
        "message": "found no controllers for pod \"web-0\"", "lastTransitionTime": "2026-11-24T21:11:29Z"}]);
    if let Some(status) = &mut uncounted.status {
        status.conditions = from(condition);
    }
    let found = of_pods(&seen(web(), vec![uncounted]));
    assert_eq!(one(&found).reason, BudgetNeverAllows);
    assert!(one(&found).message.contains("found no controllers"));
}

#[test]
fn one_finding_names_a_budget_and_its_pods() {
    let pods = (0..7).map(|number| pod(&format!("web-{number}"), &json!({})));
    let budget = budget("web", &json!({"minAvailable": 7}), [7, 7, 7, 0]);
    let found = of_pods(&seen(pods.collect(), vec![budget]));
    assert_eq!(
        one(&found).message,
        "PodDisruptionBudget team-a/web (minAvailable 7) requires 7 of 7 pods, so it never allows an eviction: 7 pods on the nodes of AgentPool np1 (team-a/web-0, team-a/web-1, team-a/web-2, team-a/web-3, team-a/web-4 and 2 more)"
    );
}

#[test]
fn pods_that_the_eviction_api_lets_go_do_not_wait_for_a_budget() {
    let blocking = || budget("web", &json!({"minAvailable": 2}), [2, 2, 2, 0]);
    let always = json!({"minAvailable": 2, "unhealthyPodEvictionPolicy": "AlwaysAllow"});
    let short = [1, 2, 2, 0];
    let cases = vec![
        ("a Ready pod", pod("a", &json!({})), blocking(), true),
        (
            "not Ready, enough healthy",
            pod("a", &not_ready()),
            blocking(),
            false,
        ),
        (
            "not Ready, too few healthy",
            pod("a", &not_ready()),
            budget("web", &json!({"minAvailable": 2}), short),
            true,
        ),
        (
            "not Ready, AlwaysAllow",
            pod("a", &not_ready()),
            budget("web", &always, short),
            false,
        ),
        (
            "Ready, AlwaysAllow",
            pod("a", &json!({})),
            budget("web", &always, short),
            true,
        ),
        (
            "Pending",
            pod("a", &json!({"status": {"phase": "Pending"}})),
            blocking(),
            false,
        ),
        (
            "completed",
            pod("a", &json!({"status": {"phase": "Succeeded"}})),
            blocking(),
            false,
        ),
        (
            "being deleted",
            pod(
                "a",
                &json!({"metadata": {"deletionTimestamp": "2026-11-24T21:11:29Z"}}),
            ),
            blocking(),
            false,
        ),
        (
            "of another app",
            pod("a", &json!({"metadata": {"labels": {"app": "db"}}})),
            blocking(),
            false,
        ),
        (
            "of another namespace",
            pod("a", &json!({"metadata": {"namespace": "team-b"}})),
            blocking(),
            false,
        ),
    ];
    for (what, pod, budget, is_found) in cases {
        let found = of_pods(&seen(vec![pod], vec![budget]));
        assert_eq!(!found.is_empty(), is_found, "{what}: {found:#?}");
    }
}

#[test]
fn a_budget_without_a_pod_on_a_drained_node_is_not_found() {
    let budget = budget("web", &json!({"maxUnavailable": 0}), [2, 2, 2, 0]);
    assert_eq!(of_pods(&seen(Vec::new(), vec![budget])), []);
}

#[test]
fn two_budgets_of_one_pod_are_found_together_whatever_they_allow() {
    let both = ["web", "all"].map(|name| budget(name, &json!({"minAvailable": 1}), [3, 1, 3, 2]));
    let found = of_pods(&seen(vec![pod("web-0", &json!({}))], both.into()));
    let found = one(&found);
    assert_eq!(found.reason, BudgetsOverlap);
    assert!(
        found
            .message
            .starts_with("PodDisruptionBudgets team-a/all and team-a/web select")
    );
    assert_eq!(found.help, "kubectl -n team-a get pdb all web");
}

#[test]
fn pods_without_a_controller_are_counted_without_those_that_stay_or_go_anyway() {
    let owned = |kind: &str| json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": "x", "uid": "x", "controller": true}]}});
    let bare = |patch: Value| {
        let mut patch = patch;
        json_patch(&mut patch, &json!({"metadata": {"ownerReferences": null}}));
        patch
    };
    let pods = vec![
        pod("b", &bare(json!({}))),
        pod("a", &bare(not_ready())),
        pod("pending", &bare(json!({"status": {"phase": "Pending"}}))),
        pod("of-daemon-set", &owned("DaemonSet")),
        pod("of-job", &owned("Job")),
        pod(
            "mirror",
            &bare(json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}})),
        ),
        pod("over", &bare(json!({"status": {"phase": "Failed"}}))),
        pod(
            "going",
            &bare(json!({"metadata": {"deletionTimestamp": "2026-11-24T21:11:29Z"}})),
        ),
    ];
    let found = of_pods(&seen(pods, Vec::new()));
    let found = one(&found);
    assert_eq!(found.reason, NoController);
    assert_eq!(
        found.message,
        "no controller makes these pods again: 3 pods on the nodes of AgentPool np1 (team-a/a, team-a/b, team-a/pending)"
    );
    assert_eq!(found.help, "kubectl -n team-a get pod a -o yaml");
}

#[test]
fn a_host_path_that_a_pod_may_write_to_is_found() {
    let with = |read_only: bool| {
        json!({"spec": {"volumes": [{"name": "data", "hostPath": {"path": "/data"}}],
            "containers": [{"name": "web", "volumeMounts": [{"name": "data", "mountPath": "/d", "readOnly": read_only}]}]}})
    };
    let found = of_pods(&seen(
        vec![pod("db-0", &with(false)), pod("log", &with(true))],
        Vec::new(),
    ));
    assert_eq!(one(&found).reason, HostPath);
    assert!(
        one(&found)
            .message
            .ends_with("1 pod on the nodes of AgentPool np1 (team-a/db-0)")
    );
}

#[test]
fn a_volume_that_exists_on_one_node_only_is_found() {
    let claim = json!({"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]}});
    let volume = |name: &str, namespace: &str, spec: Value| -> PersistentVolume {
        let mut volume = json!({"metadata": {"name": name},
            "spec": {"claimRef": {"namespace": namespace, "name": "data-db-0"}}});
        json_patch(&mut volume["spec"], &spec);
        from(volume)
    };
    let local = json!({"local": {"path": "/disks/1"}});
    let on_host = json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions":
        [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}]}]}}});
    for (namespace, spec, is_found) in [
        ("team-a", local.clone(), true),
        ("team-a", on_host, true),
        (
            "team-a",
            json!({"csi": {"driver": "x", "volumeHandle": "x"}}),
            false,
        ),
        ("team-b", local, false),
    ] {
        let mut seen = seen(vec![pod("db-0", &claim)], Vec::new());
        seen.volumes = vec![volume("pv-1", namespace, spec)];
        let found = of_pods(&seen);
        assert_eq!(found.len(), usize::from(is_found), "{found:#?}");
        assert!(found.iter().all(|it| it.reason == VolumeOnNode
            && it.message.starts_with(
                "PersistentVolume pv-1 of pod team-a/db-0 exists only on node node-1"
            )));
    }
}

#[test]
fn room_is_missing_if_the_surge_goes_beyond_the_quota() {
    let room = |most, quota| of_room(("team-a", "demo"), most, quota);
    assert_eq!(room(4, None), None);
    assert_eq!(room(4, Some(4)), None);
    let found = room(4, Some(3)).expect("a finding");
    assert_eq!(found.reason, NoRoom);
    assert!(
        found
            .help
            .ends_with(r#"-p '{"spec":{"provider":{"kwok":{"maxNodes":4}}}}'"#)
    );
}

#[test]
fn a_pool_is_found_if_it_is_too_old_or_too_new_for_its_control_plane() {
    let text = r#"{"pool":"np1","node_prefix":"np1","count":2,"version":"1.34.2"}"#;
    let goal: PoolGoal = serde_json::from_str(text).expect("a goal");
    let nodes = [goal.node("a".into())];
    for (control_plane, found) in [
        ("1.37.0", None),
        ("1.34.2", None),
        ("1.38.0", Some("more than three minor versions older than")),
        ("1.33.4", Some("newer than")),
    ] {
        let version = control_plane.parse().expect("a version");
        let findings = of_versions("team-a", version, [("np1", &nodes[..])]);
        assert_eq!(findings.len(), usize::from(found.is_some()));
        for finding in &findings {
            assert_eq!(finding.reason, VersionSkew);
            assert!(
                finding.message.contains(found.unwrap_or_default()),
                "{}",
                finding.message
            );
        }
    }
}
