//! Disturbances of the events of a watch.

use axum::body::{Body, Bytes};
use futures::{StreamExt as _, stream, stream::BoxStream};
use http_body_util::BodyExt as _;
use kube::client::DynBody;
use tokio::sync::watch;
use tower::BoxError;

/// How a watch behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    /// Its events arrive.
    #[default]
    Flows,
    /// Its events wait until it flows again, so the operator's cache is stale.
    HeldBack,
    /// Its events are lost, and it stays open.
    Silent,
    /// It ends.
    Ends,
    /// It breaks in the middle of an event.
    Breaks,
    /// It reports that its resourceVersion is too old (410 Gone), and ends.
    Gone,
    /// All its events so far arrive again.
    Replayed,
}

impl Stream {
    /// Whether the order also applies to watches that start later.
    fn lasts(self) -> bool {
        matches!(self, Self::Flows | Self::HeldBack | Self::Silent)
    }
}

/// How a watch behaves. Each order has a new number, because the same order may be given twice.
pub type Order = (u64, Stream);

/// Returns the answer of a watch that behaves as ordered. Calls `shown` for each object that the watch shows.
pub fn ordered<B>(
    body: B,
    orders: watch::Receiver<Order>,
    shown: impl Fn() + Send + 'static,
) -> Box<DynBody>
where
    B: axum::body::HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let first_order = orders.borrow().0;
    let tap = Tap {
        chunks: body
            .into_data_stream()
            .map(|chunk| chunk.map_err(Into::into))
            .boxed(),
        orders,
        followed: first_order,
        line: Vec::new(),
        shown: Vec::new(),
        again: Vec::new(),
        has_ended: false,
    };
    let events = stream::unfold(tap, |mut tap| async move {
        let next = tap.next().await?;
        Some((next, tap))
    });
    let events = events.inspect(move |event| {
        let is_object = |event: &Bytes| !event.starts_with(br#"{"type":"BOOKMARK""#);
        if event.as_ref().is_ok_and(is_object) {
            shown();
        }
    });
    Box::new(Body::from_stream(events).map_err(BoxError::from))
}

/// The events of one watch, one per line.
struct Tap {
    chunks: BoxStream<'static, Result<Bytes, BoxError>>,
    orders: watch::Receiver<Order>,
    /// The number of the last order that it followed.
    followed: u64,
    /// The part of the next line that has arrived.
    line: Vec<u8>,
    shown: Vec<Bytes>,
    again: Vec<Bytes>,
    has_ended: bool,
}

impl Tap {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            if self.has_ended {
                return None;
            }
            if let Some(event) = self.again.pop() {
                return Some(Ok(event));
            }
            let (number, order) = *self.orders.borrow_and_update();
            let is_new = number != self.followed;
            self.followed = number;
            match order {
                Stream::HeldBack => {
                    // The sender exists as long as the test.
                    let _ = self.orders.changed().await;
                    continue;
                }
                order if order.lasts() || !is_new => {}
                Stream::Replayed => {
                    self.again = self.shown.iter().rev().cloned().collect();
                    continue;
                }
                order => return self.end(order),
            }
            tokio::select! {
                biased;
                _ = self.orders.changed() => {}
                event = next_line(&mut self.chunks, &mut self.line) => match event? {
                    Ok(_) if order == Stream::Silent => {}
                    Ok(event) => {
                        self.shown.push(event.clone());
                        return Some(Ok(event));
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
        }
    }

    /// Returns the last event of the watch.
    fn end(&mut self, order: Stream) -> Option<Result<Bytes, BoxError>> {
        const GONE: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#;
        self.has_ended = true;
        match order {
            Stream::Gone => Some(Ok(Bytes::from(format!("{GONE}\n")))),
            Stream::Breaks => Some(Err("the watch broke".into())),
            _ => None,
        }
    }
}

/// Returns the next complete line. If the future is dropped, the next call continues with the same line.
async fn next_line(
    chunks: &mut BoxStream<'static, Result<Bytes, BoxError>>,
    line: &mut Vec<u8>,
) -> Option<Result<Bytes, BoxError>> {
    loop {
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let rest = line.split_off(end + 1);
            return Some(Ok(Bytes::from(std::mem::replace(line, rest))));
        }
        match chunks.next().await? {
            Ok(chunk) => line.extend_from_slice(&chunk),
            Err(error) => return Some(Err(error)),
        }
    }
}
