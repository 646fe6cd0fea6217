//! Verifies signatures of AWS's version 4, independently of any SDK's signer.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest as _, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The parts of a request that are signed.
pub(super) struct Signed<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// The signature of a request, with the signer and the service.
pub(super) struct Signature {
    pub access_key: String,
    /// The date, such as `20150830`.
    pub date: String,
    pub region: String,
    pub service: String,
    /// The names of the signed headers, in lower case, in order.
    headers: Vec<String>,
    code: String,
}

impl Signature {
    /// Returns the signature of a request; `None` if the `Authorization` header isn't a signature.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let parts = text.strip_prefix(ALGORITHM)?.split(',');
        let part = |key: &str| {
            let mut parts = parts.clone().map(str::trim);
            parts.find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
        };
        let scope: Vec<_> = part("Credential")?.split('/').collect();
        let [access_key, date, region, service, "aws4_request"] = scope[..] else {
            return None;
        };
        let headers: Vec<_> = part("SignedHeaders")?.split(';').collect();
        headers.is_sorted().then(|| Self {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            headers: headers.into_iter().map(ToOwned::to_owned).collect(),
            code: part("Signature").unwrap_or_default().to_owned(),
        })
    }

    /// Whether a header is signed.
    pub fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|signed| signed == header)
    }

    /// Whether this is the signature that the owner of the secret makes for a request at a time such as
    /// `20150830T123600Z`.
    pub fn is_of(&self, signed: &Signed<'_>, time: &str, secret: &str) -> bool {
        let text = format!(
            "{ALGORITHM}\n{time}\n{}\n{}",
            self.scope().join("/"),
            hash(self.canonical(signed).as_bytes())
        );
        let secret = format!("AWS4{secret}").into_bytes();
        let scope = self.scope().into_iter();
        let key = scope.fold(secret, |key, part| keyed(&key, part));
        hex(&keyed(&key, &text)) == self.code
    }

    fn scope(&self) -> [&str; 4] {
        [&self.date, &self.region, &self.service, "aws4_request"]
    }

    /// Returns the canonical form of a request.
    fn canonical(&self, signed: &Signed<'_>) -> String {
        let headers = self.headers.iter().map(|name| {
            let values = signed.headers.get_all(name).iter();
            let values = values.filter_map(|value| Some(spaced(value.to_str().ok()?)));
            format!("{name}:{}\n", values.collect::<Vec<_>>().join(","))
        });
        [
            signed.method,
            &encoded(signed.path),
            &sorted(signed.query),
            &headers.collect::<String>(),
            &self.headers.join(";"),
            &hash(signed.body),
        ]
        .join("\n")
    }
}

/// Encodes a path once more than it is encoded in the request. (No path of EKS has dots or empty parts.)
fn encoded(path: &str) -> String {
    let bytes = path.bytes().map(|byte| match byte {
        b'/' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    bytes.collect()
}

/// Sorts a query by its keys, and equal keys by their values.
fn sorted(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<_> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    let pairs = pairs.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

/// Removes the spaces that have no meaning from a header's value.
fn spaced(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Returns the hash of bytes as hexadecimal text.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    digits.collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// Whether AWS's own example signature for a query is accepted. (`get-vanilla` and similar cases of AWS's test
    /// suite)
    fn is_taken(query: &str, signature: &str) -> bool {
        let authorization = format!(
            "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("example.amazonaws.com"));
        headers.insert("x-amz-date", HeaderValue::from_static("20150830T123600Z"));
        let authorization = HeaderValue::try_from(authorization).expect("a header");
        headers.insert(AUTHORIZATION, authorization);
        let signed = Signed {
            method: "GET",
            path: "/",
            query,
            headers: &headers,
            body: b"",
        };
        let signature = Signature::of(&headers).expect("a signature");
        signature.is_of(&signed, "20150830T123600Z", SECRET)
    }

    #[test]
    fn the_examples_of_aws_are_taken_and_nothing_beside_them() {
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert!(is_taken("", vanilla));
        assert!(!is_taken("a=b", vanilla));
        let query = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
        assert!(is_taken("Param2=value2&Param1=value1", query));
    }

    #[test]
    fn a_path_is_encoded_twice_and_a_query_is_sorted() {
        assert_eq!(encoded("/clusters/a%20b"), "/clusters/a%2520b");
        assert_eq!(sorted("b=1&a=2&a=1&c"), "a=1&a=2&b=1&c=");
        assert_eq!(spaced("  a   b "), "a b");
    }
}
