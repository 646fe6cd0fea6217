//! The fake of AWS answers as EKS's API is published, and refuses what EKS refuses.

#[path = "aws/access.rs"]
mod access;
#[path = "aws/client.rs"]
mod client;
mod common;
#[path = "aws/signer.rs"]
mod signer;

use std::time::Duration;

use client::{Client, code, path_of};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use testenv::clouds::{Outage, aws::ROLE};

#[tokio::test]
async fn a_resource_shows_its_old_version_until_its_update_succeeds() {
    let client = Client::start().await;
    client.aws.hold("demo", true);
    let body = json!({"version": "1.34", "clientRequestToken": "t1"});
    let begun = client
        .post("/clusters/demo/updates", body.clone())
        .await
        .body;
    assert_eq!(begun["update"]["type"], "VersionUpdate");
    let cluster = client.get("/clusters/demo").await["cluster"].take();
    assert_eq!(
        (&cluster["version"], &cluster["status"]),
        (&json!("1.33"), &json!("UPDATING"))
    );
    // The same request begins nothing new, and another one may not have its token.
    let again = client.post("/clusters/demo/updates", body).await.body;
    assert_eq!(again["update"]["id"], begun["update"]["id"]);
    let other = json!({"version": "1.32", "clientRequestToken": "t1"});
    let refused = client.post("/clusters/demo/updates", other).await;
    assert_eq!(code(&refused), (400, "InvalidParameterException".into()));
    client.aws.hold("demo", false);
    let update = client.until_over(&path_of(&begun)).await;
    assert_eq!(update["status"], "Successful");
    let cluster = client.aws.cluster("demo");
    assert_eq!(
        (&cluster["version"], &cluster["status"]),
        (&json!("1.34"), &json!("ACTIVE"))
    );
}

#[tokio::test]
async fn a_cluster_and_its_nodegroups_are_not_updated_at_the_same_time() {
    let client = Client::start().await;
    client.aws.hold("np1", true);
    let config = json!({"scalingConfig": {"desiredSize": 4}});
    let np1 = "/clusters/demo/node-groups/np1";
    let begun = client
        .post(&format!("{np1}/update-config"), config.clone())
        .await;
    assert_eq!(begun.status, StatusCode::OK);
    let in_use = (409, "ResourceInUseException".to_owned());
    let refused = client
        .post(&format!("{np1}/update-version"), json!({}))
        .await;
    assert_eq!(code(&refused), in_use);
    assert_eq!(refused.body["nodegroupName"], "np1");
    let refused = client
        .post("/clusters/demo/updates", json!({"version": "1.34"}))
        .await;
    assert_eq!(code(&refused), in_use);
    let np2 = "/clusters/demo/node-groups/np2/update-config";
    let begun = client.post(np2, config).await.body;
    let path = format!("{}?nodegroupName=np2", path_of(&begun));
    client.until_over(&path).await;
    client.aws.hold("np1", false);
}

#[tokio::test]
async fn only_a_rollback_whose_nodes_roll_back_is_cancelled() {
    let client = Client::start_auto().await;
    let path = client.roll_back().await;
    // Only the control plane's own rollback has the cluster UPDATING.
    assert_eq!(client.aws.cluster("demo")["status"], "ACTIVE");
    let up = json!({"version": "1.34"});
    let refused = client.post("/clusters/demo/updates", up).await;
    assert_eq!(code(&refused), (409, "ResourceInUseException".into()));
    let cancel = format!("{path}/cancel-update");
    let answer = client.post(&cancel, json!({})).await.body;
    assert_eq!(answer["update"]["cancellation"]["status"], "InProgress");
    let update = client.until_over(&path).await;
    assert_eq!(update["status"], "Cancelled");
    assert_eq!(update["cancellation"]["status"], "Successful");
    assert_eq!(client.aws.cluster("demo")["version"], "1.33");
    let refused = client.post(&cancel, json!({})).await;
    assert_eq!(code(&refused), (400, "InvalidRequestException".into()));
    // An update of a nodegroup has no such request.
    let client = Client::start().await;
    let body = json!({"labels": {"addOrUpdateLabels": {"a": "b"}}});
    let asked = "demo/node-groups/np1/update-config";
    let begun = client.aws.somebody_asks(asked, &body);
    let cancel = format!("{}/cancel-update", path_of(&begun));
    let refused = client.post(&cancel, json!({})).await;
    assert_eq!(code(&refused), (404, "ResourceNotFoundException".into()));
}

#[tokio::test]
async fn a_rollback_that_is_cancelled_too_late_goes_on() {
    let client = Client::start_auto().await;
    let update = Duration::from_millis(50);
    client.aws.takes(update, Duration::from_mins(1));
    let path = client.roll_back().await;
    let cancel = format!("{path}/cancel-update");
    client.post(&cancel, json!({})).await;
    client.aws.nodes_are_back("demo");
    assert_eq!(client.aws.cluster("demo")["status"], "UPDATING");
    let refused = client.post(&cancel, json!({})).await;
    assert_eq!(code(&refused), (400, "InvalidRequestException".into()));
    client.aws.hold("demo", false);
    let update = client.until_over(&path).await;
    assert_eq!(update["status"], "Successful");
    assert_eq!(update["cancellation"]["status"], "Failed");
    assert_eq!(client.aws.cluster("demo")["version"], "1.32");
}

#[tokio::test]
async fn what_eks_does_not_take_is_refused() {
    let client = Client::start().await;
    let taint = json!({"key": "a", "effect": "NoSchedule"});
    let (cluster, np1) = ("updates", "node-groups/np1/update-version");
    let (config, np3) = (
        "node-groups/np1/update-config",
        "node-groups/np3/update-config",
    );
    for (kind, path, body) in [
        ("Parameter", cluster, json!({"version": "1.33"})),
        ("Parameter", cluster, json!({"version": "1.35"})),
        ("State", cluster, json!({"version": "1.32"})),
        ("Serialization", cluster, json!({"release": "1.34"})),
        ("Parameter", np1, json!({"version": "1.34"})),
        ("Parameter", np1, json!({"releaseVersion": "1.32.4-1"})),
        (
            "Parameter",
            config,
            json!({"scalingConfig": {"minSize": 4}}),
        ),
        (
            "Parameter",
            config,
            json!({"scalingConfig": {"maxSize": 2}}),
        ),
        (
            "Parameter",
            config,
            json!({"updateConfig": {"maxUnavailable": 0}}),
        ),
        (
            "Serialization",
            config,
            json!({"taints": {"addOrUpdateTaints": [taint]}}),
        ),
        ("ResourceNotFound", np3, json!({})),
    ] {
        let path = format!("/clusters/demo/{path}");
        let answer = client.post(&path, body.clone()).await;
        let (status, code) = code(&answer);
        assert!((400..405).contains(&status), "{status}: {path} {body}");
        assert!(code.contains(kind), "{code}: {path} {body}");
    }
    let forced = json!({"version": "1.32", "force": true});
    let forced = client.aws.somebody_asks("demo/updates", &forced);
    assert_eq!(forced["update"]["status"], "InProgress");
}

#[tokio::test]
async fn labels_and_taints_are_added_and_removed_and_updates_are_listed_by_the_page() {
    let client = Client::start().await;
    let np1 = "/clusters/demo/node-groups/np1/update-config";
    let taint = |key: &str| json!({"key": key, "value": "v", "effect": "NO_EXECUTE"});
    let mut ids = Vec::new();
    for body in [
        json!({"labels": {"addOrUpdateLabels": {"a": "1", "b": "2"}}, "taints": {"addOrUpdateTaints": [taint("a"), taint("b")]}}),
        json!({"labels": {"removeLabels": ["a"]}, "taints": {"removeTaints": [taint("a")]}}),
        json!({"taints": {"removeTaints": [taint("b")]}, "updateConfig": {"maxUnavailablePercentage": 20}}),
    ] {
        let begun = client.post(np1, body).await.body;
        let path = format!("{}?nodegroupName=np1", path_of(&begun));
        ids.push(client.until_over(&path).await["id"].take());
    }
    let nodegroup = client.aws.nodegroup("demo", "np1");
    assert_eq!(nodegroup["labels"], json!({"b": "2"}));
    assert_eq!(nodegroup.get("taints"), None);
    let pace = json!({"maxUnavailablePercentage": 20});
    assert_eq!(nodegroup["updateConfig"], pace);
    let path = "/clusters/demo/updates?nodegroupName=np1";
    let first = client.get(&format!("{path}&maxResults=2")).await;
    let next = first["nextToken"].as_str().expect("a token");
    let rest = client.get(&format!("{path}&nextToken={next}")).await;
    let listed = |page: &Value| page["updateIds"].as_array().expect("ids").clone();
    let listed = [listed(&first), listed(&rest)].concat();
    assert!(listed.len() == 3 && ids.iter().all(|id| listed.contains(id)));
}

#[tokio::test]
async fn an_update_fails_with_an_error_and_one_that_is_forgotten_goes_on() {
    let client = Client::start().await;
    let size = || client.aws.nodegroup("demo", "np1")["scalingConfig"]["desiredSize"].take();
    let (code_of_failure, message) = ("PodEvictionFailure", "Reached max retries");
    client.aws.fail_next("np1", code_of_failure, message);
    let asked = "demo/node-groups/np1/update-config";
    let grow = json!({"scalingConfig": {"desiredSize": 5}});
    let begun = client.aws.somebody_asks(asked, &grow);
    let path = format!("{}?nodegroupName=np1", path_of(&begun));
    let update = client.until_over(&path).await;
    assert_eq!(update["errors"][0]["errorCode"], code_of_failure);
    assert_eq!(size(), 3);
    client.aws.somebody_asks(asked, &grow);
    client.aws.forget_updates();
    let forgotten = client.send(Method::GET, &path, Value::Null).await;
    assert_eq!(code(&forgotten), (404, "ResourceNotFoundException".into()));
    while size() != 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_deleted_nodegroup_is_gone_after_its_time_and_an_outage_is_one_of_eks_alone() {
    let client = Client::start().await;
    let path = "/clusters/demo/node-groups/np2";
    let deleted = client.send(Method::DELETE, path, Value::Null).await.body;
    assert_eq!(deleted["nodegroup"]["status"], "DELETING");
    while !client.aws.nodegroup("demo", "np2").is_null() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.aws.fails(Some(Outage::Status(500, Some(7))));
    let refused = client.send(Method::GET, path, Value::Null).await;
    assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(client.assume(ROLE).await.status, StatusCode::OK);
}
