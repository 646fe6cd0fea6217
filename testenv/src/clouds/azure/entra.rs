//! Entra ID: it gives tokens to a client with the client's secret, or with a federated token.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::{
    Form, Json, Router,
    extract::{Path, State as Shared},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{SUBSCRIPTION, State, lock, now};

/// The tenant of all clients.
pub const TENANT: &str = "11111111-aaaa-bbbb-cccc-222222222222";
/// The client that may operate all clusters.
pub const CLIENT: &str = "00000000-0000-0000-0000-000000000008";
/// The client's secret.
pub const SECRET: &str = "not-so-secret";

/// How long a token is valid, in seconds.
const GOOD: i64 = 3600;

/// The tokens that are accepted.
#[derive(Default)]
pub(super) struct Tokens {
    taken: BTreeSet<String>,
    given: u64,
}

impl Tokens {
    /// Rejects all tokens that were issued so far.
    pub fn expire(&mut self) {
        self.taken.clear();
    }

    /// Whether a token is accepted.
    pub fn takes(&self, token: &str) -> bool {
        self.taken.contains(token)
    }

    /// Issues a new token for an audience. Nobody verifies its signature.
    fn give(&mut self, url: &str, audience: &str) -> String {
        self.given += 1;
        let now = now().as_second();
        let part = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let claims = json!({"aud": audience, "iss": format!("{url}/{TENANT}/v2.0"), "tid": TENANT,
            "appid": CLIENT, "oid": CLIENT, "sub": CLIENT, "iat": now, "exp": now + GOOD, "jti": self.given});
        let header = json!({"alg": "RS256", "typ": "JWT"});
        let token = format!("{}.{}.c2ln", part(header), part(claims));
        self.taken.insert(token.clone());
        token
    }
}

/// The request of a client.
#[derive(Deserialize)]
struct Login {
    grant_type: String,
    client_id: String,
    scope: String,
    client_secret: Option<String>,
    client_assertion: Option<String>,
    client_assertion_type: Option<String>,
}

impl Login {
    /// Returns why the client gets no token.
    fn refusal(&self) -> Option<(&'static str, &'static str)> {
        let federated = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let has_assertion = self.client_assertion_type.as_deref() == Some(federated)
            && self
                .client_assertion
                .as_ref()
                .is_some_and(|it| !it.trim().is_empty());
        if self.grant_type != "client_credentials" {
            return Some((
                "unsupported_grant_type",
                "AADSTS70003: The app requested an unsupported grant type.",
            ));
        }
        if self.client_id != CLIENT {
            return Some((
                "unauthorized_client",
                "AADSTS700016: Application was not found in the directory.",
            ));
        }
        let has_secret = self.client_secret.as_deref() == Some(SECRET);
        (!has_secret && !has_assertion).then_some((
            "invalid_client",
            "AADSTS7000215: Invalid client secret provided.",
        ))
    }
}

type Known = Arc<Mutex<State>>;

/// The routes that a client uses before it uses the Resource Manager.
pub(super) fn routes() -> Router<Known> {
    Router::new()
        .route("/metadata/endpoints", get(endpoints))
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(discovery),
        )
        .route("/{tenant}/oauth2/v2.0/token", post(token))
        .route("/subscriptions", get(subscriptions))
        .route("/tenants", get(tenants))
}

async fn token(Shared(state): Shared<Known>, Form(login): Form<Login>) -> Response {
    if let Some((error, description)) = login.refusal() {
        let refusal = json!({"error": error, "error_description": description});
        return (StatusCode::UNAUTHORIZED, Json(refusal)).into_response();
    }
    let mut state = lock(&state);
    let url = state.url.clone();
    let audience = login.scope.trim_end_matches("/.default");
    let token = state.tokens.give(&url, audience);
    Json(json!({"token_type": "Bearer", "expires_in": GOOD, "ext_expires_in": GOOD, "access_token": token}))
        .into_response()
}

async fn discovery(Shared(state): Shared<Known>, Path(tenant): Path<String>) -> Json<Value> {
    let url = format!("{}/{tenant}", lock(&state).url);
    Json(
        json!({"issuer": format!("{url}/v2.0"), "jwks_uri": format!("{url}/discovery/v2.0/keys"),
        "token_endpoint": format!("{url}/oauth2/v2.0/token"),
        "authorization_endpoint": format!("{url}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{url}/oauth2/v2.0/devicecode")}),
    )
}

async fn endpoints(Shared(state): Shared<Known>) -> Json<Value> {
    let url = lock(&state).url.clone();
    let rest: Vec<_> = [
        "portal",
        "graph",
        "graphAudience",
        "microsoftGraphResourceId",
        "media",
        "gallery",
        "batch",
        "sqlManagement",
        "activeDirectoryDataLake",
        "vmImageAliasDoc",
        "resourceManager",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), json!(format!("{url}/"))))
    .collect();
    let mut all: serde_json::Map<_, _> = rest.into_iter().collect();
    all.insert("name".into(), json!("Fake"));
    all.insert(
        "authentication".into(),
        json!({"loginEndpoint": url, "audiences": [format!("{url}/")],
        "tenant": "common", "identityProvider": "AAD"}),
    );
    all.insert(
        "suffixes".into(),
        json!({"storage": "core.local", "keyVaultDns": "vault.local"}),
    );
    Json(Value::Object(all))
}

async fn subscriptions() -> Json<Value> {
    Json(
        json!({"value": [{"id": format!("/subscriptions/{SUBSCRIPTION}"), "subscriptionId": SUBSCRIPTION,
        "tenantId": TENANT, "displayName": "Fake", "state": "Enabled", "authorizationSource": "RoleBased",
        "managedByTenants": []}]}),
    )
}

async fn tenants() -> Json<Value> {
    Json(json!({"value": [{"id": format!("/tenants/{TENANT}"), "tenantId": TENANT}]}))
}
