//! The connection to the API server: kube's own stack, but with `TCP_NODELAY`. Without it the first request
//! on each connection waits some 40 ms for an acknowledgement, and a person waits with it.

use axum::body::{Bytes, HttpBody as Body};
use http::Response;
use http_body_util::BodyExt as _;
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body as RequestBody, ClientBuilder, ConfigExt as _, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer, util::MapResponseLayer};

use super::plain::Plain;

/// An answer whose texts have no control characters.
fn without_controls<B>(
    answer: Response<B>,
) -> Response<impl Body<Data = Bytes, Error = B::Error> + Send>
where
    B: Body<Data = Bytes> + Send,
{
    answer.map(|body| {
        let mut plain = Plain::default();
        body.map_frame(move |frame| frame.map_data(|data| Bytes::from(plain.piece(&data))))
    })
}

/// A client of the API server. It connects to nothing yet.
///
/// # Errors
/// Where the configuration is of no use.
pub fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        let builder = ClientBuilder::try_from(config)?;
        let layer = MapResponseLayer::new(without_controls);
        return Ok(builder.with_layer(&layer).build());
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
        .map_response(without_controls)
        .option_layer(config.default_retry.then_some(retry))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build::<_, RequestBody>(connector));
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}
