//! Who Belay is in Azure: the operator's own workload identity, or what a Secret in the cluster's namespace says.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use azure_core::{
    credentials::{Secret as Hidden, TokenCredential},
    http::{ClientOptions, RetryOptions, Transport},
};
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::provider::{
    engine::{EngineError, Site},
    nodes::passing as passing_of,
    requests::{Failure, Passing},
};

/// The keys of a Secret with credentials.
const KEYS: [&str; 3] = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"];

/// A Secret, by namespace and name; none for the operator's own identity.
type Key = Option<(String, String)>;

/// Who asks where no Secret says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Person {
    /// The operator, by its workload identity, for the clusters of these namespaces; `*` for all.
    Operator(Vec<String>),
    /// A person, by what `az login` left.
    AtTheKeyboard,
}

/// The identities that are in use. Each keeps its token until it is about to expire.
pub struct Identities {
    client: Client,
    options: ClientOptions,
    person: Person,
    known: Mutex<HashMap<Key, Arc<dyn TokenCredential>>>,
}

impl Identities {
    /// Identities whose tokens are asked for by `http`. Secrets are read by `client`.
    pub fn new(client: Client, http: reqwest::Client, person: Person) -> Self {
        let options = ClientOptions {
            // Belay tries again itself, and shows that it does.
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::new(http))),
            ..ClientOptions::default()
        };
        Self {
            client,
            options,
            person,
            known: Mutex::default(),
        }
    }

    /// A token for a cluster.
    pub async fn token(&self, site: &Site, scope: &str) -> Result<String, EngineError> {
        let key = key_of(site);
        if key.is_none() {
            self.may_be_used_by(site)?;
        }
        let known = self.lock().get(&key).cloned();
        let identity = match known {
            Some(identity) => identity,
            None => self.identity(&key).await?,
        };
        match identity.get_token(&[scope], None).await {
            Ok(token) => {
                self.lock().insert(key, identity);
                Ok(token.token.secret().to_owned())
            }
            Err(error) => {
                // A Secret may have been written anew.
                self.lock().remove(&key);
                Err(passing("AuthenticationFailed", words_of(&error)))
            }
        }
    }

    /// Azure didn't take the token of a cluster.
    pub fn forget(&self, site: &Site) {
        self.lock().remove(&key_of(site));
    }

    /// Whether a cluster may be operated without a Secret. The operator's rights in Azure aren't those of who wrote the
    /// cluster.
    fn may_be_used_by(&self, site: &Site) -> Result<(), EngineError> {
        let is_allowed = match &self.person {
            Person::AtTheKeyboard => true,
            Person::Operator(namespaces) => namespaces
                .iter()
                .any(|allowed| *allowed == site.namespace || allowed == "*"),
        };
        if is_allowed {
            return Ok(());
        }
        let why = format!(
            "clusters of namespace {} may not be operated by the operator's own identity: name a Secret in spec.provider.azure.credentialsSecret, or have the namespace added to the chart's azure.identityNamespaces",
            site.namespace
        );
        Err(passing("IdentityNotAllowed", why))
    }

    async fn identity(&self, key: &Key) -> Result<Arc<dyn TokenCredential>, EngineError> {
        let client_options = self.options.clone();
        let Some((namespace, name)) = key else {
            return match self.person {
                Person::Operator(_) => workload_identity(client_options),
                Person::AtTheKeyboard => persons_own(),
            };
        };
        let [tenant, client, secret] = self.secret(namespace, name).await?;
        let options = ClientSecretCredentialOptions { client_options };
        let made = ClientSecretCredential::new(&tenant, client, Hidden::new(secret), Some(options));
        made.map(|made| made as _)
            .map_err(|error| passing("InvalidCredentials", format!("Secret {name}: {error}")))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<[String; 3], EngineError> {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let read = secrets.get_opt(name).await;
        let read = read.map_err(|error| Failure::Passing(passing_of(&error)))?;
        let Some(secret) = read else {
            let why = format!(
                "Secret {name} does not exist in namespace {namespace}: make it with the keys {}",
                KEYS.join(", ")
            );
            return Err(passing("NoCredentials", why));
        };
        let data = secret.data.unwrap_or_default();
        let value = |key: &str| {
            let value = data.get(key)?;
            String::from_utf8(value.0.clone())
                .ok()
                .map(|text| text.trim().to_owned())
        };
        let [tenant, client, password] = KEYS.map(value);
        if let (Some(tenant), Some(client), Some(password)) = (tenant, client, password) {
            return Ok([tenant, client, password]);
        }
        let missing = KEYS.iter().filter(|key| !data.contains_key(**key));
        let missing: Vec<_> = missing.copied().collect();
        let why = format!("Secret {name} lacks {}", missing.join(", "));
        Err(passing("InvalidCredentials", why))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<dyn TokenCredential>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operator's own identity, by the token that its pod is given.
fn workload_identity(
    client_options: ClientOptions,
) -> Result<Arc<dyn TokenCredential>, EngineError> {
    let options = WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions { client_options },
        ..WorkloadIdentityCredentialOptions::default()
    };
    match WorkloadIdentityCredential::new(Some(options)) {
        Ok(made) => Ok(made),
        Err(error) => Err(passing(
            "NoCredentials",
            format!(
                "the operator has no workload identity ({error}): give it one by the chart's azure.clientId, or name a Secret in spec.provider.azure.credentialsSecret"
            ),
        )),
    }
}

/// The identity of who is logged in by `az login`.
fn persons_own() -> Result<Arc<dyn TokenCredential>, EngineError> {
    match AzureCliCredential::new(None) {
        Ok(made) => Ok(made),
        Err(error) => Err(passing(
            "NoCredentials",
            format!("log in by az login, or name a Secret by --credentials-secret: {error}"),
        )),
    }
}

fn key_of(site: &Site) -> Key {
    let settings = site.provider.azure.as_ref()?;
    let secret = settings.credentials_secret.clone()?;
    Some((site.namespace.clone(), secret))
}

fn passing(reason: &str, message: String) -> EngineError {
    Failure::Passing(Passing::new(reason, message))
}

/// An error with what caused it: the reason is often the innermost.
pub fn words_of(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}
