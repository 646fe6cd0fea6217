//! STS: it gives session credentials to a client with a web identity token.

use std::sync::{Arc, Mutex};

use axum::{
    Form,
    body::{Body, to_bytes},
    extract::{FromRequest as _, Request, State as Shared},
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde::Deserialize;

use super::{ACCESS_KEY, ACCOUNT, LONGEST, ROLE, State, credentials::Denial, lock};

const XML: &str = "text/xml";

/// The content of a request.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    action: String,
    version: String,
    #[serde(default)]
    role_arn: String,
    #[serde(default)]
    role_session_name: String,
    #[serde(default)]
    web_identity_token: String,
}

impl Asked {
    /// Returns the refusal if no session may start.
    fn refusal(&self) -> Option<Response> {
        let name = self.role_session_name.as_str();
        let is_known = |char: char| char.is_ascii_alphanumeric() || "_+=,.@-".contains(char);
        if name.len() < 2 || !name.chars().all(is_known) {
            let message = "Value at 'roleSessionName' failed to satisfy constraint";
            return Some(refused(StatusCode::BAD_REQUEST, "ValidationError", message));
        }
        let has_token = !self.web_identity_token.trim().is_empty();
        (!has_token || self.role_arn != ROLE).then(|| {
            let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
            refused(StatusCode::FORBIDDEN, "AccessDenied", message)
        })
    }
}

/// Answers a request.
pub(super) async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let form = Request::from_parts(parts.clone(), Body::from(body.clone()));
    let asked = Form::<Asked>::from_request(form, &()).await;
    let Ok(Form(asked)) = asked else {
        let message = "The request must contain the parameter Action";
        return refused(StatusCode::BAD_REQUEST, "MissingAction", message);
    };
    let mut state = lock(&state);
    match (asked.action.as_str(), asked.version.as_str()) {
        ("AssumeRoleWithWebIdentity", "2011-06-15") => state.assume_role(&asked),
        ("GetCallerIdentity", "2011-06-15") => {
            let admitted = state.credentials.admit(&parts, &body, "sts");
            let is_session = parts.headers.contains_key("x-amz-security-token");
            admitted.map_or_else(|denial| denied(&denial), |()| identity(is_session))
        }
        (action, version) => {
            let message = format!("Could not find operation {action} for version {version}");
            refused(StatusCode::BAD_REQUEST, "InvalidAction", &message)
        }
    }
}

impl State {
    fn assume_role(&mut self, asked: &Asked) -> Response {
        if let Some(refusal) = asked.refusal() {
            return refusal;
        }
        let session = self.credentials.give();
        let name = &asked.role_session_name;
        answered(
            "AssumeRoleWithWebIdentity",
            &format!(
                "<SubjectFromWebIdentityToken>system:serviceaccount</SubjectFromWebIdentityToken>\
                 <Audience>sts.amazonaws.com</Audience>\
                 <AssumedRoleUser><Arn>{}</Arn>\
                 <AssumedRoleId>AROAFAKE:{name}</AssumedRoleId></AssumedRoleUser>\
                 <Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
                 <SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>",
                assumed(name),
                session.access_key,
                session.secret,
                session.token,
                session.expires
            ),
        )
    }
}

/// Returns the ARN of the assumed role, by the name of a session.
fn assumed(session: &str) -> String {
    format!("arn:aws:sts::{ACCOUNT}:assumed-role/belay/{session}")
}

/// Returns the identity of the client.
fn identity(is_session: bool) -> Response {
    let (arn, user) = if is_session {
        (assumed("session"), "AROAFAKE:session")
    } else {
        (format!("arn:aws:iam::{ACCOUNT}:user/belay"), ACCESS_KEY)
    };
    let identity = format!("<Arn>{arn}</Arn><UserId>{user}</UserId><Account>{ACCOUNT}</Account>");
    answered("GetCallerIdentity", &identity)
}

fn answered(action: &str, result: &str) -> Response {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <{action}Result>{result}</{action}Result>\
         <ResponseMetadata><RequestId>00000000-0000-4000-8000-000000000000</RequestId></ResponseMetadata>\
         </{action}Response>"
    );
    ([(CONTENT_TYPE, XML)], body).into_response()
}

fn denied(denial: &Denial) -> Response {
    let code = match denial {
        Denial::Unsigned => "MissingAuthenticationToken",
        Denial::Incomplete => "IncompleteSignature",
        Denial::Unknown => "InvalidClientTokenId",
        Denial::Expired => "ExpiredToken",
        Denial::Wrong(_) => "SignatureDoesNotMatch",
    };
    refused(StatusCode::FORBIDDEN, code, &denial.message())
}

fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>00000000-0000-4000-8000-000000000000</RequestId></ErrorResponse>"
    );
    (status, [(CONTENT_TYPE, XML)], body).into_response()
}
