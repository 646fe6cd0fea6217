//! The cluster and namespace of a command, found in the same way as by kubectl.

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use kube::{
    Api, Client, Config, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use serde_json::{Value, json};

use crate::{
    api::Operation,
    cli::{cluster::connection, terminal::look::Look},
};

/// The field manager of everything that the plugin writes.
pub const FIELD_MANAGER: &str = "kubectl-belay";

/// How long the API server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the API server may be silent. This is longer than a watch lasts.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The flags of every command, as in kubectl.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options of every command")]
pub struct GlobalFlags {
    /// The namespace. By default, that of the kubeconfig's context.
    #[arg(long, short, global = true, value_name = "NAME")]
    pub namespace: Option<String>,

    /// The kubeconfig's context. By default, the current context.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,

    /// The kubeconfig to use instead of `KUBECONFIG` or `~/.kube/config`.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Write no colours. The environment variable `NO_COLOR` does the same.
    #[arg(long, global = true)]
    pub no_color: bool,

    /// Write a line for each change instead of moving bars, as in a pipe. For screen readers and logs.
    #[arg(long, global = true)]
    pub plain: bool,
}

/// An API server, a namespace on it, and how output looks.
#[derive(Clone)]
pub struct Session {
    /// The API server.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    /// Whether the command line names the namespace.
    pub is_namespace_given: bool,
    /// How output looks.
    pub look: Look,
    /// Whether output may move.
    pub is_live: bool,
}

impl Session {
    /// Reads the kubeconfig. Doesn't connect yet.
    ///
    /// # Errors
    /// Returns an error if there is no kubeconfig, or if it doesn't have the given context.
    pub async fn open(flags: &GlobalFlags) -> anyhow::Result<Self> {
        let mut config = config(flags).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        let namespace = flags.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = connection::client(config).context("failed to set up the connection")?;
        Ok(Self {
            client,
            namespace,
            is_namespace_given: flags.namespace.is_some(),
            look: look(flags),
            is_live: is_terminal() && !flags.plain,
        })
    }

    /// Returns the API for the objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Writes annotations of this very Operation, by its uid. Another Operation may get its name in the meantime.
    ///
    /// # Errors
    /// Returns an error if the API server refuses it.
    pub async fn annotate(
        &self,
        operation: &Operation,
        annotations: Value,
        dry_run: bool,
    ) -> kube::Result<()> {
        let patch = json!({"metadata": {"uid": operation.uid(), "annotations": annotations}});
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            dry_run,
            ..PatchParams::default()
        };
        let operations = self.api::<Operation>();
        let (name, patch) = (operation.name_any(), Patch::Merge(patch));
        operations.patch(&name, &params, &patch).await.map(|_| ())
    }

    /// Returns the API for the objects of a kind in all namespaces, or else in the namespace.
    pub fn api_in<K>(&self, all_namespaces: bool) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        if all_namespaces {
            Api::all(self.client.clone())
        } else {
            self.api()
        }
    }
}

async fn config(flags: &GlobalFlags) -> anyhow::Result<Config> {
    let options = KubeConfigOptions {
        context: flags.context.clone(),
        ..KubeConfigOptions::default()
    };
    let named = match &flags.kubeconfig {
        Some(file) => {
            Some(Kubeconfig::read_from(file).map_err(|error| anyhow::anyhow!(error.to_string()))?)
        }
        None => None,
    };
    let config = match named {
        Some(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
        None => Config::from_kubeconfig(&options).await,
    };
    config.map_err(|error| {
        anyhow::anyhow!("no cluster is configured: {error}; set KUBECONFIG or --kubeconfig, and choose a --context from `kubectl config get-contexts`")
    })
}

/// Returns how output looks with these flags on this terminal.
fn look(flags: &GlobalFlags) -> Look {
    let hints = [("-n", &flags.namespace), ("--context", &flags.context)]
        .iter()
        .filter_map(|(flag, value)| Some(format!(" {flag} {}", value.as_ref()?)))
        .collect();
    let wants_none =
        flags.no_color || std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    let look = Look {
        width: is_terminal().then_some(0),
        colour: is_terminal() && !wants_none,
        flags: hints,
    };
    look.now()
}

fn is_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_dumb
}
