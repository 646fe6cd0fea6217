//! A signer of AWS's version 4, for the paths and queries of these tests.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// Who signs, and for whom.
#[derive(Clone)]
pub struct Signer {
    pub key: String,
    pub secret: String,
    /// Of a session.
    pub token: Option<String>,
    pub region: &'static str,
    pub service: &'static str,
    /// How far the signer's clock is from that of this machine, in seconds.
    pub skew: i64,
}

impl Signer {
    /// The headers that a request to a host is signed with.
    pub fn headers(
        &self,
        method: &Method,
        host: &str,
        path: &str,
        body: &str,
    ) -> Vec<(&'static str, String)> {
        let time = self.time();
        let (date, _) = time.split_once('T').expect("a date");
        let mut headers = vec![("host", host.to_owned()), ("x-amz-date", time.clone())];
        let token = self.token.iter().cloned();
        headers.extend(token.map(|token| ("x-amz-security-token", token)));
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}"));
        let lines = lines.collect::<Vec<_>>().join("\n");
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut query: Vec<_> = query.split('&').collect();
        query.sort_unstable();
        let query = query.join("&");
        let body = hex(&Sha256::digest(body));
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n\n{names}\n{body}");
        let scope = [date, self.region, self.service, "aws4_request"];
        let text = format!(
            "AWS4-HMAC-SHA256\n{time}\n{}\n{}",
            scope.join("/"),
            hex(&Sha256::digest(canonical))
        );
        let secret = format!("AWS4{}", self.secret).into_bytes();
        let key = scope.iter().fold(secret, |key, part| keyed(&key, part));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={}",
            self.key,
            scope.join("/"),
            hex(&keyed(&key, &text))
        );
        headers.push(("authorization", authorization));
        headers
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a request is signed at the time that it is"
    )]
    fn time(&self) -> String {
        let time = Timestamp::from_second(Timestamp::now().as_second() + self.skew);
        let time = time.expect("a time").strftime("%Y%m%dT%H%M%SZ");
        time.to_string()
    }
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    digits.collect()
}
