//! Log lines, on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The format of log lines.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts to write log lines. `RUST_LOG` selects which ones. A panic is logged too.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=warn"));
    let is_coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_coloured)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}

/// Returns the span for everything that is logged about an Operation.
pub fn operation(name: &str, namespace: &str, cluster: &str) -> tracing::Span {
    tracing::info_span!("operation", operation = name, namespace, cluster)
}
