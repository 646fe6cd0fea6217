//! The plugin's connection to the API server. It removes control characters, so that the terminal shows none.

use axum::body::{Bytes, HttpBody as Body};
use http::Response;
use http_body_util::BodyExt as _;
use kube::{Client, Config};
use tower::util::MapResponseLayer;

use crate::{cli::terminal::plain::Plain, machinery::connection};

/// Returns the answer with control characters removed from its texts.
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

/// Returns a client of the API server. It doesn't connect yet.
///
/// # Errors
/// Returns an error if the configuration can't be used.
pub fn client(config: Config) -> kube::Result<Client> {
    let layer = MapResponseLayer::new(without_controls);
    Ok(connection::builder(config)?.with_layer(&layer).build())
}
