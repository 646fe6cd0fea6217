//! A Git server over HTTP: git's own CGI program behind a web server.

use std::{net::Ipv4Addr, path::PathBuf, process::Stdio, sync::Arc};

use anyhow::Context as _;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderName, Method, Uri,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpListener,
    process::{ChildStdin, Command},
};

/// Serves the repositories in a folder until the runtime ends. Returns the address.
pub async fn serve(repositories: PathBuf) -> anyhow::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let server = Router::new()
        .fallback(answer)
        .with_state(Arc::new(repositories));
    tokio::spawn(async move { axum::serve(listener, server).await });
    Ok(format!("http://{address}"))
}

async fn answer(
    State(repositories): State<Arc<PathBuf>>,
    method: Method,
    uri: Uri,
    headers: axum::http::HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &HeaderName| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut backend = Command::new("git");
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", repositories.as_path())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header(&CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", header(&CONTENT_ENCODING))
        .env(
            "GIT_PROTOCOL",
            header(&HeaderName::from_static("git-protocol")),
        );
    match run(backend, body).await {
        Ok(response) => response,
        Err(error) => (
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            format!("{error:#}"),
        )
            .into_response(),
    }
}

/// Runs a CGI program with a request's body.
async fn run(mut program: Command, body: Bytes) -> anyhow::Result<Response> {
    let mut child = program
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdin = child.stdin.take().context("no input")?;
    let (written, output) = tokio::join!(write(stdin, &body), child.wait_with_output());
    written?;
    response(&output?.stdout)
}

/// Writes the whole body, and closes the input.
async fn write(mut stdin: ChildStdin, body: &[u8]) -> std::io::Result<()> {
    stdin.write_all(body).await
}

/// Parses the output of a CGI program: headers, a blank line, the body.
fn response(printed: &[u8]) -> anyhow::Result<Response> {
    let end = printed
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .context("no headers")?;
    let headers = std::str::from_utf8(&printed[..end])?;
    let mut response = Response::builder();
    for line in headers.lines() {
        let (name, value) = line.split_once(": ").context("not a header")?;
        response = if name == "Status" {
            response.status(value.split(' ').next().unwrap_or_default())
        } else {
            response.header(name, value)
        };
    }
    Ok(response.body(Body::from(printed[end + 4..].to_vec()))?)
}
