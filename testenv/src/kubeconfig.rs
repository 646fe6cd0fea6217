//! Kubeconfigs of a control plane.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::config::Kubeconfig;
use serde_json::json;

use crate::certificates::Identity;

/// How a kubeconfig's user authenticates.
pub(crate) enum User<'a> {
    /// By a certificate.
    Certificate(&'a Identity),
    /// By a token.
    Token(&'a str),
    /// By the administrator's certificate, impersonating another user.
    As(&'a Identity, &'a str, &'a [&'a str]),
}

pub(crate) fn kubeconfig(url: &str, authority: &str, user: &User<'_>) -> Kubeconfig {
    let certificate = |identity: &Identity| {
        json!({
            "client-certificate-data": STANDARD.encode(&identity.certificate),
            "client-key-data": STANDARD.encode(&identity.key),
        })
    };
    let user = match user {
        User::Certificate(identity) => certificate(identity),
        User::Token(token) => json!({ "token": token }),
        User::As(identity, name, groups) => {
            let mut user = certificate(identity);
            user["as"] = json!(name);
            user["as-groups"] = json!(groups);
            user
        }
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testenv", "cluster": {
            "server": url,
            "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{"name": "testenv", "user": user}],
        "contexts": [{"name": "testenv", "context": {"cluster": "testenv", "user": "testenv"}}],
        "current-context": "testenv",
    });
    serde_json::from_value(config).unwrap_or_default()
}
