//! The plugin's connection to the API server. What it shows on a terminal has no control characters.

use axum::body::{Bytes, HttpBody as Body};
use http::Response;
use http_body_util::BodyExt as _;
use kube::{Client, Config};
use tower::util::MapResponseLayer;

use crate::machinery::connection;

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
    let layer = MapResponseLayer::new(without_controls);
    Ok(connection::builder(config)?.with_layer(&layer).build())
}
