//! A parsed request to the Resource Manager.

use std::collections::BTreeMap;

use axum::{body::to_bytes, extract::Request};
use http::{Method, header::AUTHORIZATION};
use serde_json::Value;

use super::{LONGEST, SUBSCRIPTION, resources::Id};

/// A request.
pub(super) struct Call {
    pub method: Method,
    pub target: Target,
    pub query: BTreeMap<String, String>,
    /// The token after `Bearer`.
    pub token: Option<String>,
    pub if_match: Option<String>,
    /// The body; null if there is none.
    pub body: Value,
}

/// The target of a request.
pub(super) enum Target {
    /// A cluster or a pool, and the rest of the path, in lower case.
    Resource(Id, Vec<String>),
    /// An operation, by `operations` or `operationresults` of a location.
    Operation { kind: String, id: String },
    /// Something that this fake doesn't have.
    Unknown,
}

impl Call {
    /// Parses a request; `None` if its body can't be parsed.
    pub async fn of(request: Request) -> Option<Self> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, LONGEST).await.ok()?;
        let header = |name: &str| {
            let value = parts.headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let token = header(AUTHORIZATION.as_str());
        let token = token.and_then(|value| Some(value.strip_prefix("Bearer ")?.to_owned()));
        let query = parts.uri.query().unwrap_or_default();
        Some(Self {
            target: Target::of(parts.uri.path()),
            query: query.split('&').filter_map(pair).collect(),
            token,
            if_match: header("if-match").map(|tag| tag.trim_matches('"').to_owned()),
            body: if body.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(&body).ok()?
            },
            method: parts.method,
        })
    }

    /// Creates a PUT of a resource that needs no token.
    pub fn put(id: &Id, body: Value) -> Self {
        Self {
            method: Method::PUT,
            target: Target::Resource(id.clone(), Vec::new()),
            query: BTreeMap::new(),
            token: None,
            if_match: None,
            body,
        }
    }

    /// Returns the requested version of the API.
    pub fn version(&self) -> &str {
        let mut query = self.query.iter();
        let version = query.find(|(key, _)| key.eq_ignore_ascii_case("api-version"));
        version.map_or("", |(_, version)| version)
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((key.to_owned(), value.to_owned()))
}

impl Target {
    /// Parses a path. The names in it aren't case-sensitive.
    fn of(path: &str) -> Self {
        let path = path.to_ascii_lowercase();
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        match parts.as_slice() {
            [
                "subscriptions",
                SUBSCRIPTION,
                "resourcegroups",
                group,
                "providers",
                "microsoft.containerservice",
                "managedclusters",
                name,
                rest @ ..,
            ] => {
                let cluster = Id::cluster(group, name);
                let (id, rest) = match rest {
                    ["agentpools", pool, rest @ ..] => (cluster.pool(pool), rest),
                    rest => (cluster, rest),
                };
                let rest = rest.iter().map(|&part| part.to_owned());
                Self::Resource(id, rest.collect())
            }
            [
                "subscriptions",
                SUBSCRIPTION,
                "providers",
                "microsoft.containerservice",
                "locations",
                _,
                kind,
                id,
            ] => Self::Operation {
                kind: (*kind).to_owned(),
                id: (*id).to_owned(),
            },
            _ => Self::Unknown,
        }
    }
}
