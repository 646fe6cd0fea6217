//! A client of a fake of a cloud, which trusts its authority.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, Method, Request, StatusCode};
use kube::client::Body;
use serde_json::Value;

/// An answer, whole.
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// A text where it isn't JSON.
    pub body: Value,
}

impl Response {
    /// A header that it has.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).expect("a header");
        value.to_str().expect("text")
    }
}

/// A client.
pub struct Http(kube::Client);

impl Http {
    /// One of that URL, which trusts an authority.
    pub fn new(url: &str, authority: &str) -> Self {
        let pem: String = authority
            .lines()
            .filter(|line| !line.starts_with("--"))
            .collect();
        let mut config = kube::Config::new(url.parse().expect("a URL"));
        config.root_cert = Some(vec![BASE64_STANDARD.decode(pem).expect("a certificate")]);
        Self(kube::Client::try_from(config).expect("a client"))
    }

    /// Asks for a path.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.into_bytes()));
        let answer = self.0.send(request.expect("a request")).await;
        let (parts, body) = answer.expect("an answer").into_parts();
        let body = body.collect_bytes().await.expect("a body");
        Response {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&body).into()),
        }
    }
}
