//! The few requests to the Resource Manager that operate a cluster. Bodies are JSON as Azure wrote it: what Belay
//! doesn't know of a cluster is written back unchanged.

use std::{fs, time::Duration};

use kube::Client;
use reqwest::{Certificate, Method, Response, StatusCode, header};
use serde_json::Value;

use crate::provider::{
    adopted::credentials::{Person, words_of},
    engine::{EngineError, Site},
    requests::{Failure, Passing},
};

use super::{answers::refused, identity::Identities, resource::Id, settings::Settings};

/// The newest stable version of the API. Belay reads and writes with it.
/// Source: Microsoft's SDK azure-mgmt-containerservice 41.8.0.
const STABLE: &str = "2026-08-01";
/// The version of the API that shows how far an operation is. A subscription may not have it.
const PREVIEW: &str = "2026-08-02-preview";
/// How long it may take to open a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The header with the operation that a request has begun.
const OPERATION: &str = "azure-asyncoperation";

/// A client of the Resource Manager.
pub struct Arm {
    http: reqwest::Client,
    endpoint: String,
    identities: Identities,
}

/// A request that begins or changes something.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// Writes the resource, if it still has that tag.
    Put(&'a Value, Option<&'a str>),
    /// Begins an action that has a name: `start`, `stop` or `abort`.
    Post(&'a str),
    /// Deletes the resource.
    Delete,
}

/// Why a request failed.
#[derive(Debug)]
pub struct Refused {
    /// The status that Azure answered. None if no answer came.
    pub status: Option<StatusCode>,
    /// What that means for the engine.
    pub error: EngineError,
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Self {
            status: None,
            error,
        }
    }
}

impl From<Refused> for EngineError {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

impl Arm {
    /// Returns a client with these settings.
    ///
    /// # Errors
    /// If the CA certificates can't be read.
    pub fn new(client: Client, settings: &Settings, person: Person) -> anyhow::Result<Self> {
        // Only the first call counts. All callers install the same provider, so it doesn't matter which call is first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("belay/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &settings.certificates {
            let authorities = Certificate::from_pem_bundle(&fs::read(file)?)?;
            http = http.tls_certs_only(authorities);
        }
        let http = http.build()?;
        Ok(Self {
            identities: Identities::new(client, http.clone(), person),
            http,
            endpoint: settings.resource_manager.trim_end_matches('/').to_owned(),
        })
    }

    /// Returns a resource. None if it doesn't exist.
    pub async fn get(&self, site: &Site, id: &Id<'_>) -> Result<Option<Value>, EngineError> {
        self.read(site, &id.to_string(), STABLE).await
    }

    /// Returns an operation on a resource, by its id or as `latest`. None if it isn't known, or if the subscription
    /// doesn't have the version of the API that shows it.
    pub async fn operation(
        &self,
        site: &Site,
        id: &Id<'_>,
        which: &str,
    ) -> Result<Option<Value>, EngineError> {
        let read = self
            .read(site, &format!("{id}/operations/{which}"), PREVIEW)
            .await;
        match read {
            Err(Failure::Final(_)) => Ok(None),
            read => read,
        }
    }

    async fn read(
        &self,
        site: &Site,
        path: &str,
        version: &str,
    ) -> Result<Option<Value>, EngineError> {
        let response = self.send(site, Method::GET, path, version, None).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = self.accepted(site, response).await?;
        Ok(Some(response.json().await.map_err(|error| lost(&error))?))
    }

    /// Begins an operation. Returns its id.
    pub async fn begin(&self, site: &Site, id: &Id<'_>, call: Call<'_>) -> Result<String, Refused> {
        let (method, path, written) = match call {
            Call::Put(body, tag) => (Method::PUT, id.to_string(), Some((body, tag))),
            Call::Post(name) => (Method::POST, format!("{id}/{name}"), None),
            Call::Delete => (Method::DELETE, id.to_string(), None),
        };
        let response = self.send(site, method, &path, STABLE, written).await?;
        let response = self.accepted(site, response).await?;
        let operation = response.headers().get(OPERATION);
        let operation = operation.and_then(|url| id_of(url.to_str().ok()?));
        Ok(operation.unwrap_or_default())
    }

    async fn send(
        &self,
        site: &Site,
        method: Method,
        path: &str,
        version: &str,
        written: Option<(&Value, Option<&str>)>,
    ) -> Result<Response, EngineError> {
        let scope = format!("{}/.default", self.endpoint);
        let token = self.identities.token(site, &scope).await?;
        let url = format!("{}{path}?api-version={version}", self.endpoint);
        let mut request = self.http.request(method.clone(), url).bearer_auth(token);
        if let Some((body, tag)) = written {
            request = request.json(body);
            if let Some(tag) = tag {
                request = request.header(header::IF_MATCH, tag);
            }
        } else if method == Method::POST {
            request = request.header(header::CONTENT_LENGTH, 0);
        }
        request.send().await.map_err(|error| lost(&error))
    }

    /// Returns the answer if it isn't a refusal.
    async fn accepted(&self, site: &Site, response: Response) -> Result<Response, Refused> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status == StatusCode::UNAUTHORIZED {
            self.identities.forget(site);
        }
        let after = response.headers().get(header::RETRY_AFTER);
        let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
        let body = response.json().await.unwrap_or_default();
        Err(Refused {
            status: Some(status),
            error: refused(status, after.map(Duration::from_secs), &body),
        })
    }
}

/// Returns the id in an operation's URL. The signature follows it in the URL.
fn id_of(url: &str) -> Option<String> {
    let path = url.split('?').next()?;
    Some(path.rsplit('/').next()?.to_owned())
}

/// Returns the failure of a request without an answer.
fn lost(error: &reqwest::Error) -> EngineError {
    Failure::Passing(Passing::new("Unreachable", words_of(error)))
}

#[cfg(test)]
mod tests {
    use super::id_of;

    #[test]
    fn the_id_of_an_operation_is_the_last_part_of_its_path() {
        let url = "https://example.com/subscriptions/s/providers/p/locations/l/operations/0a-1b?api-version=2016-03-30&t=1&s=x/y";
        assert_eq!(id_of(url).as_deref(), Some("0a-1b"));
    }
}
