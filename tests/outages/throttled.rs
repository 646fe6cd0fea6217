//! API Priority and Fairness throttles the operator's account: the operator waits, and no operation fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use belay::api::{Operation, OperationType};
use http::Request;
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{
    account::{Installed, RELEASE, SYSTEM},
    belay::{Belay, PATIENCE, World},
    guard::Guard,
    network::Network,
};

/// The size of the requests that occupy seats, and how many bytes of each one arrive.
const BODY: usize = 200 * 1024;
const PASSES: usize = 40 * 1024;

/// Gives the account its own priority level, as small as possible.
fn limit(belay: &Belay) {
    let limited = json!({"nominalConcurrencyShares": 1, "lendablePercent": 0, "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"}});
    belay.apply(&json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "tiny"}, "spec": {"type": "Limited", "limited": limited}}));
    let subject =
        json!({"kind": "ServiceAccount", "serviceAccount": {"name": RELEASE, "namespace": SYSTEM}});
    let all = ["*"];
    let rules = json!([{"subjects": [subject],
        "resourceRules": [{"verbs": all, "apiGroups": all, "resources": all, "namespaces": all, "clusterScope": true}],
        "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}]}]);
    belay.apply(
        &json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": {"name": "tiny"}, "spec": {"matchingPrecedence": 2,
            "priorityLevelConfiguration": {"name": "tiny"}, "rules": rules}}),
    );
}

/// Returns how often the operator has logged that it was throttled.
fn count_refusals(belay: &Belay) -> usize {
    belay.log().matches("Too many requests").count()
}

/// Sends a request whose body never arrives completely. It occupies a seat of the priority level until it is dropped.
fn occupy(client: &Client, belay: &Belay) -> JoinHandle<()> {
    let namespace = &belay.namespace;
    let path = format!("/apis/belay.dev/v1alpha1/namespaces/{namespace}/operations");
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(vec![b' '; BODY]).expect("a request");
    let client = client.clone();
    tokio::spawn(async move {
        let _ = client.request_text(request).await;
    })
}

/// The seats of the priority level that other requests occupy.
struct Noise {
    client: Client,
    probe: Client,
    held: Vec<JoinHandle<()>>,
}

impl Noise {
    /// Occupies seats until the priority level has no free seat.
    async fn fill(&mut self, belay: &Belay) {
        while !self.is_full(belay).await {
            assert!(
                self.held.len() < 50,
                "the priority level is still not in effect"
            );
            self.held.push(occupy(&self.client, belay));
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.held.retain(|request| !request.is_finished());
        }
    }

    /// Keeps the priority level full until the operator has been refused this many more times. The API server ends
    /// requests whose body doesn't arrive, so seats become free again.
    async fn wait_for_refusals(&mut self, belay: &Belay, more: usize) {
        let (before, started) = (count_refusals(belay), Instant::now());
        while count_refusals(belay) < before + more {
            assert!(started.elapsed() < PATIENCE, "{}", belay.log());
            self.fill(belay).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn is_full(&self, belay: &Belay) -> bool {
        let operations = Api::<Operation>::namespaced(self.probe.clone(), &belay.namespace);
        let listed = operations.list(&ListParams::default().limit(1)).await;
        matches!(listed, Err(kube::Error::Api(status)) if status.code == 429)
    }

    /// Releases this many seats.
    fn release(&mut self, seats: usize) {
        let from = self.held.len().saturating_sub(seats);
        self.held.drain(from..).for_each(|request| request.abort());
    }
}

pub async fn a_throttled_operator_waits_and_honours_an_abort(_: Arc<World>) {
    let installed = Installed::start().await;
    let belay = &installed.belay;
    let kubeconfig = installed.write(&installed.kubeconfig().await).await;
    let kubeconfig = kubeconfig.display().to_string();
    belay.start_operator_with(&[("KUBECONFIG", &kubeconfig)]);
    belay.cluster_with_blocked_drains(2).await;
    let guard = Guard::watch(belay, 2, 2).await;
    let network = Network::limited_to(PASSES, installed.kubeconfig().await).await;
    let mut noise = Noise {
        client: client_through(&network).await,
        probe: installed.client().await,
        held: Vec::new(),
    };
    limit(belay);
    noise.fill(belay).await;
    belay.set_version("1.36.3").await;
    noise.wait_for_refusals(belay, 10).await;
    // With one free seat, the operator continues.
    noise.release(1);
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay
        .eventually("the upgrade is blocked by the budget", || async {
            let blocked = belay.status(&upgrade).await.blocked;
            blocked.is_some_and(|blocked| blocked.reason == "PodDisruptionBudget")
        })
        .await;
    // The abort is requested while all requests of the account are refused.
    noise.wait_for_refusals(belay, 3).await;
    belay.abort(&upgrade, "throttled").await;
    noise.wait_for_refusals(belay, 3).await;
    noise.release(1);
    let canceled = belay.is_canceled(&upgrade).await;
    assert_eq!(canceled.error, None);
    belay.lock_is_free().await;
    guard.check(2, 2, 3);
    installed.continue_upgrade().await;
    guard.check(1, 2, 3);
    // A refused client waits before it retries: it doesn't send a hundred requests in a second.
    let refusals = count_refusals(belay);
    assert!(refusals < 2000, "{refusals} refusals in the log");
    belay.kill_operator();
    belay.check_history();
}

async fn client_through(network: &Network) -> Client {
    let config = Kubeconfig::read_from(&network.kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let mut config = config.expect("a configuration");
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}
