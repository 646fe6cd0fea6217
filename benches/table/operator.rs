//! Belay, with its metrics served.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use testenv::Process;

use crate::stage::Stage;

/// How long it may take to become ready.
const PATIENCE: Duration = Duration::from_mins(5);

/// An operator that is ready. It ends when it is dropped.
pub struct Operator {
    pub process: Process,
    /// The time from its start until it was ready.
    pub took: Duration,
    client: Client<HttpConnector, Empty<Bytes>>,
    address: std::net::SocketAddr,
}

impl Operator {
    /// Starts an operator for a namespace, and waits until it has seen all objects.
    ///
    /// # Errors
    /// If it isn't ready in time.
    pub async fn start(stage: &Stage, namespace: &str) -> anyhow::Result<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let began = Instant::now();
        let process = stage.operate_with(&[
            &format!("--namespace={namespace}"),
            &format!("--metrics-address={address}"),
            "--leader-election=never",
        ])?;
        let mut this = Self {
            process,
            took: Duration::ZERO,
            client: Client::builder(TokioExecutor::new()).build_http(),
            address,
        };
        while this.get("readyz").await.is_err() {
            ensure!(began.elapsed() < PATIENCE, "never ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        this.took = began.elapsed();
        Ok(this)
    }

    /// Returns the value of a counter, summed over its labels.
    ///
    /// # Errors
    /// If the operator doesn't serve it.
    pub async fn counter(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.get("metrics").await?;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = rest
                .starts_with(['{', ' '])
                .then(|| rest.rsplit(' ').next());
            value??.parse::<f64>().ok()
        });
        Ok(values.sum())
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let url = format!("http://{}/{path}", self.address).parse()?;
        let answer = self.client.get(url).await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        let body = answer.into_body().collect().await?.to_bytes();
        String::from_utf8(body.to_vec()).context("text")
    }
}
