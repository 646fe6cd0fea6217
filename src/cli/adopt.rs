//! `kubectl belay adopt`: prints the manifests that take an existing cluster under Belay's operations.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::provider::cluster_api;

use super::{output, session::Session};

/// Print the manifests that take an existing cluster under Belay's operations.
///
/// They ask for what is there: applying them begins no operation, and changes nothing of the cluster.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl belay adopt cluster-api prod > prod.yaml\n  kubectl apply -f prod.yaml"
)]
pub struct AdoptFlags {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Adopt a Cluster of Cluster API, in the namespace.
    ClusterApi {
        /// The Cluster's name.
        name: String,
    },
}

/// Prints the manifests. What Belay doesn't operate is named in a comment.
///
/// # Errors
/// Where the cluster can't be read.
pub async fn run(session: &Session, flags: &AdoptFlags) -> anyhow::Result<ExitCode> {
    let From::ClusterApi { name } = &flags.from;
    let adopted = cluster_api::manifests(&session.client, &session.namespace, name).await;
    let adopted = match adopted {
        Ok(adopted) => adopted,
        Err(error) => bail!("{}: {}", error.reason, error.message),
    };
    for left_out in &adopted.left_out {
        output::say(&format!("# Left out: {left_out}."))?;
    }
    let texts: Result<Vec<_>, _> = adopted
        .manifests
        .iter()
        .map(serde_saphyr::to_string)
        .collect();
    output::say(texts?.join("---\n").trim_end())?;
    Ok(ExitCode::SUCCESS)
}
