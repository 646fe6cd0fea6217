//! Requests to the API server, by verb and code, counted as in client-go.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use tower::{BoxError, Layer, Service};

use super::Labels;

/// Counts requests.
#[derive(Clone)]
pub struct Requests {
    total: Family<Labels<2>, Counter>,
    seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
}

impl Requests {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let this = Self {
            total: Family::default(),
            seconds: Family::new_with_constructor(|| {
                Histogram::new([
                    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0,
                ])
            }),
        };
        registry.register(
            "rest_client_requests",
            "Requests to the API server, by verb and status code",
            this.total.clone(),
        );
        registry.register(
            "rest_client_request_duration_seconds",
            "How long the API server took to answer, by verb",
            this.seconds.clone(),
        );
        this
    }

    fn answered(&self, method: &str, code: String, took: f64) {
        let method = method.to_owned();
        self.seconds
            .get_or_create(&[("verb", method.clone())])
            .observe(took);
        self.total
            .get_or_create(&[("code", code), ("method", method)])
            .inc();
    }
}

impl<S> Layer<S> for Requests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            requests: self.clone(),
        }
    }
}

/// A client's service whose requests are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    requests: Requests,
}

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<A>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<A>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (requests, method, sent) = (
            self.requests.clone(),
            request.method().clone(),
            Instant::now(),
        );
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = match &answer {
                Ok(answer) => answer.status().as_u16().to_string(),
                Err(_) => "<error>".into(),
            };
            requests.answered(method.as_str(), code, sent.elapsed().as_secs_f64());
            answer
        })
    }
}
