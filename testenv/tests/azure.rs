//! The fake of Azure answers as azure-cli's recordings of real AKS have it.

mod common;

use std::time::Duration;

use common::{Http, Response};
use http::{Method, StatusCode, header::AUTHORIZATION};
use serde_json::{Value, json};
use testenv::clouds::{
    FakeAzure, Outage,
    azure::{CLIENT, PREVIEW, Pool, SECRET, STABLE, SUBSCRIPTION, TENANT},
};

struct Client {
    azure: FakeAzure,
    http: Http,
    token: String,
}

impl Client {
    /// A fake with a cluster `demo` of a System and a User pool, and who is logged in there.
    async fn start() -> Self {
        let azure = FakeAzure::start().await.expect("a fake");
        let pool = |name, mode| Pool {
            name,
            count: 3,
            mode,
        };
        let pools = [pool("sys", "System"), pool("np1", "User")];
        azure.create("rg1", "demo", "1.35.7", &pools);
        azure.takes(Duration::from_millis(100), Duration::from_millis(50));
        let http = Http::new(azure.url(), azure.authority());
        let mut client = Self {
            azure,
            http,
            token: String::new(),
        };
        client.log_in().await;
        client
    }

    async fn log_in(&mut self) {
        let answer = self.ask_for_token(SECRET).await;
        let token = answer.body["access_token"].as_str().expect("a token");
        token.clone_into(&mut self.token);
    }

    async fn ask_for_token(&self, secret: &str) -> Response {
        let url = format!("{}/{TENANT}/oauth2/v2.0/token", self.azure.url());
        let scope = format!("{}/.default", self.azure.url());
        let login = format!(
            "grant_type=client_credentials&client_id={CLIENT}&client_secret={secret}&scope={scope}"
        );
        let form = ("content-type", "application/x-www-form-urlencoded");
        self.ask(Method::POST, &url, &[form], login).await
    }

    async fn send(&self, method: Method, url: &str, body: Option<&Value>) -> Response {
        let json = ("content-type", "application/json");
        let body = body.map(Value::to_string).unwrap_or_default();
        self.ask(method, url, &[json], body).await
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Response {
        // The client has the host.
        let path = url.trim_start_matches(self.azure.url());
        let token = format!("Bearer {}", self.token);
        let mut all = vec![(AUTHORIZATION.as_str(), token.as_str())];
        all.extend(headers);
        self.http.ask(method, path, &all, body).await
    }

    fn url(&self, rest: &str, version: &str) -> String {
        let cluster = "providers/Microsoft.ContainerService/managedClusters/demo";
        let azure = self.azure.url();
        format!(
            "{azure}/subscriptions/{SUBSCRIPTION}/resourceGroups/rg1/{cluster}{rest}?api-version={version}"
        )
    }

    async fn get(&self, rest: &str) -> Value {
        let url = self.url(rest, STABLE);
        self.send(Method::GET, &url, None).await.body
    }

    async fn put(&self, rest: &str, body: &Value) -> Response {
        self.send(Method::PUT, &self.url(rest, STABLE), Some(body))
            .await
    }

    /// Asks for a version of the pool `np1`.
    async fn upgrade(&self) -> Response {
        let cluster = self.get("").await;
        let mut cluster_up = cluster.clone();
        cluster_up["properties"]["kubernetesVersion"] = json!("1.36.3");
        self.put("", &cluster_up).await;
        self.until("", "Succeeded").await;
        self.azure.hold("np1", true);
        let mut pool = self.get("/agentPools/np1").await;
        pool["properties"]["orchestratorVersion"] = json!("1.36.3");
        self.put("/agentPools/np1", &pool).await
    }

    async fn until(&self, rest: &str, state: &str) -> Value {
        loop {
            let resource = self.get(rest).await;
            if resource["properties"]["provisioningState"] == state {
                return resource;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn code(answer: &Response) -> (StatusCode, String) {
    let code = answer.body["error"]["code"].as_str().unwrap_or_default();
    (answer.status, code.to_owned())
}

#[tokio::test]
async fn the_operation_of_an_abort_succeeds_and_its_resource_is_canceled() {
    let client = Client::start().await;
    assert_eq!(client.upgrade().await.status, StatusCode::OK);
    let abort = client.url("/agentPools/np1/abort", STABLE);
    let answer = client.send(Method::POST, &abort, None).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let operation = answer.header("azure-asyncoperation").to_owned();
    let result = answer.header("location").to_owned();
    let body = answer.body;
    assert_eq!(body["properties"]["provisioningState"], "Upgrading");
    let pool = client.until("/agentPools/np1", "Canceled").await;
    assert_eq!(pool["properties"]["currentOrchestratorVersion"], "1.35.7");
    let answer = client.send(Method::GET, &operation, None).await;
    let shown = answer.body;
    assert_eq!(shown["status"], "Succeeded");
    let answer = client.send(Method::GET, &result, None).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let latest = client.url("/agentPools/np1/operations/latest", PREVIEW);
    let answer = client.send(Method::GET, &latest, None).await;
    let shown = answer.body;
    assert_eq!(shown["status"], "Canceled");
    // Nothing is left to abort.
    let answer = client.send(Method::POST, &abort, None).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn an_operation_excludes_others_on_its_cluster_but_not_on_other_pools() {
    let client = Client::start().await;
    client.upgrade().await;
    let mut cluster = client.get("").await;
    cluster["tags"]["owner"] = json!("others");
    let refused = code(&client.put("", &cluster).await);
    assert_eq!(
        refused,
        (StatusCode::CONFLICT, "OperationNotAllowed".into())
    );
    let mut other = client.get("/agentPools/sys").await;
    other["properties"]["count"] = json!(4);
    let answer = client.put("/agentPools/sys", &other).await;
    assert_eq!(answer.status, StatusCode::OK);
    client.until("/agentPools/sys", "Succeeded").await;
    client.azure.hold("np1", false);
    let pool = client.until("/agentPools/np1", "Succeeded").await;
    assert_eq!(pool["properties"]["currentOrchestratorVersion"], "1.36.3");
}

#[tokio::test]
async fn what_a_put_leaves_out_is_gone_and_an_older_tag_is_refused() {
    let client = Client::start().await;
    let mut pool = client.get("/agentPools/np1").await;
    let tag = pool["properties"]["eTag"]
        .as_str()
        .expect("a tag")
        .to_owned();
    let properties = pool["properties"].as_object_mut().expect("properties");
    properties.remove("maxPods");
    client.put("/agentPools/np1", &pool).await;
    let after = client.until("/agentPools/np1", "Succeeded").await;
    assert_eq!(after["properties"]["maxPods"], Value::Null);
    let url = client.url("/agentPools/np1", STABLE);
    let headers = [
        ("content-type", "application/json"),
        ("if-match", tag.as_str()),
    ];
    let answer = client
        .ask(Method::PUT, &url, &headers, after.to_string())
        .await;
    assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn only_what_is_signed_authorized_and_of_a_known_version_is_answered() {
    let mut client = Client::start().await;
    let answer = client.upgrade().await;
    let operation = answer.header("azure-asyncoperation").to_owned();
    let (unsigned, _) = operation.split_once("&t=").expect("a signature");
    let refused = client.send(Method::GET, unsigned, None).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let old = client.url("", "2020-01-01");
    let refused = code(&client.send(Method::GET, &old, None).await);
    let unknown = "NoRegisteredProviderFound".to_owned();
    assert_eq!(refused, (StatusCode::BAD_REQUEST, unknown));
    client.azure.expire_tokens();
    let now = client.url("", STABLE);
    let refused = client.send(Method::GET, &now, None).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let refused = client.ask_for_token("wrong").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    client.log_in().await;
    client.azure.fails(Some(Outage::Status(500, Some(7))));
    let refused = client.send(Method::GET, &now, None).await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (StatusCode::INTERNAL_SERVER_ERROR, "7")
    );
    client.azure.fails(None);
    let answered = client.send(Method::GET, &now, None).await;
    assert_eq!(answered.status, StatusCode::OK);
    let last = client.azure.exchanges().pop().expect("an exchange");
    assert_eq!((last.method.as_str(), last.status), ("GET", 200));
}

#[tokio::test]
async fn a_stopped_cluster_and_its_pools_show_that_they_are_off() {
    let client = Client::start().await;
    let stop = client.url("/stop", STABLE);
    let answer = client.send(Method::POST, &stop, None).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let cluster = client.until("", "Succeeded").await;
    let properties = &cluster["properties"];
    assert_eq!(properties["powerState"]["code"], "Stopped");
    let profiles = properties["agentPoolProfiles"].as_array().expect("pools");
    assert!(
        profiles
            .iter()
            .all(|pool| pool["powerState"]["code"] == "Stopped")
    );
}

#[tokio::test]
async fn an_aborted_scale_keeps_the_nodes_that_were_made() {
    let client = Client::start().await;
    client.azure.takes(Duration::from_secs(1), Duration::ZERO);
    let mut pool = client.get("/agentPools/np1").await;
    pool["properties"]["count"] = json!(103);
    client.put("/agentPools/np1", &pool).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.azure.hold("np1", true);
    let abort = client.url("/agentPools/np1/abort", STABLE);
    client.send(Method::POST, &abort, None).await;
    let pool = client.until("/agentPools/np1", "Canceled").await;
    let count = pool["properties"]["count"].as_u64().expect("a count");
    assert!((3..103).contains(&count), "{count}");
}
