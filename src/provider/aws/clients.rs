//! A client of EKS for each account and region: with the operator's own identity, or with a Secret in the cluster's
//! namespace.

use std::{
    collections::HashMap,
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_eks::config::{Credentials, SharedHttpClient};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use kube::Client;

use crate::provider::{
    adopted::credentials::{self, Person},
    engine::{EngineError, Site},
    requests::Failure,
};

use super::{
    answers::{NO_CREDENTIALS, Refused},
    resource::settings,
    settings::Settings,
};

/// The keys of a Secret with credentials. Only temporary credentials have the last one.
const KEYS: [&str; 3] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];
/// How long it may take to open a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// A region, and a Secret by namespace and name. No Secret means the operator's own identity.
type Key = (String, Option<(String, String)>);

/// The clients that are in use. Each keeps its credentials until they are about to expire.
pub struct Clients {
    kube: Client,
    http: SharedHttpClient,
    person: Person,
    known: Mutex<HashMap<Key, aws_sdk_eks::Client>>,
}

impl Clients {
    /// Returns clients with these settings. `kube` reads Secrets.
    ///
    /// # Errors
    /// If the CA certificates can't be read.
    pub fn new(kube: Client, settings: &Settings, person: Person) -> anyhow::Result<Self> {
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
        let http = match &settings.certificates {
            Some(file) => {
                let trusted = TrustStore::empty().with_pem_certificate(fs::read(file)?);
                let context = TlsContext::builder().with_trust_store(trusted).build()?;
                http.tls_context(context)
            }
            None => http,
        };
        Ok(Self {
            kube,
            http: http.build_https(),
            person,
            known: Mutex::default(),
        })
    }

    /// Returns the client for a cluster.
    pub async fn of(&self, site: &Site) -> Result<aws_sdk_eks::Client, EngineError> {
        let key = key_of(site);
        if key.1.is_none() {
            self.person.may_operate(site, "aws")?;
        }
        if let Some(known) = self.lock().get(&key).cloned() {
            return Ok(known);
        }
        let client = aws_sdk_eks::Client::new(&self.config(&key).await?);
        self.lock().insert(key, client.clone());
        Ok(client)
    }

    /// Removes the client of a cluster whose credentials AWS didn't accept: its Secret may have changed.
    pub fn forget(&self, site: &Site) {
        self.lock().remove(&key_of(site));
    }

    /// Adds advice to a refusal if no Secret is named and nothing else provides credentials.
    pub fn with_advice(&self, site: &Site, mut refused: Refused) -> Refused {
        let advice = match self.person {
            Person::User => {
                "log in with aws configure or AWS_PROFILE, or name a Secret with --credentials-secret"
            }
            Person::Operator(_) => {
                "give the operator an identity with EKS Pod Identity or the chart's aws.roleArn, or name a Secret in spec.provider.aws.credentialsSecret"
            }
        };
        if let Failure::Passing(passing) = &mut refused.error
            && passing.reason == NO_CREDENTIALS
            && key_of(site).1.is_none()
        {
            passing.message = format!("{advice}: {}", passing.message);
        }
        refused
    }

    async fn config(&self, (region, secret): &Key) -> Result<SdkConfig, EngineError> {
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .region(Region::new(region.clone()))
            // Belay itself tries again, and shows that it does.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        let Some((namespace, name)) = secret else {
            return Ok(config.load().await);
        };
        let place = (namespace.as_str(), name.as_str());
        let [id, key, token] = credentials::read(&self.kube, place, KEYS, &KEYS[2..]).await?;
        let token = Some(token).filter(|token| !token.is_empty());
        let given = Credentials::new(id, key, token, None, "a Secret");
        Ok(config.credentials_provider(given).load().await)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, aws_sdk_eks::Client>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(site: &Site) -> Key {
    let settings = settings(&site.provider);
    let secret = settings.credentials_secret;
    (
        settings.region,
        secret.map(|secret| (site.namespace.clone(), secret)),
    )
}
