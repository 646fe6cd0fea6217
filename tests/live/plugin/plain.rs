//! The plugin prints the texts of other users and programs without control characters.

use std::sync::Arc;

use belay::api::OperationPhase;
use serde_json::json;

use crate::stage::{
    belay::{Belay, World},
    plugin::{run, text},
};

pub async fn no_command_prints_the_control_characters_of_a_reason(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = belay.blocked_scale().await;
    let reason = "enough\u{1b}[2J\u{1b}[8m\r\nsmile";
    let patch = json!({"metadata": {"annotations": {"belay.dev/abort": reason}}}).to_string();
    belay.kubectl(&["patch", "operation", &scale, "--type=merge", "-p", &patch]);
    belay.is_in_phase(&scale, OperationPhase::Canceled).await;
    belay.lock_is_free().await;
    let mut with_reason = Vec::new();
    for command in [
        &["operation", "show", &scale][..],
        &["operation", "show", &scale, "-o", "yaml"],
        &["operation", "show", &scale, "-o", "json"],
        &["operation", "list", "-o", "wide"],
        &["status", "demo"],
        &["status", "demo", "-o", "wide"],
        &["why", "pool", "np1"],
    ] {
        let output = run(&belay, command).await;
        let shown = text(&[output.stdout, output.stderr].concat());
        if shown.contains("smile") {
            with_reason.push(command[..2].join(" "));
        }
        let controls: Vec<_> = shown
            .chars()
            .filter(|letter| letter.is_control() && *letter != '\n')
            .collect();
        assert!(controls.is_empty(), "{command:?}: {controls:?}\n{shown}");
        assert!(
            !shown.lines().any(|line| line.starts_with("smile")),
            "{command:?}: the reason starts no line of its own:\n{shown}"
        );
    }
    assert!(
        with_reason.len() >= 2,
        "commands that show the reason: {with_reason:?}"
    );
}
