//! HTTP/1.1 to the collector, with the client that kube uses already. The exporter's own client would add HTTP/2.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

/// How long the collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum length of its answer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A client without TLS, because the collector runs beside the operator.
#[derive(Clone, Debug)]
pub(super) struct Plain(Client<HttpConnector, Full<Bytes>>);

impl Default for Plain {
    fn default() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }
}

#[async_trait]
impl HttpClient for Plain {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.0.request(request.map(Full::new));
        let answer = tokio::time::timeout(TIMEOUT, answer).await??;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect();
        let body = tokio::time::timeout(TIMEOUT, body).await??;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}
