//! The kubectl plugin.

use std::process::{Command, Output, Stdio};

use super::belay::Belay;

/// Returns the plugin's command in the namespace, with its output in pipes.
pub fn command(belay: &Belay, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-belay"));
    command
        .args(["-n", &belay.namespace])
        .args(args)
        .env("KUBECONFIG", belay.world.kubeconfig.as_path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the plugin until it ends, without blocking other tasks.
pub async fn run(belay: &Belay, args: &[&str]) -> Output {
    run_with(belay, args, &[]).await
}

/// Does the same with additional environment variables.
pub async fn run_with(belay: &Belay, args: &[&str], environment: &[(&str, String)]) -> Output {
    let mut command = command(belay, args);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let output = tokio::task::spawn_blocking(move || command.output());
    output.await.expect("the task ends").expect("runs")
}

/// Returns its output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
