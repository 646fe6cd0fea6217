//! Network faults for the operator: a proxy between it and the API server delays, refuses or loses single requests, and
//! ends watches.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::State,
    http::{Method, Request, Response, StatusCode, Uri},
};
use futures::{StreamExt as _, future};
use kube::{Client, client::Body as KubeBody};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use super::belay::{Belay, World};

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The proxy sends it after this time, even if the client no longer waits for the answer.
    Delay(Duration),
    /// The proxy doesn't send it, and gives this answer.
    Answer(u16, Value),
}

/// The requests that get a fault.
#[derive(Clone, Debug)]
struct Rule {
    method: Method,
    /// A text that the path contains.
    path: String,
    /// A text that the body contains.
    body: String,
    fault: Fault,
    /// How many more requests get it.
    times: usize,
}

/// A request that got a fault, and its final answer.
#[derive(Clone, Debug)]
pub struct FaultedRequest {
    pub path: String,
    pub status: Option<u16>,
}

/// A proxy of the API server.
pub struct Proxy {
    client: Client,
    rules: Mutex<Vec<Rule>>,
    faulted: Mutex<Vec<FaultedRequest>>,
    /// The methods and paths of all writes.
    writes: Mutex<Vec<String>>,
    cuts: watch::Sender<(u64, String)>,
    pub kubeconfig: PathBuf,
    _folder: tempfile::TempDir,
}

impl Proxy {
    /// Starts a proxy in front of a world's API server.
    pub async fn start(world: &World) -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "users": [{"name": "proxy", "user": {}}]});
        std::fs::write(&kubeconfig, config.to_string()).expect("written");
        let this = Arc::new(Self {
            client: world.client().await,
            rules: Mutex::default(),
            faulted: Mutex::default(),
            writes: Mutex::default(),
            cuts: watch::channel((0, String::new())).0,
            kubeconfig,
            _folder: folder,
        });
        let router = Router::new().fallback(forward).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    /// From now on, this many requests with this method get a fault if their path and body contain these texts.
    pub fn add_fault(&self, method: Method, path: &str, body: &str, fault: Fault, times: usize) {
        self.rules.lock().expect("rules").push(Rule {
            method,
            path: path.to_owned(),
            body: body.to_owned(),
            fault,
            times,
        });
    }

    /// Ends all faults.
    pub fn remove_faults(&self) {
        self.rules.lock().expect("rules").clear();
    }

    /// Returns the requests that got a fault.
    pub fn faulted_requests(&self) -> Vec<FaultedRequest> {
        self.faulted.lock().expect("requests").clone()
    }

    /// Returns the methods and paths of all requested writes.
    pub fn writes(&self) -> Vec<String> {
        self.writes.lock().expect("writes").clone()
    }

    /// Ends all watches of a resource.
    pub fn cut_watches(&self, resource: &str) {
        self.cuts.send_modify(|(count, of)| {
            *count += 1;
            resource.clone_into(of);
        });
    }

    fn fault_of(&self, method: &Method, uri: &Uri, body: &Bytes) -> Option<Fault> {
        let body = String::from_utf8_lossy(body);
        let mut rules = self.rules.lock().expect("rules");
        let rule = rules.iter_mut().find(|rule| {
            rule.times > 0
                && rule.method == *method
                && uri.to_string().contains(&rule.path)
                && body.contains(&rule.body)
        })?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }

    async fn send(&self, request: Request<Bytes>) -> Response<Body> {
        match self.client.send(request.map(KubeBody::from)).await {
            Ok(answer) => answer.map(Body::new),
            Err(error) => answer(502, &json!({"message": error.to_string()})),
        }
    }

    /// Returns a watch's answer that ends when [`Proxy::cut_watches`] names its resource.
    fn cuttable(&self, uri: &Uri, response: Response<Body>) -> Response<Body> {
        let mut cuts = self.cuts.subscribe();
        let path = uri.path().to_owned();
        let cut = async move {
            loop {
                if cuts.changed().await.is_err() {
                    future::pending::<()>().await;
                }
                if path.contains(&cuts.borrow().1) {
                    return;
                }
            }
        };
        response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(cut))))
    }
}

async fn forward(State(proxy): State<Arc<Proxy>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    if parts.method != Method::GET {
        let write = format!("{} {}", parts.method, parts.uri.path());
        proxy.writes.lock().expect("writes").push(write);
    }
    let fault = proxy.fault_of(&parts.method, &parts.uri, &body);
    let mut onward = Request::builder()
        .method(parts.method.clone())
        .uri(parts.uri.path_and_query().expect("a path").as_str());
    for name in ["content-type", "accept", "user-agent"] {
        if let Some(value) = parts.headers.get(name) {
            onward = onward.header(name, value);
        }
    }
    let onward = onward.body(body).expect("a request");
    let path = parts.uri.to_string();
    match fault {
        None => {
            let response = proxy.send(onward).await;
            if path.contains("watch=true") {
                return proxy.cuttable(&parts.uri, response);
            }
            response
        }
        Some(Fault::Answer(code, body)) => {
            proxy.record(path, Some(code));
            answer(code, &body)
        }
        Some(Fault::Delay(time)) => {
            let number = proxy.record(path, None);
            // It is sent in any case: the client cannot withdraw it.
            let sent = tokio::spawn(async move {
                tokio::time::sleep(time).await;
                let response = proxy.send(onward).await;
                proxy.faulted.lock().expect("requests")[number].status =
                    Some(response.status().as_u16());
                response
            });
            sent.await.expect("sent")
        }
    }
}

impl Proxy {
    fn record(&self, path: String, status: Option<u16>) -> usize {
        let mut faulted = self.faulted.lock().expect("requests");
        faulted.push(FaultedRequest { path, status });
        faulted.len() - 1
    }
}

fn answer(code: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).expect("a status");
    let json = "application/json".parse().expect("a header");
    response.headers_mut().insert("content-type", json);
    response
}

/// Returns the API server's answer to a request that it refuses.
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
        "reason": reason, "message": message})
}

impl Belay {
    /// Creates a namespace, and starts an operator that reaches the API server through a proxy.
    pub async fn start_behind_proxy(world: &Arc<World>) -> (Arc<Self>, Arc<Proxy>) {
        let this = Self::start_without_operator(world).await;
        let proxy = Proxy::start(world).await;
        let kubeconfig = proxy.kubeconfig.display().to_string();
        this.start_operator_with(&[("KUBECONFIG", &kubeconfig)]);
        (this, proxy)
    }

    /// Waits until a request that got a fault has its answer. Returns the answer's status code.
    pub async fn was_answered(&self, proxy: &Proxy, path: &str) -> u16 {
        let of_path = || {
            proxy
                .faulted_requests()
                .into_iter()
                .find(|request| request.path.contains(path))
        };
        self.eventually(&format!("the request {path} is answered"), || async {
            of_path().is_some_and(|request| request.status.is_some())
        })
        .await;
        of_path()
            .and_then(|request| request.status)
            .expect("a status")
    }
}
