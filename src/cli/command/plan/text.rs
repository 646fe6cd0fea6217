//! The text of a plan for people.

use crate::{
    api::StepAction,
    cli::{
        display::{foreseen, progress::verb},
        terminal::{look::Look, text},
    },
};

use super::{
    dry_run::Effect,
    report::{Change, Cluster, Object, Planned, Report},
};

/// Returns the text of the plan.
pub fn of(report: &Report, look: &Look) -> String {
    let mut blocks: Vec<String> = report
        .clusters
        .iter()
        .filter_map(|cluster| of_cluster(report, cluster, look))
        .collect();
    blocks.extend(refusals(report, look));
    if !report.ignored.is_empty() {
        let names: Vec<&str> = report.ignored.iter().map(String::as_str).collect();
        let left_out = format!(
            "Not shown, because Belay doesn't manage them: {}.",
            text::list(&names)
        );
        blocks.push(look.wrap("", "", &left_out));
    }
    blocks.push(look.wrap("", "", &end(report)));
    blocks.join("\n\n")
}

fn of_cluster(report: &Report, cluster: &Cluster, look: &Look) -> Option<String> {
    let changed = |effect: Effect| {
        let objects = report.objects.iter().filter(move |object| {
            object.effect == Some(effect)
                && object.namespace == cluster.namespace
                && object.cluster.as_deref() == Some(&cluster.name)
        });
        let names: Vec<String> = objects.map(name).collect();
        names.join(", ")
    };
    let title = format!("ManagedCluster {}", cluster.name);
    let mut lines = vec![look.bold(&title)];
    for (head, names) in [
        ("made", changed(Effect::Made)),
        ("changed", changed(Effect::Changed)),
    ] {
        if !names.is_empty() {
            lines.push(look.wrap(&format!("  {head:<8} "), "           ", &names));
        }
    }
    for planned in &cluster.operations {
        lines.extend(of_operation(planned, look));
    }
    for note in &cluster.notes {
        lines.push(look.warn(&look.wrap("  ", "  ", &format!("{note}."))));
    }
    let foreseen = foreseen::lines(&cluster.preflight, look, "    ");
    if !foreseen.is_empty() {
        lines.push("  What will be in the way:".into());
        lines.extend(foreseen);
    }
    if cluster.operations.is_empty() && cluster.notes.is_empty() {
        // All changes of this cluster were refused.
        if lines.len() == 1 {
            return None;
        }
        lines.push("  These changes need no operation.".into());
    }
    Some(lines.join("\n"))
}

fn of_operation(planned: &Planned, look: &Look) -> Vec<String> {
    let (head, more) = match (&planned.name, planned.order) {
        (Some(name), Some(0)) => ("now".to_owned(), format!(" ({name}, in flight)")),
        (Some(name), order) => (number(order), format!(" ({name}, waiting)")),
        (None, order) => (number(order), String::new()),
    };
    let after: Vec<&str> = planned.after.iter().map(String::as_str).collect();
    let after = match text::list(&after) {
        names if names.is_empty() => String::new(),
        names => format!(", after {names}"),
    };
    let window = planned.window.map(|at| {
        let at = text::minute(at);
        format!(", in the maintenance window that opens at {at}")
    });
    let window = window.unwrap_or_default();
    let words = format!("{}{more}{after}{window}", planned.words);
    let mut lines = vec![look.wrap(&format!("  {head:<4} "), "       ", &words)];
    if let Some(why) = &planned.canceled {
        let canceled = format!("is canceled: {why}");
        lines.push(look.warn(&look.wrap("       - ", "         ", &canceled)));
        return lines;
    }
    let places = planned
        .changes
        .chunk_by(|one, other| one.pool == other.pool);
    lines.extend(places.map(|changes| look.wrap("       - ", "         ", &of_place(changes))));
    lines
}

fn number(order: Option<usize>) -> String {
    order.map_or_else(|| "-".to_owned(), |order| order.to_string())
}

/// Describes the changes of the control plane, or of the nodes of a pool.
fn of_place(changes: &[Change]) -> String {
    let each = |change: &Change| match change.nodes {
        Some(nodes) => format!("{} {}", verb(change.action), text::count(nodes, "node")),
        None => of_control_plane(change),
    };
    let place = changes[0].pool.as_deref().unwrap_or("control plane");
    let each: Vec<String> = changes.iter().map(each).collect();
    format!("{place}: {}", each.join(", "))
}

fn of_control_plane(change: &Change) -> String {
    match (change.action, change.message.as_str()) {
        // The version may also go down.
        (StepAction::Upgrade, message) => message.to_owned(),
        (StepAction::Create, version) => format!("create it, with {version}"),
        (action, "") => format!("{} it", verb(action)),
        (action, message) => format!("{} it, {message}", verb(action)),
    }
}

fn refusals(report: &Report, look: &Look) -> Option<String> {
    let mut lines = vec![look.bad("Refused")];
    for object in &report.objects {
        let Some(why) = &object.refused else { continue };
        let head = format!("{} ({}):", name(object), object.place);
        lines.push(look.wrap("  ", "  ", &head));
        lines.push(look.wrap("    ", "    ", why));
    }
    (lines.len() > 1).then(|| lines.join("\n"))
}

fn name(object: &Object) -> String {
    format!("{} {}", object.kind, object.name)
}

fn end(report: &Report) -> String {
    let refused = report.objects.iter().filter(|it| it.refused.is_some());
    let refused = match refused.count() {
        0 => String::new(),
        count => format!(
            "{count} of {} would be refused. ",
            text::count(report.objects.len(), "object")
        ),
    };
    if report.objects.is_empty() {
        return "No changes: these manifests contain no objects of Belay.".into();
    }
    let stays = |object: &Object| object.effect == Some(Effect::Unchanged);
    if report.objects.iter().all(stays) {
        return "No changes: everything is as these manifests say.".into();
    }
    let count = report.new_operations().count();
    let operations = match count {
        0 => "no operation would begin".to_owned(),
        _ => format!("{} would begin", text::count(count, "operation")),
    };
    let nodes: Vec<String> = report
        .nodes()
        .iter()
        .map(|(done, count)| format!("{} {done}", text::count(*count, "node")))
        .collect();
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    match text::list(&nodes) {
        nodes if nodes.is_empty() => format!("{refused}Plan: {operations}."),
        nodes => format!("{refused}Plan: {operations}, {nodes}."),
    }
}
