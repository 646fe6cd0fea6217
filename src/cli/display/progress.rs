//! The progress of an Operation, in words.

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{
    api::{
        Blocked, Cancellation, CancellationStatus, Force, ForceStatus, Operation, OperationPhase,
        OperationStatus, Step, StepAction, StepPhase,
    },
    cli::{
        cluster::view::{self, condition, phase, status},
        display::foreseen,
        terminal::{look::Look, text},
    },
    lifecycle::messages::{force::asked_by, reason},
};

/// Returns a line for a log or a pipe. It has everything of an Operation that may change.
pub fn line(operation: &Operation) -> String {
    let status = status(operation);
    let line = format!(
        "{}   {:>3}%   {:<10}   {}",
        operation.name_any(),
        status.percent_complete,
        format!("{:?}", status.phase),
        doing(&status)
    );
    line.trim_end().to_owned()
}

/// Describes what the Operation is doing, in one line.
pub fn doing(status: &OperationStatus) -> String {
    match status.phase {
        OperationPhase::Pending => waits(status),
        OperationPhase::Canceling => "stopping".into(),
        OperationPhase::InProgress => match in_the_way(status) {
            Some(blocked) => format!("blocked by {}: {}", blocked.reason, blocked.message),
            None => running(&status.steps).map_or_else(|| next(&status.steps), step),
        },
        OperationPhase::Succeeded | OperationPhase::Failed | OperationPhase::Canceled => {
            end(status)
        }
    }
}

/// Describes what an Operation that hasn't begun waits for.
fn waits(status: &OperationStatus) -> String {
    match window(status) {
        Some(message) => message.to_owned(),
        None => "waits for its turn".into(),
    }
}

/// Returns which maintenance window an Operation waits for. None if it waits for none.
pub fn window(status: &OperationStatus) -> Option<&str> {
    let ready = condition(&status.conditions, "Ready")?;
    (status.phase == OperationPhase::Pending && ready.reason == reason::WAITS_FOR_WINDOW)
        .then_some(&ready.message)
}

/// Describes how the Operation ended, in one line.
pub fn end(status: &OperationStatus) -> String {
    let counts = [
        StepPhase::Succeeded,
        StepPhase::Failed,
        StepPhase::Canceled,
        StepPhase::Skipped,
    ]
    .map(|phase| (nodes_in(&status.steps, phase), phase));
    let counts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, phase)| format!("{count} {}", format!("{phase:?}").to_lowercase()))
        .collect();
    let steps = format!("steps: {}", counts.join(", "));
    let why = match (status.phase, &status.error, &status.cancellation) {
        (OperationPhase::Failed, Some(error), _) => format!("{}: {}", error.code, error.message),
        (OperationPhase::Canceled, _, Some(cancellation)) => {
            let by = match cancellation.requested_by.as_str() {
                "" => String::new(),
                user => format!(", asked for by {user}"),
            };
            format!("{}{by}", cancellation.reason)
        }
        _ => String::new(),
    };
    match (counts.is_empty(), why.as_str()) {
        (true, why) => why.to_owned(),
        (false, "") => steps,
        (false, why) => format!("{why} ({steps})"),
    }
}

/// Describes a running step, in one line.
pub fn step(step: &Step) -> String {
    match step.message.as_str() {
        "" => format!("{}: {:?}", step.name, step.action),
        message => format!("{}: {message}", step.name),
    }
}

/// Names the next step, for the time when none runs.
fn next(steps: &[Step]) -> String {
    let next = steps.iter().find(|step| step.phase == StepPhase::Pending);
    match (soaking(steps), next) {
        (Some(soaking), _) => format!("next: {}, {}", soaking.name, soaking.message),
        (None, Some(next)) => format!("next: {}", next.name),
        (None, None) => String::new(),
    }
}

/// Returns the step that waits for the end of the soak.
fn soaking(steps: &[Step]) -> Option<&Step> {
    let mut pending = steps.iter().filter(|step| step.phase == StepPhase::Pending);
    pending.find(|step| step.message.starts_with("soaking"))
}

/// Returns the first step that runs. A step that works comes before steps that wait for it.
pub fn running(steps: &[Step]) -> Option<&Step> {
    steps
        .iter()
        .find(|step| step.phase == StepPhase::InProgress)
}

/// Returns what blocks an Operation, or blocks the step that it finishes before it stops.
pub fn in_the_way(status: &OperationStatus) -> Option<&Blocked> {
    let blocked = status.blocked.as_ref();
    blocked.filter(|_| !status.phase.is_finished())
}

/// Returns the refused abort of an Operation that goes on.
pub fn refused_abort(status: &OperationStatus) -> Option<&Cancellation> {
    let cancellation = status.cancellation.as_ref();
    cancellation.filter(|it| {
        it.status == CancellationStatus::Failed && status.phase == OperationPhase::InProgress
    })
}

/// Says why the abort was refused, as a sentence.
pub fn refusal(refused: &Cancellation) -> String {
    let reason = refused.reason.trim_end_matches('.');
    format!("Its abort was refused, and it goes on: {reason}.")
}

/// Says what a force does or did, as a sentence. None if there was none, and if it did nothing before it ended.
pub fn forced(status: &OperationStatus, now: Timestamp) -> Option<String> {
    let force = status.force.as_ref()?;
    let by = asked_by(&force.requested_by);
    let names: Vec<_> = force.pods.iter().map(|pod| pod.name.as_str()).collect();
    let count = usize::try_from(force.pod_count).unwrap_or_default();
    let pods = match count {
        0 => String::new(),
        _ if names.len() == count => format!(
            " It deleted {} by force: {}.",
            text::count(count, "pod"),
            text::list(&names)
        ),
        _ => format!(" It deleted {} by force.", text::count(count, "pod")),
    };
    let sentence = match (force.status, &force.until) {
        (ForceStatus::InEffect, Some(until)) if until.0 > now => format!(
            "Forced until {}{by}: pods that a PodDisruptionBudget protects are deleted after a minute.",
            text::at(until, now)
        ),
        (ForceStatus::Refused, _) => {
            format!("Not forced: {}.", force.message.trim_end_matches('.'))
        }
        _ if count == 0 => return None,
        _ => format!("It was forced{by}."),
    };
    Some(format!("{sentence}{pods}"))
}

/// Whether a force is in effect.
pub fn is_forced(status: &OperationStatus) -> bool {
    status.force.as_ref().is_some_and(Force::is_in_effect)
}

/// Whether an abort after the step in progress would leave something undone.
pub fn has_more_to_begin(status: &OperationStatus) -> bool {
    let mut steps = status.steps.iter();
    steps.any(|step| step.phase == StepPhase::Pending)
}

/// Returns how many steps never began or weren't finished: what is left to be done. A step that stands for many nodes
/// counts as many.
pub fn left(status: &OperationStatus) -> i32 {
    [StepPhase::Pending, StepPhase::Canceled, StepPhase::Skipped]
        .map(|phase| nodes_in(&status.steps, phase))
        .iter()
        .sum()
}

fn nodes_in(steps: &[Step], phase: StepPhase) -> i32 {
    let nodes = |step: &Step| step.nodes.unwrap_or(1);
    steps
        .iter()
        .filter(|step| step.phase == phase)
        .map(nodes)
        .sum()
}

/// Returns the text above an Operation's bar: `Operation x: Upgrade of ManagedCluster demo to 1.36.3`.
pub fn title(operation: &Operation, look: &Look) -> String {
    let name = look.bold(&operation.name_any());
    let what = view::what_it_does(operation);
    look.wrap("", "  ", &format!("Operation {name}: {what}"))
}

/// Returns the text beside the bar: `58%  for 4m10s`.
pub fn beside_bar(operation: &Operation, now: Timestamp) -> String {
    let status = status(operation);
    let percent = format!("{:>3}%", status.percent_complete);
    match &status.start_time {
        Some(start) => {
            let end = status.end_time.as_ref().map_or(now, |end| end.0);
            let took = text::duration(end.duration_since(start.0));
            format!("{percent}  for {took}")
        }
        None => percent,
    }
}

/// Returns the phase in its colour.
pub fn phase_word(operation: &Operation, look: &Look) -> String {
    let phase = phase(operation);
    let word = format!("{phase:?}");
    match phase {
        OperationPhase::Succeeded => look.good(&word),
        OperationPhase::Failed => look.bad(&word),
        OperationPhase::Canceling | OperationPhase::Canceled => look.warn(&word),
        OperationPhase::InProgress if in_the_way(&status(operation)).is_some() => look.warn(&word),
        OperationPhase::Pending | OperationPhase::InProgress => word,
    }
}

/// Returns the text below the bar: the steps that are done, running and next, and what blocks the Operation since when.
pub fn details(operation: &Operation, look: &Look, now: Timestamp) -> String {
    let status = status(operation);
    let mut lines = Vec::new();
    let of = |wanted: StepPhase| status.steps.iter().filter(move |step| step.phase == wanted);
    let mut add = |head: &str, text: &str| {
        lines.push(look.wrap(&format!("  {head:<6}"), "        ", text));
    };
    if let Some(done) = summary(of(StepPhase::Succeeded)) {
        add("done", &done);
    }
    for running in of(StepPhase::InProgress).take(3) {
        let since = text::since(running.start_time.as_ref(), now);
        add("now", &format!("{} (for {since})", step(running)));
    }
    let more = of(StepPhase::InProgress).count().saturating_sub(3);
    if more > 0 {
        add("", &format!("and {}", text::count(more, "more step")));
    }
    if let Some(soaking) = soaking(&status.steps) {
        add("now", &step(soaking));
    }
    if let Some(next) = summary(of(StepPhase::Pending)) {
        add("next", &next);
    }
    if status.phase == OperationPhase::Pending {
        add("now", &waits(&status));
    }
    if status.phase.is_finished() {
        add("end", &end(&status));
    }
    if let Some(refused) = refused_abort(&status) {
        lines.push(look.warn(&look.wrap("  ", "  ", &refusal(refused))));
    }
    if let Some(blocked) = in_the_way(&status) {
        let since = text::since(blocked.since.as_ref(), now);
        let reason = &blocked.reason;
        let text = format!("Blocked for {since} by {reason}: {}", blocked.message);
        lines.push(look.warn(&look.wrap("  ", "  ", &text)));
    }
    if let [first, more @ ..] = &foreseen::of_operation(&status)[..] {
        let more = match more.len() {
            0 => String::new(),
            count => format!(" And {count} more: see `kubectl belay why`."),
        };
        let text = format!("In the way when it began: {first}.{more}");
        lines.push(look.warn(&look.wrap("  ", "  ", &text)));
    }
    if let Some(forced) = forced(&status, now) {
        lines.push(look.warn(&look.wrap("  ", "  ", &forced)));
    }
    if status.phase == OperationPhase::Canceling
        && let Some(cancellation) = &status.cancellation
    {
        let text = format!("Stopping: {}", cancellation.reason);
        lines.push(look.warn(&look.wrap("  ", "  ", &text)));
    }
    lines.join("\n")
}

/// Summarizes steps: `upgrade the control plane, replace 2 nodes`. None if there is no step.
fn summary<'a>(steps: impl Iterator<Item = &'a Step>) -> Option<String> {
    let mut parts: Vec<(StepAction, usize)> = Vec::new();
    let mut words = Vec::new();
    for step in steps {
        let nodes = usize::try_from(step.nodes.unwrap_or(1)).unwrap_or_default();
        if step.name == crate::lifecycle::step_names::CONTROL_PLANE_STEP {
            words.push(format!("{} the control plane", verb(step.action)));
        } else if let Some(part) = parts.iter_mut().find(|(action, _)| *action == step.action) {
            part.1 += nodes;
        } else {
            parts.push((step.action, nodes));
        }
    }
    words.extend(
        parts
            .iter()
            .map(|(action, nodes)| format!("{} {}", verb(*action), text::count(*nodes, "node"))),
    );
    (!words.is_empty()).then(|| words.join(", "))
}

/// Returns an action as a verb.
pub fn verb(action: StepAction) -> &'static str {
    match action {
        StepAction::Create => "create",
        StepAction::Replace => "replace",
        StepAction::Upgrade => "upgrade",
        StepAction::Update => "update",
        StepAction::Start => "start",
        StepAction::Stop => "stop",
        StepAction::Delete => "delete",
    }
}
