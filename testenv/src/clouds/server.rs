//! A server on loopback, over TLS, with a certificate authority of its own.

use std::net::TcpListener;

use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsConfig};

use crate::{Error, certificates::Authority, tried};

/// A server that stops when it is dropped.
pub(super) struct Server {
    /// Its URL.
    pub url: String,
    /// The certificate of its authority, PEM.
    pub authority: String,
    handle: Handle<std::net::SocketAddr>,
}

impl Server {
    /// Serves the routes that `routes` returns for the server's own address.
    pub async fn start(routes: impl FnOnce(&str) -> Router) -> Result<Self, Error> {
        let listener = tried("failed to listen", TcpListener::bind("127.0.0.1:0"))?;
        tried("failed to listen", listener.set_nonblocking(true))?;
        let port = tried("failed to listen", listener.local_addr())?.port();
        let url = format!("https://localhost:{port}");
        let authority = Authority::new()?;
        let identity = authority.identity("cloud", None, &["localhost", "127.0.0.1"])?;
        let tls = RustlsConfig::from_pem(identity.certificate.into(), identity.key.into()).await;
        let tls = tried("failed to use a certificate", tls)?;
        let handle = Handle::new();
        let server = tried(
            "failed to listen",
            axum_server::from_tcp_rustls(listener, tls),
        )?;
        let service = routes(&url).into_make_service();
        tokio::spawn(server.handle(handle.clone()).serve(service));
        Ok(Self {
            url,
            authority: authority.certificate(),
            handle,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}
