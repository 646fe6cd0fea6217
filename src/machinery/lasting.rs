//! Watches that last. A watch over HTTP/1.1 is begun anew every few seconds, for nothing else shows that its
//! connection went silent. The watches that Belay always has go over one HTTP/2 connection instead, which pings the
//! API server, so a quiet Belay sends nothing.
//!
//! Watches of single objects and all other requests keep to HTTP/1.1: there may be more of them at once than the API
//! server, or a proxy before it, allows streams in one connection, and hyper opens no second one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, Uri, Version, uri::PathAndQuery};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::watches::WATCH_TIMEOUT_SECONDS;

/// How often the connection pings the API server, and how long it waits for the answer: a connection that went silent
/// is noticed within twice that.
pub const PING: Duration = Duration::from_secs(5);
/// How long a watch lasts there, in seconds: kube's default. The API server ends it then.
const LASTING_SECONDS: u32 = 290;
/// How many watches go over one connection. Proxies allow 100 streams and more.
const MOST: usize = 64;

/// Which watches go over the connection that pings.
#[derive(Clone)]
pub struct Lasting {
    slots: Arc<Semaphore>,
    /// Whether the connection speaks HTTP/2. What is between Belay and the API server may not.
    is_multiplexed: Arc<AtomicBool>,
}

impl Lasting {
    /// None yet.
    pub fn new() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(MOST)),
            is_multiplexed: Arc::new(AtomicBool::new(false)),
        }
    }

    /// A place for a request on that connection, where it is a watch of many objects and there is one. Once the
    /// connection is known to ping, the request asks for a watch that lasts.
    pub fn admit<B>(&self, request: &mut Request<B>) -> Option<OwnedSemaphorePermit> {
        let is_encrypted = request.uri().scheme_str() == Some("https");
        if !is_encrypted || !is_watch_of_many(request.uri()) {
            return None;
        }
        let place = self.slots.clone().try_acquire_owned().ok()?;
        if self.is_multiplexed.load(Ordering::Relaxed)
            && let Some(lasting) = lasting(request.uri())
        {
            *request.uri_mut() = lasting;
        }
        Some(place)
    }

    /// Notes which HTTP the connection speaks.
    pub fn answered(&self, version: Version) {
        let is_multiplexed = version == Version::HTTP_2;
        self.is_multiplexed.store(is_multiplexed, Ordering::Relaxed);
    }
}

fn is_watch_of_many(uri: &Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.clone().any(|one| one == "watch=true")
        && !parameters.any(|one| one.starts_with("fieldSelector="))
}

/// The same watch, asked to last.
fn lasting(uri: &Uri) -> Option<Uri> {
    let short = format!("timeoutSeconds={WATCH_TIMEOUT_SECONDS}");
    let long = format!("timeoutSeconds={LASTING_SECONDS}");
    let parameters = uri.query()?.split('&');
    let parameters: Vec<_> = parameters
        .map(|one| if one == short { long.as_str() } else { one })
        .collect();
    let path = format!("{}?{}", uri.path(), parameters.join("&"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = "https://api/apis/belay.dev/v1alpha1/agentpools?&watch=true&timeoutSeconds=10&labelSelector=a";

    fn request(uri: &str) -> Request<()> {
        Request::get(uri).body(()).expect("a request")
    }

    fn is_admitted(uri: &str) -> bool {
        Lasting::new().admit(&mut request(uri)).is_some()
    }

    #[test]
    fn only_encrypted_watches_of_many_objects_go_over_the_connection_that_pings() {
        assert!(is_admitted(SHORT));
        let short = SHORT.replace("https", "http");
        assert!(!is_admitted(&short), "nobody says there that it is HTTP/2");
        let list = SHORT.replace("watch=true", "limit=500");
        assert!(!is_admitted(&list), "a list");
        let of_a_node = format!("{SHORT}&fieldSelector=spec.nodeName%3Da");
        assert!(!is_admitted(&of_a_node), "there may be many of them");
    }

    #[test]
    fn a_watch_lasts_once_the_connection_is_known_to_speak_http_2_and_as_long_as_it_does() {
        let lasting = Lasting::new();
        for (version, expected) in [
            (None, "=10&"),
            (Some(Version::HTTP_2), "=290&"),
            (Some(Version::HTTP_11), "=10&"),
        ] {
            if let Some(version) = version {
                lasting.answered(version);
            }
            let mut request = request(SHORT);
            let _place = lasting.admit(&mut request);
            let uri = request.uri().to_string();
            assert_eq!(uri, SHORT.replace("=10&", expected), "{version:?}");
        }
    }

    #[test]
    fn no_more_watches_share_a_connection_than_there_are_places() {
        let lasting = Lasting::new();
        let places: Vec<_> = (0..=MOST)
            .map(|_| lasting.admit(&mut request(SHORT)))
            .collect();
        assert_eq!(places.iter().flatten().count(), MOST);
        drop(places);
        assert!(lasting.admit(&mut request(SHORT)).is_some());
    }
}
