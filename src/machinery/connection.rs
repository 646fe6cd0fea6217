//! The connection to the API server: kube's own stack, but with `TCP_NODELAY` and with bounds. Without the
//! first, a request on a new connection waits some 40 ms for an acknowledgement; without the second, one that
//! nobody answers waits for ever.

use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Config,
    client::{Body, ClientBuilder, ConfigExt as _, DynBody, retry::RetryPolicy},
};
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt as _, retry::RetryLayer, util::BoxService,
};

use super::lasting::{Lasting, PING};

/// What sends requests.
pub type Connection = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may stay silent. A watch is begun anew before.
const SILENCE: Duration = Duration::from_secs(20);

/// The configuration with bounds where it has none: for a program that nobody watches.
pub fn bounded(mut config: Config) -> Config {
    let least =
        |given: Option<Duration>, bound| Some(given.map_or(bound, |given| given.min(bound)));
    config.connect_timeout = least(config.connect_timeout, CONNECT);
    config.read_timeout = least(config.read_timeout, SILENCE);
    config.write_timeout = least(config.write_timeout, SILENCE);
    // kube would repeat an eviction that a PDB refuses for minutes, and a write of the lock that was
    // answered late; what may be tried again is tried by who knows why.
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

/// A client of the API server, to which layers may be added. It connects to nothing yet.
///
/// # Errors
/// Where the configuration is of no use.
pub fn builder(config: Config) -> kube::Result<ClientBuilder<Connection>> {
    if config.proxy_url.is_some() {
        return ClientBuilder::try_from(config);
    }
    let retry = RetryLayer::new(RetryPolicy::server_retry());
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then_some(retry))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(requests(&config)?);
    Ok(ClientBuilder::new(
        service.boxed(),
        config.default_namespace,
    ))
}

/// What sends requests: each over HTTP/1.1, but for the watches that last.
fn requests(
    config: &Config,
) -> kube::Result<
    impl Service<Request<Body>, Response = Response<Box<DynBody>>, Error = legacy::Error, Future: Send>
    + Clone
    + Send
    + use<>,
> {
    let single = legacy::Client::builder(TokioExecutor::new())
        .build::<_, Body>(bounded_connector(config, http_1(config)?));
    let shared = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        .http2_keep_alive_while_idle(true)
        .http2_adaptive_window(true)
        .build::<_, Body>(bounded_connector(config, http_2(config)?));
    let lasting = Lasting::new();
    Ok(tower::service_fn(move |mut request: Request<Body>| {
        let place = lasting.admit(&mut request);
        let client = if place.is_some() { &shared } else { &single };
        let (answer, lasting) = (client.request(request), lasting.clone());
        async move {
            let answer = answer.await?;
            let Some(place) = place else {
                return Ok(boxed(answer));
            };
            lasting.answered(answer.version());
            // The place is free again when the watch ends.
            let held = move |frame| {
                let _place = &place;
                frame
            };
            Ok(boxed(answer.map(|body| body.map_frame(held))))
        }
    }))
}

fn bounded_connector(
    config: &Config,
    connector: HttpsConnector<HttpConnector>,
) -> TimeoutConnector<HttpsConnector<HttpConnector>> {
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    connector
}

fn http_1(config: &Config) -> kube::Result<HttpsConnector<HttpConnector>> {
    config.rustls_https_connector_with_connector(tcp())
}

/// A connection over HTTP/2 where the other side speaks it, else over HTTP/1.1.
fn http_2(config: &Config) -> kube::Result<HttpsConnector<HttpConnector>> {
    let mut builder = HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into();
        let name = name.map_err(|error| kube::Error::Service(Box::new(error)))?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_all_versions().wrap_connector(tcp()))
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
}
