//! The cluster and namespace that a command is about, found as kubectl finds them.

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use kube::{
    Api, Client, Config, Resource,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};

use super::{connection, look::Look};

/// How long the API server may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may be silent: longer than a watch lasts.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What every command takes, as kubectl has it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options of every command")]
pub struct GlobalFlags {
    /// The namespace; that of the kubeconfig's context where it isn't set.
    #[arg(long, short, global = true, value_name = "NAME")]
    pub namespace: Option<String>,

    /// The kubeconfig's context; its current one where it isn't set.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,

    /// The kubeconfig to use instead of `KUBECONFIG` or `~/.kube/config`.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Write no colours. `NO_COLOR` in the environment does the same.
    #[arg(long, global = true)]
    pub no_color: bool,

    /// Write a line for each change instead of bars that move, as it is in a pipe: for screen readers and logs.
    #[arg(long, global = true)]
    pub plain: bool,
}

/// An API server, a namespace there, and how things are shown.
#[derive(Clone)]
pub struct Session {
    /// The API server.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    /// Whether the command line names it.
    pub is_namespace_given: bool,
    /// How things are shown.
    pub look: Look,
    /// Whether what is shown may move.
    pub is_live: bool,
}

impl Session {
    /// Reads the kubeconfig. It connects to nothing yet.
    ///
    /// # Errors
    /// Where there is no kubeconfig, or not that context in it.
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

    /// The objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
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
        anyhow::anyhow!("no cluster to talk to: {error}; set KUBECONFIG or --kubeconfig, and --context to one of `kubectl config get-contexts`")
    })
}

/// How things are shown here and now.
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
