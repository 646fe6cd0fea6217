//! The kubectl plugin.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    belay::cli::run().await
}
