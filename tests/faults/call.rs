//! A request in the terms of RBAC: a verb and a resource.

use std::fmt;

use belay::machinery::SPEC_MANAGER;
use http::{Method, Request};

/// A request to the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The verb in the terms of RBAC: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: &'static str,
    /// The resource and, if there is one, the subresource: `operations/status`.
    pub resource: String,
    /// The object's name, if the request is about a single object.
    pub name: String,
    /// Whether the request writes the change of a user's Operation into a spec.
    pub writes_spec: bool,
}

impl Call {
    /// Parses a request's method and URI.
    pub fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let parts: Vec<_> = uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        // `api/v1/...` or `apis/GROUP/VERSION/...`
        let rest = parts.get(if parts.first() == Some(&"api") { 2 } else { 3 }..);
        let rest = rest.unwrap_or_default();
        let of_object = match rest {
            ["namespaces", _, of_object @ ..] if !of_object.is_empty() => of_object,
            all => all,
        };
        let (resource, name) = match of_object {
            [resource, name, subresource, ..] => (format!("{resource}/{subresource}"), *name),
            [resource, name] => ((*resource).to_owned(), *name),
            [resource] => ((*resource).to_owned(), ""),
            [] => (uri.path().to_owned(), ""),
        };
        let is_watch = uri
            .query()
            .is_some_and(|query| query.contains("watch=true"));
        let verb = match *request.method() {
            Method::GET if is_watch => "watch",
            Method::GET if name.is_empty() => "list",
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        let manager = format!("fieldManager={SPEC_MANAGER}");
        let query = uri.query().unwrap_or_default();
        Self {
            verb,
            resource,
            name: name.to_owned(),
            writes_spec: query.split('&').any(|part| part == manager),
        }
    }

    /// Whether it is a write.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch" | "other")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.verb, self.resource, self.name)
    }
}
