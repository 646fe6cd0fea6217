//! The connection to the API server: kube's own stack, but with `TCP_NODELAY` and timeouts. Without `TCP_NODELAY`, a
//! request on a new connection waits some 40 ms for an acknowledgement. Without timeouts, a request that nobody answers
//! waits forever.

use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Config,
    client::{Body, ClientBuilder, ConfigExt as _, DynBody, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, ServiceExt as _, retry::RetryLayer, util::BoxService};

/// The service that sends requests.
pub type Connection = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

/// How long it may take to open a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may stay silent. A watch restarts before that.
const SILENCE: Duration = Duration::from_secs(20);

/// Returns the configuration with timeouts that are no longer than Belay's: for a program that runs unattended.
pub fn bounded(mut config: Config) -> Config {
    let least =
        |given: Option<Duration>, bound| Some(given.map_or(bound, |given| given.min(bound)));
    config.connect_timeout = least(config.connect_timeout, CONNECT);
    config.read_timeout = least(config.read_timeout, SILENCE);
    config.write_timeout = least(config.write_timeout, SILENCE);
    // kube would repeat an eviction for minutes if a PDB refuses it, and a write of the lock if its answer is late.
    // Belay retries only where it knows why.
    config.default_retry = false;
    config
}

fn boxed<B>(answer: Response<B>) -> Response<Box<DynBody>>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    answer.map(|body| Box::new(body.map_err(Into::into)) as Box<DynBody>)
}

/// Returns the builder of a client of the API server. Layers may be added to it. It doesn't connect yet.
///
/// # Errors
/// If the configuration is invalid.
pub fn builder(config: Config) -> kube::Result<ClientBuilder<Connection>> {
    if config.proxy_url.is_some() {
        return ClientBuilder::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let retry = RetryLayer::new(RetryPolicy::server_retry());
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .map_response(boxed)
        .option_layer(config.default_retry.then_some(retry))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector));
    Ok(ClientBuilder::new(
        service.boxed(),
        config.default_namespace,
    ))
}
