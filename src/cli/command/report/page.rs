//! What the page shows, computed from the Operation and its Events.

use askama::Template;
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Event, apimachinery::pkg::apis::meta::v1::Time};
use kube::ResourceExt as _;

use crate::{
    api::{
        BEGUN_BY_ANNOTATION, FOR_GENERATION_LABEL, Force, ForcedPod, Operation, OperationStatus,
        Step,
    },
    cli::{
        cluster::view::{self, target_name, what_it_does},
        terminal::text,
    },
    lifecycle::{
        PREFLIGHT,
        messages::{force, reason},
    },
};

/// The width of the timeline, in its own units.
const WIDTH: f64 = 1000.0;
/// The smallest width of a bar, so that a short step can be seen.
const NARROWEST: f64 = 4.0;

/// The page.
#[derive(Template)]
#[template(path = "page.html")]
pub struct Page {
    name: String,
    namespace: String,
    what: String,
    phase: String,
    percent: i32,
    facts: Vec<Fact>,
    steps: Vec<Row>,
    blocks: Vec<Bar>,
    from: String,
    until: String,
    events: Vec<Line>,
    made: String,
    version: &'static str,
}

/// A fact about the Operation.
struct Fact {
    what: &'static str,
    text: String,
}

/// A step, with its bar.
struct Row {
    name: String,
    action: String,
    phase: String,
    message: String,
    took: String,
    label: String,
    bar: Option<Bar>,
}

/// A part of the timeline.
struct Bar {
    from: String,
    width: String,
}

/// An Event.
struct Line {
    time: String,
    reason: String,
    message: String,
}

/// The time that the timeline covers.
#[derive(Clone, Copy)]
struct Span {
    from: Timestamp,
    until: Timestamp,
}

impl Span {
    fn of(operation: &Operation, status: &OperationStatus, now: Timestamp) -> Self {
        let created = operation.creation_timestamp();
        let from = status
            .start_time
            .clone()
            .or(created)
            .map_or(now, |time| time.0);
        let until = status.end_time.as_ref().map_or(now, |time| time.0);
        Self { from, until }
    }

    /// Returns the bar between two times.
    fn bar(self, from: Timestamp, until: Timestamp) -> Bar {
        let all = self.until.duration_since(self.from).as_secs_f64().max(1.0);
        let at = |time: Timestamp| {
            let seconds = time.duration_since(self.from).as_secs_f64();
            (seconds / all * WIDTH).clamp(0.0, WIDTH)
        };
        let width = (at(until) - at(from)).max(NARROWEST);
        let from = at(from).min(WIDTH - width);
        Bar {
            from: format!("{from:.1}"),
            width: format!("{width:.1}"),
        }
    }
}

impl Page {
    /// Computes the page.
    pub fn of(operation: &Operation, events: &[Event], now: Timestamp) -> Self {
        let status = view::status(operation);
        let span = Span::of(operation, &status, now);
        let mut events: Vec<_> = events
            .iter()
            .filter_map(|event| Some((time(event)?, event)))
            .collect();
        events.sort_by_key(|(time, _)| *time);
        Self {
            name: operation.name_any(),
            namespace: operation.namespace().unwrap_or_default(),
            what: what_it_does(operation),
            phase: format!("{:?}", status.phase),
            percent: status.percent_complete,
            facts: facts(operation, &status, now),
            steps: status.steps.iter().map(|step| row(step, span)).collect(),
            blocks: blocks(&events, &status, span),
            from: shown(span.from),
            until: shown(span.until),
            events: events
                .iter()
                .map(|(time, event)| line(*time, event))
                .collect(),
            made: shown(now),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn facts(operation: &Operation, status: &OperationStatus, now: Timestamp) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |what, text: String| {
        if !text.is_empty() {
            facts.push(Fact { what, text });
        }
    };
    add("Asked for by", asked_by(operation));
    if let Some(start) = &status.start_time {
        let end = status.end_time.as_ref().map_or(now, |end| end.0);
        let took = text::duration(end.duration_since(start.0));
        let ended = status
            .end_time
            .as_ref()
            .map_or_else(String::new, |end| format!(" until {}", shown(end.0)));
        add("Ran", format!("{took}, from {}{ended}", shown(start.0)));
    }
    if let Some(blocked) = status
        .blocked
        .as_ref()
        .filter(|_| !status.phase.is_finished())
    {
        let since = text::since(blocked.since.as_ref(), now);
        add(
            "Blocked",
            format!("for {since} by {}: {}", blocked.reason, blocked.message),
        );
    }
    let seen = view::condition(&status.conditions, PREFLIGHT);
    if let Some(seen) = seen.filter(|seen| seen.status == "False") {
        add("In the way at its begin", seen.message.clone());
    }
    if let Some(error) = &status.error {
        add("Error", format!("{}: {}", error.code, error.message));
    }
    if let Some(force) = &status.force {
        add("Force", forced(force));
        let line = |pod: &ForcedPod| format!("{} despite {}", pod.name, pod.budget);
        let pods: Vec<_> = force.pods.iter().map(line).collect();
        add("Deleted by force", pods.join("; "));
    }
    if let Some(cancellation) = &status.cancellation {
        let by = match cancellation.requested_by.as_str() {
            "" => String::new(),
            user => format!(" by {user}"),
        };
        let at = cancellation
            .requested_at
            .as_ref()
            .map_or_else(String::new, |at| format!(" at {}", shown(at.0)));
        add(
            "Abort",
            format!(
                "{:?}, asked for{by}{at}, policy {:?}",
                cancellation.status, cancellation.policy
            ),
        );
        add("Reason", cancellation.reason.clone());
        let left: Vec<_> = cancellation
            .left_behind
            .iter()
            .map(|left| left.message.as_str())
            .collect();
        add("Left behind", left.join("; "));
    }
    facts
}

/// Describes a force: its state, who asked for it, and when it was in effect.
fn forced(of: &Force) -> String {
    let by = force::asked_by(&of.requested_by);
    let time = |head: &str, time: Option<&Time>| {
        time.map_or_else(String::new, |time| format!(", {head} {}", shown(time.0)))
    };
    let why = match of.message.as_str() {
        "" => String::new(),
        message => format!(": {message}"),
    };
    format!(
        "{:?}{}{}{}{why}",
        of.status,
        if by.is_empty() {
            by
        } else {
            format!(", asked for{by}")
        },
        time("from", of.accepted_at.as_ref()),
        time("until", of.ended_at.as_ref().or(of.until.as_ref()))
    )
}

/// Returns where the Operation comes from.
fn asked_by(operation: &Operation) -> String {
    let target = target_name(&operation.spec.target);
    if let Some(by) = operation.annotations().get(BEGUN_BY_ANNOTATION) {
        return format!("{by}, outside of Belay");
    }
    if let Some(generation) = operation.labels().get(FOR_GENERATION_LABEL) {
        return format!("the spec of {target}, generation {generation}");
    }
    let managers = operation.metadata.managed_fields.iter().flatten();
    let first = managers
        .filter_map(|entry| entry.manager.clone())
        .find(|manager| !manager.starts_with("belay"));
    first.map_or_else(
        || "an Operation that somebody created".to_owned(),
        |manager| format!("an Operation that somebody created with {manager}"),
    )
}

fn row(step: &Step, span: Span) -> Row {
    let (phase, action) = (format!("{:?}", step.phase), format!("{:?}", step.action));
    let end = step.end_time.as_ref().map_or(span.until, |end| end.0);
    let began = step.start_time.as_ref().map(|start| start.0);
    let took = began.map_or_else(String::new, |began| {
        text::duration(end.duration_since(began))
    });
    let name = match (step.nodes, step.nodes_done) {
        (Some(nodes), done) => format!(
            "{}: {} of {nodes} nodes",
            step.name,
            done.unwrap_or_default()
        ),
        (None, _) => step.name.clone(),
    };
    Row {
        label: format!("{name}: {phase} {took}").trim_end().to_owned(),
        bar: began.map(|began| span.bar(began, end)),
        message: step.message.clone(),
        name,
        action,
        phase,
        took,
    }
}

/// Returns when something blocked the operation: from the Events that say so, and from its status.
fn blocks(events: &[(Timestamp, &Event)], status: &OperationStatus, span: Span) -> Vec<Bar> {
    let mut blocks = Vec::new();
    let mut since = None;
    for (time, event) in events {
        match event.reason.as_deref() {
            Some(reason::BLOCKED) => since = since.or(Some(*time)),
            Some(reason::UNBLOCKED) => {
                blocks.extend(since.take().map(|since| span.bar(since, *time)));
            }
            _ => {}
        }
    }
    let now = status
        .blocked
        .as_ref()
        .and_then(|blocked| blocked.since.as_ref());
    let since = since.or(now.map(|since| since.0));
    blocks.extend(since.map(|since| span.bar(since, span.until)));
    blocks
}

fn time(event: &Event) -> Option<Timestamp> {
    let exact = event.event_time.as_ref().map(|time| time.0);
    let whole = event.first_timestamp.as_ref().map(|Time(time)| *time);
    exact.or(whole)
}

fn line(time: Timestamp, event: &Event) -> Line {
    Line {
        time: shown(time),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
    }
}

fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::screens::fixtures;

    use super::*;

    fn event(reason: &str, time: &str, message: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {}, "reason": reason, "message": message, "firstTimestamp": time,
        }))
        .expect("an Event")
    }

    #[test]
    fn the_page_of_a_canceled_upgrade() {
        let events = [
            event(
                "OperationUnblocked",
                "2026-11-24T21:14:30Z",
                "nothing blocks it any more",
            ),
            event(
                "OperationBlocked",
                "2026-11-24T21:11:33Z",
                "a budget blocks it",
            ),
        ];
        let page = Page::of(&fixtures::canceled_upgrade(), &events, fixtures::now());
        insta::assert_snapshot!(page.render().expect("a page"));
    }

    #[test]
    fn texts_of_others_are_escaped() {
        let mut operation = fixtures::canceled_upgrade();
        let status = operation.status.as_mut().expect("a status");
        let cancellation = status.cancellation.as_mut().expect("a cancellation");
        cancellation.reason = "<script>alert(1)</script>".into();
        let page = Page::of(&operation, &[], fixtures::now())
            .render()
            .expect("a page");
        assert!(!page.contains("<script>"), "{page}");
    }

    #[test]
    fn an_operation_that_has_not_begun_has_a_page() {
        let mut operation = fixtures::hanging_upgrade();
        operation.status = None;
        let page = Page::of(&operation, &[], fixtures::now())
            .render()
            .expect("a page");
        assert!(page.contains("The operation has no steps"), "{page}");
        assert!(page.contains("Pending, 0%"), "{page}");
    }
}
