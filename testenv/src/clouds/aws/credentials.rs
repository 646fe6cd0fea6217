//! Authentication: the owner of the long-lived key, and the owners of session credentials.

use http::{HeaderMap, HeaderValue, header::HOST, request::Parts};
use jiff::{SignedDuration, Timestamp};

use super::{
    ACCESS_KEY, REGION, SECRET_KEY, now,
    signature::{Signature, Signed},
};

/// How long session credentials are valid, in seconds.
const GOOD: i64 = 3600;
/// The maximum difference between a request's time and now.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// The credentials of a session.
#[derive(Clone)]
pub(super) struct Session {
    pub access_key: String,
    pub secret: String,
    pub token: String,
    pub expires: Timestamp,
}

/// The reason why a request isn't admitted.
pub(super) enum Denial {
    /// It isn't signed.
    Unsigned,
    /// Its signature is incomplete.
    Incomplete,
    /// The key or the session token is unknown.
    Unknown,
    /// Its session has expired.
    Expired,
    /// Its signature is wrong, with the details.
    Wrong(String),
}

impl Denial {
    /// Returns the message in AWS's words.
    pub fn message(&self) -> String {
        match self {
            Self::Unsigned => "Missing Authentication Token".into(),
            Self::Incomplete => "The request signature does not conform to AWS standards.".into(),
            Self::Unknown => "The security token included in the request is invalid.".into(),
            Self::Expired => "The security token included in the request is expired".into(),
            Self::Wrong(what) => what.clone(),
        }
    }
}

/// The credentials that the fake accepts.
#[derive(Default)]
pub(super) struct Credentials {
    sessions: Vec<Session>,
}

impl Credentials {
    /// Issues the credentials of a new session.
    pub fn give(&mut self) -> Session {
        let number = self.sessions.len() + 1;
        let expires = Timestamp::from_second(now().as_second() + GOOD);
        let session = Session {
            access_key: format!("ASIAFAKE{number:012}"),
            secret: format!("secret-of-session-{number}"),
            token: format!("token-of-session-{number}"),
            expires: expires.unwrap_or_default(),
        };
        self.sessions.push(session.clone());
        session
    }

    /// Expires all sessions so far.
    pub fn expire(&mut self) {
        for session in &mut self.sessions {
            session.expires = now();
        }
    }

    /// Admits a request to a service if a known user has signed it.
    pub fn admit(&self, parts: &Parts, body: &[u8], service: &str) -> Result<(), Denial> {
        if !parts.headers.contains_key("authorization") {
            return Err(Denial::Unsigned);
        }
        let signature = Signature::of(&parts.headers).ok_or(Denial::Incomplete)?;
        let secret = self.secret_of(parts, &signature)?;
        let time = header(parts, "x-amz-date").ok_or(Denial::Incomplete)?;
        if let Some(wrong) = wrong(&signature, time, service) {
            return Err(Denial::Wrong(wrong));
        }
        let signed = Signed {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &with_host(parts),
            body,
        };
        if signature.is_of(&signed, time, secret) {
            return Ok(());
        }
        Err(Denial::Wrong("The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.".into()))
    }

    /// Returns the signer's secret. A session's key needs its token, and no other key may come with a token.
    fn secret_of(&self, parts: &Parts, signature: &Signature) -> Result<&str, Denial> {
        let key = &signature.access_key;
        let token = header(parts, "x-amz-security-token");
        if key == ACCESS_KEY && token.is_none() {
            return Ok(SECRET_KEY);
        }
        let session = self
            .sessions
            .iter()
            .find(|session| session.access_key == *key && token == Some(session.token.as_str()));
        let session = session.ok_or(Denial::Unknown)?;
        if session.expires <= now() {
            return Err(Denial::Expired);
        }
        let is_signed = signature.has("x-amz-security-token");
        is_signed.then_some(session.secret.as_str()).ok_or_else(|| {
            Denial::Wrong(
                "'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization.".into(),
            )
        })
    }
}

/// Returns the headers as they were signed. In HTTP/2 the host is in the request's target.
fn with_host(parts: &Parts) -> HeaderMap {
    let mut headers = parts.headers.clone();
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(HOST, host);
    }
    headers
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

/// Returns what is wrong with a signature before the signatures are compared.
fn wrong(signature: &Signature, time: &str, service: &str) -> Option<String> {
    for (header, name) in [("host", "Host"), ("x-amz-date", "X-Amz-Date")] {
        if !signature.has(header) {
            return Some(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            ));
        }
    }
    if signature.region != REGION {
        let region = &signature.region;
        return Some(format!(
            "Credential should be scoped to a valid region, not '{region}'."
        ));
    }
    if signature.service != service {
        return Some(format!(
            "Credential should be scoped to correct service: '{service}'."
        ));
    }
    if !time.starts_with(&signature.date) {
        return Some("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.".into());
    }
    let now = now();
    let Ok(asked) = time.parse::<Timestamp>() else {
        return Some("Date must be in ISO-8601 'basic format'.".into());
    };
    let age = now.duration_since(asked);
    if age > SKEW {
        Some(format!(
            "Signature expired: {asked} is now earlier than {now} - 5 min."
        ))
    } else if age < -SKEW {
        Some(format!(
            "Signature not yet current: {asked} is still later than {now} + 5 min."
        ))
    } else {
        None
    }
}
