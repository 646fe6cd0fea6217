//! Belay's identity in Azure: the operator's own workload identity, or a Secret in the cluster's namespace.

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
use kube::Client;

use crate::provider::{
    adopted::credentials::{self, Person},
    engine::{EngineError, Site},
};

/// The keys of a Secret with credentials.
const KEYS: [&str; 3] = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"];

/// What a person without credentials can do.
const LOG_IN: &str = "log in with az login, or name a Secret with --credentials-secret: ";

/// A Secret, by namespace and name. None for the operator's own identity.
type Key = Option<(String, String)>;

/// The identities that are in use. Each keeps its token until it is about to expire.
pub struct Identities {
    client: Client,
    options: ClientOptions,
    person: Person,
    known: Mutex<HashMap<Key, Arc<dyn TokenCredential>>>,
}

impl Identities {
    /// Returns identities that ask for their tokens with `http`. `client` reads Secrets.
    pub fn new(client: Client, http: reqwest::Client, person: Person) -> Self {
        let options = ClientOptions {
            // Belay itself tries again, and shows that it does.
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

    /// Returns a token for a cluster.
    pub async fn token(&self, site: &Site, scope: &str) -> Result<String, EngineError> {
        let key = key_of(site);
        if key.is_none() {
            self.person.may_operate(site, "azure")?;
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
                // The Secret may have changed.
                self.lock().remove(&key);
                let hint = match (&key, &self.person) {
                    (None, Person::User) => LOG_IN,
                    _ => "",
                };
                let words = credentials::words_of(&error);
                Err(credentials::refused(
                    "AuthenticationFailed",
                    format!("{hint}{words}"),
                ))
            }
        }
    }

    /// Removes the identity of a cluster whose token Azure didn't accept.
    pub fn forget(&self, site: &Site) {
        self.lock().remove(&key_of(site));
    }

    async fn identity(&self, key: &Key) -> Result<Arc<dyn TokenCredential>, EngineError> {
        let client_options = self.options.clone();
        let Some((namespace, name)) = key else {
            return match self.person {
                Person::Operator(_) => workload_identity(client_options),
                Person::User => persons_own(),
            };
        };
        let [tenant, client, secret] =
            credentials::read(&self.client, (namespace, name), KEYS, &[]).await?;
        let options = ClientSecretCredentialOptions { client_options };
        let made = ClientSecretCredential::new(&tenant, client, Hidden::new(secret), Some(options));
        made.map(|made| made as _).map_err(|error| {
            credentials::refused("InvalidCredentials", format!("Secret {name}: {error}"))
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<dyn TokenCredential>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the operator's own identity, with the token that its pod gets.
fn workload_identity(
    client_options: ClientOptions,
) -> Result<Arc<dyn TokenCredential>, EngineError> {
    let options = WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions { client_options },
        ..WorkloadIdentityCredentialOptions::default()
    };
    match WorkloadIdentityCredential::new(Some(options)) {
        Ok(made) => Ok(made),
        Err(error) => Err(credentials::refused(
            "NoCredentials",
            format!(
                "the operator has no workload identity ({error}): give it one with the chart's azure.clientId, or name a Secret in spec.provider.azure.credentialsSecret"
            ),
        )),
    }
}

/// Returns the identity of the person who is logged in with `az login`.
fn persons_own() -> Result<Arc<dyn TokenCredential>, EngineError> {
    match AzureCliCredential::new(None) {
        Ok(made) => Ok(made),
        Err(error) => Err(credentials::refused(
            "NoCredentials",
            format!("{LOG_IN}{error}"),
        )),
    }
}

fn key_of(site: &Site) -> Key {
    let settings = site.provider.azure.as_ref()?;
    let secret = settings.credentials_secret.clone()?;
    Some((site.namespace.clone(), secret))
}
