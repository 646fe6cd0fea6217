//! The text about one cluster: its state, its pools, the operations in flight on it, and the commands that help.

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{
    api::{
        AgentPool, Hold, ManagedCluster, Operation, OperationPhase, ProvisioningState,
        QuarantinedNode, VersionCount,
    },
    cli::{
        cluster::{
            pause,
            view::{self, View, condition, target_words},
        },
        display::progress,
        terminal::{look::Look, table::Table, text},
    },
};

/// The width of a bar, in columns.
pub const BAR_WIDTH: usize = 30;

/// Returns the whole text.
pub fn all(view: &View, look: &Look, now: Timestamp) -> String {
    let mut parts = vec![head(view, look, now)];
    for operation in &view.operations {
        let bar = bar(operation, look);
        let beside = progress::beside_bar(operation, now);
        let phase = progress::phase_word(operation, look);
        parts.push(format!(
            "{}\n  {phase}  {bar}{beside}\n{}",
            progress::title(operation, look),
            progress::details(operation, look, now)
        ));
    }
    parts.extend(what_helps(view, look));
    parts.join("\n\n")
}

/// Returns an Operation's bar that doesn't move. Empty if the output isn't a terminal.
fn bar(operation: &Operation, look: &Look) -> String {
    if look.width.is_none() {
        return String::new();
    }
    let percent = progress_of(operation);
    let done = BAR_WIDTH * usize::try_from(percent).unwrap_or_default() / 100;
    let (done, left) = ("━".repeat(done), "─".repeat(BAR_WIDTH - done));
    format!("{}{left} ", look.good(&done))
}

/// Returns the progress of an Operation, in percent.
pub fn progress_of(operation: &Operation) -> u64 {
    let percent = view::status(operation).percent_complete;
    u64::try_from(percent).unwrap_or_default()
}

/// Returns the text about the state of the cluster and its pools.
pub fn head(view: &View, look: &Look, now: Timestamp) -> String {
    let cluster = &view.cluster;
    let status = cluster.status.clone().unwrap_or_default();
    let name = look.bold(&cluster.name_any());
    let state = state_word(status.provisioning_state, status.hold.as_ref(), look);
    let mut lines = vec![format!("ManagedCluster {name}: {state}")];
    let mut fact = |what: &str, text: &str| {
        lines.push(look.wrap(&format!("  {what:<9}"), "           ", text));
    };
    fact("Version", &version_text(cluster));
    fact("Nodes", &nodes_text(&view.pools));
    let power = status
        .power_state
        .map_or("-".to_owned(), |power| format!("{:?}", power.code));
    fact("Power", &power);
    match condition(&status.conditions, "Ready") {
        Some(ready) => {
            let since = text::since(Some(&ready.last_transition_time), now);
            let state = format!("{} for {since}: {}", ready.status, ready.message);
            fact("Ready", &state);
        }
        None => fact("Ready", "Unknown: no operator has looked at it yet"),
    }
    let pauses = pauses(view, now);
    for pause in &pauses {
        fact("Paused", pause);
    }
    for node in quarantined(&view.pools) {
        let since = text::since(node.since.as_ref(), now);
        let text = format!(
            "node {}, quarantined {since} ago: {}",
            node.name, node.message
        );
        fact("Cordoned", &text);
    }
    let is_at_rest = view.operations.is_empty() && pauses.is_empty();
    if let (Some(last), true) = (&status.last_operation, is_at_rest) {
        let when = text::since(last.end_time.as_ref(), now);
        let why = text::why_it_ended(&last.message);
        fact(
            "Last",
            &format!(
                "{:?} {} {:?} {when} ago{why}",
                last.type_, last.name, last.phase
            ),
        );
    }
    format!("{}\n\n{}", lines.join("\n"), pools(&view.pools, look))
}

/// Returns the quarantined nodes of these pools.
pub fn quarantined(pools: &[AgentPool]) -> impl Iterator<Item = &QuarantinedNode> {
    let statuses = pools.iter().filter_map(|pool| pool.status.as_ref());
    statuses.flat_map(|status| &status.quarantined_nodes)
}

/// Describes each paused operation: since when, why, and how much is left.
fn pauses(view: &View, now: Timestamp) -> Vec<String> {
    view::holds(&view.cluster, &view.pools)
        .filter_map(|hold| Some((hold, pause::why_held(hold)?)))
        .map(|(hold, why)| {
            let since = text::since(hold.since.as_ref(), now);
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(": {why}")
            };
            let of = |operation: &&Operation| operation.uid().as_ref() == Some(&hold.operation.uid);
            let operation = view.held.iter().find(of);
            let left = operation.map_or_else(String::new, |operation| {
                let status = view::status(operation);
                let left = usize::try_from(progress::left(&status)).unwrap_or_default();
                let left = text::count(left, "step");
                let what = view::what_it_does(operation);
                format!(". {what}, at {}%: {left} left", status.percent_complete)
            });
            format!("{since} ago{why}{left}")
        })
        .collect()
}

fn version_text(cluster: &ManagedCluster) -> String {
    let wanted = &cluster.spec.kubernetes_version;
    let runs = cluster
        .status
        .as_ref()
        .and_then(|status| status.kubernetes_version.as_ref());
    match runs {
        Some(runs) if runs == wanted => runs.clone(),
        Some(runs) => format!("{runs}, desired {wanted}"),
        None => format!("none yet, desired {wanted}"),
    }
}

/// Returns the number of nodes of all pools by version: `3 on 1.35.7, 2 on 1.36.3`.
fn nodes_text(pools: &[AgentPool]) -> String {
    let mut versions: Vec<VersionCount> = Vec::new();
    let of_pools = pools
        .iter()
        .filter_map(|pool| pool.status.as_ref())
        .flat_map(|status| &status.versions);
    for more in of_pools {
        match versions
            .iter_mut()
            .find(|it| it.kubernetes_version == more.kubernetes_version)
        {
            Some(known) => known.count += more.count,
            None => versions.push(more.clone()),
        }
    }
    versions.sort_by_key(|it| {
        it.kubernetes_version
            .parse::<crate::api::KubernetesVersion>()
            .ok()
    });
    let words: Vec<_> = versions
        .iter()
        .filter(|it| it.count > 0)
        .map(|it| format!("{} on {}", it.count, it.kubernetes_version))
        .collect();
    if words.is_empty() {
        "none".into()
    } else {
        words.join(", ")
    }
}

fn pools(pools: &[AgentPool], look: &Look) -> String {
    if pools.is_empty() {
        return "It has no pools.".into();
    }
    let mut table = Table::new(&[
        ("POOL", 0),
        ("MODE", 4),
        ("READY", 0),
        ("VERSIONS", 1),
        ("STATE", 0),
        ("OPERATION", 2),
    ]);
    for pool in pools {
        let status = pool.status.clone().unwrap_or_default();
        let operation = status
            .operation
            .map_or("-".to_owned(), |operation| operation.name);
        table.push([
            pool.name_any(),
            format!("{:?}", pool.spec.mode),
            format!("{}/{}", status.ready_count, pool.spec.count),
            status.version_summary.unwrap_or_else(|| "-".into()),
            state_word(
                status.provisioning_state,
                status.hold.as_ref().or(status.cluster_hold.as_ref()),
                look,
            ),
            operation,
        ]);
    }
    table.page(look)
}

/// Returns a provisioning state as people read it: `Paused` instead of Canceled after a pause.
pub fn state(state: Option<ProvisioningState>, hold: Option<&Hold>) -> String {
    match state {
        Some(ProvisioningState::Canceled) if hold.and_then(pause::why_held).is_some() => {
            "Paused".into()
        }
        Some(state) => format!("{state:?}"),
        None => "Unknown".into(),
    }
}

/// Returns a provisioning state in its colour.
pub fn state_word(
    provisioning: Option<ProvisioningState>,
    hold: Option<&Hold>,
    look: &Look,
) -> String {
    let word = state(provisioning, hold);
    let Some(state) = provisioning else {
        return look.warn(&word);
    };
    match state {
        ProvisioningState::Succeeded => look.good(&word),
        ProvisioningState::Failed => look.bad(&word),
        ProvisioningState::Canceled | ProvisioningState::Canceling => look.warn(&word),
        _ => word,
    }
}

/// Returns the commands that help. None if there is nothing to help with.
pub fn what_helps(view: &View, look: &Look) -> Option<String> {
    let mut commands = Vec::new();
    let name = view.cluster.name_any();
    for operation in &view.operations {
        let status = view::status(operation);
        let target = target_words(&operation.spec.target);
        if progress::in_the_way(&status).is_some() {
            let of = &operation.spec.target.name;
            commands.push(("What blocks it", look.command(&format!("why {of}"))));
        }
        let is_refused = progress::refused_abort(&status).is_some();
        match status.phase {
            OperationPhase::InProgress if is_refused => {
                let more = progress::has_more_to_begin(&status).then(|| {
                    let command = look.command(&format!("abort {target} --after-step"));
                    ("Stop after the step", command)
                });
                commands.extend(more);
            }
            OperationPhase::Pending if progress::window(&status).is_some() => {
                commands.push(("To run it now", look.command(&view::at_once(operation))));
            }
            OperationPhase::InProgress | OperationPhase::Pending => {
                commands.push(("To stop it", look.command(&format!("abort {target}"))));
            }
            _ => {}
        }
    }
    if view.operations.is_empty() {
        let conditions = view
            .cluster
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice());
        let is = |conditions: &[_], type_| {
            condition(conditions, type_).is_some_and(|it| it.status == "True")
        };
        let is_stalled = conditions.is_some_and(|it| is(it, "Stalled"));
        if is_stalled {
            commands.push(("What happened", look.command(&format!("why {name}"))));
            let hold = view
                .cluster
                .status
                .as_ref()
                .and_then(|status| status.hold.as_ref());
            let verb = goes_on_by(hold);
            commands.push(("To go on", look.command(&format!("{verb} cluster {name}"))));
        }
        let goes_on = view::holds(&view.cluster, &view.pools)
            .filter(|hold| !is_stalled && !hold.until_window.is_empty());
        for hold in goes_on {
            let target = target_words(&hold.target);
            commands.push(("To go on now", look.command(&format!("resume {target}"))));
        }
        let held = view.pools.iter().filter(|pool| {
            let status = pool.status.as_ref();
            !is_stalled && status.is_some_and(|status| is(&status.conditions, "Stalled"))
        });
        for pool in held {
            let verb = goes_on_by(pool.status.as_ref().and_then(|status| status.hold.as_ref()));
            let pool = pool.name_any();
            commands.push(("What happened", look.command(&format!("why {pool}"))));
            commands.push(("To go on", look.command(&format!("{verb} pool {pool}"))));
        }
    }
    let lines: Vec<_> = commands
        .iter()
        .map(|(what, command)| format!("{what:<20}{command}"))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Returns the command that brings about what is on hold.
fn goes_on_by(hold: Option<&Hold>) -> &'static str {
    let is_paused = hold.and_then(pause::why_held).is_some();
    if is_paused { "resume" } else { "reconcile" }
}
