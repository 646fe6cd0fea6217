//! A real Kubernetes control plane for the tests of operators: etcd, kube-apiserver,
//! kube-controller-manager, kube-scheduler and kwok, built from their Go modules and started on loopback.
//!
//! It is for Rust what envtest is for Go. (The crate `envtest` binds Go's own envtest, which starts only etcd and
//! kube-apiserver, and needs clang.)
//!
//! ```no_run
//! # async fn example() -> Result<(), testenv::Error> {
//! let control_plane = testenv::ControlPlane::start().await?;
//! let client = control_plane.client().await?;
//! # Ok(()) }
//! ```
//!
//! Everything that it starts ends with it: on drop, and whenever its process ends, for any reason.

mod binaries;
mod certificates;
pub mod clouds;
pub mod cluster_api;
mod component;
mod control_plane;
mod families;
pub mod image;
mod kubeconfig;
pub mod namespaces;
mod node;
mod process;

pub use binaries::{argo_cd_folder, argo_rollouts_crds, binary, flux_crds, kwok_stages};
pub use cluster_api::{ClusterApi, Controller};
pub use component::Component;
pub use control_plane::{Builder, ControlPlane};
pub use node::Node;
pub use process::Process;

use std::path::PathBuf;

/// The reason why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A binary couldn't be built.
    #[error("failed to build {what}: {why}")]
    Build {
        /// Its name.
        what: String,
        /// What the build said.
        why: String,
    },
    /// This machine lacks something.
    #[error("{what}")]
    Missing {
        /// What is missing, and how to get it.
        what: String,
    },
    /// A component ended, or didn't become ready in time.
    #[error("{component} {what}; its log is {} and ends:\n{tail}", log.display())]
    Component {
        /// Its name.
        component: String,
        /// What happened to it.
        what: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A certificate couldn't be made.
    #[error("failed to make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file couldn't be read or written, or a process couldn't be started.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// No client could be made, or the API server refused.
    #[error(transparent)]
    Client(#[from] kube::Error),
    /// A kubeconfig couldn't be used.
    #[error(transparent)]
    Kubeconfig(#[from] kube::config::KubeconfigError),
}

/// Adds to an error what was tried.
fn tried<T>(what: impl Into<String>, result: std::io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Io {
        what: what.into(),
        source,
    })
}
