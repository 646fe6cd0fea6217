//! Who may ask.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use testenv::clouds::aws::{POD_IDENTITY_TOKEN, ROLE};

use crate::{
    client::{Client, code},
    common::Response,
    signer::Signer,
};

impl Client {
    /// Who may not see a cluster for that reason.
    async fn refused(&self, by: &Signer) -> (u16, String) {
        let answer = self
            .send_as(by, Method::GET, "/clusters/demo", Value::Null)
            .await;
        code(&answer)
    }

    /// Asks for the credentials of a role.
    pub async fn assume(&self, role: &str) -> Response {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let asked = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={role}&RoleSessionName=belay&WebIdentityToken=a.web.token"
        );
        self.http.ask(Method::POST, "/", &[form], asked).await
    }
}

#[tokio::test]
async fn only_who_has_signed_what_is_asked_is_let_in() {
    let client = Client::start().await;
    let answer = client.send(Method::GET, "/clusters", Value::Null).await;
    assert_eq!(answer.body, json!({"clusters": ["demo"]}));
    assert!(!answer.header("x-amzn-requestid").is_empty());
    let but = |change: fn(&mut Signer)| {
        let mut signer = client.signer.clone();
        change(&mut signer);
        signer
    };
    let wrong = (403, "InvalidSignatureException".to_owned());
    for signer in [
        but(|by| by.secret = "wrong".into()),
        but(|by| by.region = "us-east-1"),
        but(|by| by.service = "sts"),
        but(|by| by.skew = -301),
        but(|by| by.skew = 310),
    ] {
        assert_eq!(client.refused(&signer).await, wrong);
    }
    let unknown = (403, "UnrecognizedClientException".to_owned());
    for signer in [
        but(|by| by.key = "AKIDOTHER".into()),
        but(|by| by.token = Some("of nobody".into())),
    ] {
        assert_eq!(client.refused(&signer).await, unknown);
    }
    let unsigned = client
        .http
        .ask(Method::GET, "/clusters", &[], String::new())
        .await;
    assert_eq!(
        code(&unsigned),
        (403, "MissingAuthenticationTokenException".into())
    );
}

#[tokio::test]
async fn a_session_is_taken_until_it_expires() {
    let client = Client::start().await;
    let assumed = client.assume(ROLE).await;
    let xml = assumed.body.as_str().expect("XML");
    let part = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>")).expect("begin");
        let (part, _) = rest.split_once('<').expect("end");
        part.to_owned()
    };
    let of_role = Signer {
        key: part("AccessKeyId"),
        secret: part("SecretAccessKey"),
        token: Some(part("SessionToken")),
        ..client.signer.clone()
    };
    let token = [("authorization", POD_IDENTITY_TOKEN)];
    let answer = client
        .http
        .ask(Method::GET, "/v1/credentials", &token, String::new())
        .await;
    let part = |name: &str| answer.body[name].as_str().expect("text").to_owned();
    let of_pod = Signer {
        key: part("AccessKeyId"),
        secret: part("SecretAccessKey"),
        token: Some(part("Token")),
        ..client.signer.clone()
    };
    for signer in [&of_role, &of_pod] {
        let answer = client
            .send_as(signer, Method::GET, "/clusters/demo", Value::Null)
            .await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let without = Signer {
        token: None,
        ..of_pod.clone()
    };
    let unknown = (403, "UnrecognizedClientException".to_owned());
    assert_eq!(client.refused(&without).await, unknown);
    client.aws.expire_tokens();
    let expired = (403, "ExpiredTokenException".to_owned());
    assert_eq!(client.refused(&of_role).await, expired);
    let other = client.assume("arn:aws:iam::123456789012:role/other").await;
    assert_eq!(other.status, StatusCode::FORBIDDEN);
    let secret = of_role.secret.as_str();
    let kept = format!("{:?}", client.aws.exchanges());
    assert!(!kept.contains(secret) && !kept.contains(&of_pod.secret));
}
