//! Who asks the fake.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testenv::clouds::{
    FakeAws,
    aws::{ACCESS_KEY, Nodegroup, REGION, SECRET_KEY},
};

use crate::{
    common::{Http, Response},
    signer::Signer,
};

/// A fake, and who asks it.
pub struct Client {
    pub aws: FakeAws,
    pub http: Http,
    pub signer: Signer,
}

impl Client {
    /// A fake with a cluster `demo` of the nodegroups `np1` and `np2`, and who has the long-lived key there.
    pub async fn start() -> Self {
        Self::start_with(false).await
    }

    /// The same, where `demo` is a cluster of EKS Auto Mode without nodegroups.
    pub async fn start_auto() -> Self {
        Self::start_with(true).await
    }

    async fn start_with(is_auto: bool) -> Self {
        let aws = FakeAws::start().await.expect("a fake");
        let nodegroups = ["np1", "np2"].map(|name| Nodegroup { name, size: 3 });
        let nodegroups = if is_auto { &[] } else { &nodegroups[..] };
        aws.create("demo", "1.33", is_auto, nodegroups);
        aws.takes(Duration::from_millis(50), Duration::from_millis(20));
        let http = Http::new(aws.url(), aws.authority());
        let signer = Signer {
            key: ACCESS_KEY.into(),
            secret: SECRET_KEY.into(),
            token: None,
            region: REGION,
            service: "eks",
            skew: 0,
        };
        Self { aws, http, signer }
    }

    pub async fn send(&self, method: Method, path: &str, body: Value) -> Response {
        self.send_as(&self.signer, method, path, body).await
    }

    pub async fn send_as(&self, by: &Signer, method: Method, path: &str, body: Value) -> Response {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let host = self.aws.url().trim_start_matches("https://");
        let headers = by.headers(&method, host, path, &body);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.http.ask(method, path, &headers, body).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Response {
        self.send(Method::POST, path, body).await
    }

    pub async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, Value::Null).await.body
    }

    /// Begins a rollback of `demo`, which is held. Its path.
    pub async fn roll_back(&self) -> String {
        self.aws.hold("demo", true);
        let back = json!({"version": "1.32", "rollbackConfig": {"timeoutMinutes": 120}});
        let begun = self.post("/clusters/demo/updates", back).await.body;
        assert_eq!(begun["update"]["type"], "VersionRollback");
        path_of(&begun)
    }

    /// Waits until an update has ended.
    pub async fn until_over(&self, path: &str) -> Value {
        loop {
            let update = self.get(path).await["update"].take();
            assert!(update.is_object(), "no update at {path}");
            if update["status"] != "InProgress" {
                return update;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The status and the code of a refusal.
pub fn code(answer: &Response) -> (u16, String) {
    (
        answer.status.as_u16(),
        answer.header("x-amzn-errortype").to_owned(),
    )
}

/// The path of an update that has begun.
pub fn path_of(begun: &Value) -> String {
    let id = begun["update"]["id"].as_str().expect("an id");
    format!("/clusters/demo/updates/{id}")
}
