//! The explanation: sentences that follow from one another, and then the commands that help.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::ResourceExt as _;

use crate::{
    api::{
        AgentPool, Hold, LastOperation, MaintenanceWindow, Operation, OperationInFlight,
        OperationPhase, OperationStatus, OperationTarget, QuarantinedNode, TargetKind,
    },
    cli::{
        cluster::pause,
        cluster::view::{self, condition, target_name, target_words, what_it_does},
        display::{cluster_text, foreseen, progress},
        terminal::{look::Look, text},
    },
    lifecycle::{
        excludes,
        messages::{aspects, reason},
    },
};

use super::{Facts, Subject};

/// Explains the chain from the condition to what blocks the operation, and then what helps.
pub fn explain(facts: &Facts, look: &Look, now: Timestamp) -> String {
    let mut chain = Chain {
        look,
        now,
        sentences: Vec::new(),
        remedies: Vec::new(),
    };
    match &facts.subject {
        Subject::Cluster(cluster) => {
            let status = cluster.status.clone().unwrap_or_default();
            let target = named(TargetKind::ManagedCluster, &cluster.metadata);
            chain.standing(
                &target,
                &cluster.metadata,
                status.observed_generation,
                &status.conditions,
            );
            if facts.operation.is_none() {
                chain.last(&status.conditions, status.last_operation.as_ref());
                chain.hold(status.hold.as_ref(), &facts.windows);
                chain.quarantined(cluster_text::quarantined(&facts.pools));
                if !is_stalled(&status.conditions) {
                    chain.pools(&facts.pools);
                }
            }
        }
        Subject::Pool(pool) => {
            let status = pool.status.clone().unwrap_or_default();
            let target = named(TargetKind::AgentPool, &pool.metadata);
            chain.standing(
                &target,
                &pool.metadata,
                status.observed_generation,
                &status.conditions,
            );
            if facts.operation.is_none() {
                chain.last(&status.conditions, status.last_operation.as_ref());
                chain.hold(status.hold.as_ref(), &facts.windows);
                chain.hold(status.cluster_hold.as_ref(), &facts.windows);
                chain.quarantined(status.quarantined_nodes.iter());
            }
        }
        Subject::Operation(_) => {}
    }
    if let Some(operation) = &facts.operation {
        chain.operation(operation, facts);
    }
    chain.text()
}

fn named(kind: TargetKind, metadata: &ObjectMeta) -> OperationTarget {
    let name = metadata.name.clone().unwrap_or_default();
    OperationTarget { kind, name }
}

/// Sentences that follow from one another, and remedies.
struct Chain<'a> {
    look: &'a Look,
    now: Timestamp,
    sentences: Vec<String>,
    remedies: Vec<(String, String)>,
}

impl Chain<'_> {
    fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }

    fn remedy(&mut self, what: &str, words: &str) {
        let command = self.look.command(words);
        self.remedies.push((what.to_owned(), command));
    }

    /// Says whether the object is Ready, according to its conditions.
    fn standing(
        &mut self,
        target: &OperationTarget,
        metadata: &ObjectMeta,
        observed: Option<i64>,
        conditions: &[Condition],
    ) {
        let name = target_name(target);
        let Some(ready) = condition(conditions, "Ready") else {
            self.say(format!("Belay has not looked at {name} yet: no operator runs for this namespace, or it has just started."));
            return;
        };
        let since = text::since(Some(&ready.last_transition_time), self.now);
        let at = text::at(&ready.last_transition_time, self.now);
        match ready.status.as_str() {
            "True" => self.say(format!("{name} is Ready, for {since}: {}.", ready.message)),
            _ => self.say(format!(
                "{name} is not Ready, for {since} (since {at}): {}.",
                state(&ready.reason)
            )),
        }
        if observed != metadata.generation {
            self.say("Its spec was changed, and Belay has not looked at the change yet.");
        }
        if metadata.deletion_timestamp.is_some() {
            self.say("It is being deleted.");
        }
        if ready.status != "True" && conditions_wait(ready) {
            self.say(sentence(&ready.message));
        }
    }

    /// Says how the last operation ended, if the target has been on hold since then.
    fn last(&mut self, conditions: &[Condition], last: Option<&LastOperation>) {
        let (true, Some(last)) = (is_stalled(conditions), last) else {
            return;
        };
        let ago = text::since(last.end_time.as_ref(), self.now);
        let paused = pause::why_ended(&last.message);
        let (how, why) = match (last.phase, paused) {
            (OperationPhase::Failed, _) => ("failed", text::why_it_ended(&last.message)),
            (_, Some("")) => ("was paused", String::new()),
            (_, Some(why)) => ("was paused", format!(": {why}")),
            (_, None) => ("was canceled", text::why_it_ended(&last.message)),
        };
        let target = target_name(&last.target);
        self.say(format!(
            "The {:?} of {target} ({}) {how} {ago} ago{why}.",
            last.type_, last.name
        ));
        self.remedy("See what it did", &format!("operation show {}", last.name));
        let (what, verb) = match paused {
            Some(_) => ("Go on with it", "resume"),
            None => ("Bring it to its spec", "reconcile"),
        };
        self.remedy(what, &format!("{verb} {}", target_words(&last.target)));
    }

    /// Says what is on hold, and what ends the hold.
    fn hold(&mut self, hold: Option<&Hold>, windows: &[MaintenanceWindow]) {
        let Some(hold) = hold else { return };
        if !hold.until_window.is_empty() {
            let name = &hold.operation.name;
            self.say(format!(
                "Operation {name} was paused because its maintenance window closed. Belay goes on when a window opens: {}.",
                windows_text(windows)
            ));
            self.remedy("See what it did", &format!("operation show {name}"));
            let target = target_words(&hold.target);
            self.remedy("Go on now", &format!("resume {target}"));
            return;
        }
        let on = target_name(&hold.target);
        self.say(format!(
            "Since then on hold, so that the same change does not begin again by itself: {}. The hold ends when the spec of {on} asks for something else, or when someone asks for the rest.",
            aspects(&hold.aspects)
        ));
    }

    /// Names the nodes that couldn't be drained, and says what blocked them.
    fn quarantined<'n>(&mut self, nodes: impl Iterator<Item = &'n QuarantinedNode>) {
        for node in nodes {
            let since = text::since(node.since.as_ref(), self.now);
            self.say(format!(
                "Node {} could not be drained and has been quarantined for {since}: {}. It stays cordoned until the next Reconcile or Upgrade drains it.",
                node.name, node.message
            ));
        }
    }

    /// Names the pools that aren't Ready. A cluster that is Ready itself may have such pools.
    fn pools(&mut self, pools: &[AgentPool]) {
        for pool in pools {
            let status = pool.status.clone().unwrap_or_default();
            let ready = condition(&status.conditions, "Ready");
            if ready.is_some_and(|ready| ready.status == "True") {
                continue;
            }
            let name = pool.name_any();
            let why = ready.map_or("Belay has not looked at it yet", |ready| &ready.message);
            self.say(format!("Its pool {name} is not Ready: {why}."));
            self.remedy(
                &format!("Why pool {name} is not"),
                &format!("why pool/{name}"),
            );
        }
    }

    /// Says how far an Operation is, and what blocks it.
    fn operation(&mut self, operation: &Operation, facts: &Facts) {
        let in_the_way = facts.in_the_way.as_ref();
        let status = view::status(operation);
        let (name, what) = (operation.name_any(), what_it_does(operation));
        let ran = text::since(status.start_time.as_ref(), self.now);
        match status.phase {
            OperationPhase::Pending => {
                let window = progress::window(&status);
                let waits = window.unwrap_or("waits for its turn");
                self.say(format!("Operation {name} ({what}) {waits}."));
                if window.is_some() {
                    self.window(operation, &facts.windows);
                } else {
                    self.turn(operation, &facts.lock);
                }
            }
            OperationPhase::InProgress => {
                self.say(format!(
                    "Operation {name} ({what}) is at {}%, after {ran}.",
                    status.percent_complete
                ));
            }
            OperationPhase::Canceling => {
                self.say(format!(
                    "Operation {name} ({what}) was aborted and is stopping."
                ));
            }
            ended => self.say(format!(
                "Operation {name} ({what}) has ended, {ended:?}: {}.",
                progress::end(&status)
            )),
        }
        if status.phase.is_finished() {
            return;
        }
        if let Some(running) = progress::running(&status.steps) {
            let since = text::since(running.start_time.as_ref(), self.now);
            let at = status
                .steps
                .iter()
                .position(|step| step.name == running.name);
            let number = format!(
                "step {} of {}",
                at.unwrap_or_default() + 1,
                status.steps.len()
            );
            self.say(format!(
                "It is at {number}, for {since}: {}.",
                progress::step(running)
            ));
        }
        for finding in foreseen::of_operation(&status) {
            self.say(format!("When it began, this was in the way: {finding}."));
        }
        if let Some(blocked) = progress::in_the_way(&status) {
            let since = text::since(blocked.since.as_ref(), self.now);
            match in_the_way {
                Some(in_the_way) => {
                    self.say(format!(
                        "It has been blocked for {since} by a {}.",
                        blocked.reason
                    ));
                    self.sentences.extend(in_the_way.sentences());
                    self.remedies.extend(in_the_way.remedies(self.look));
                }
                None => self.say(format!(
                    "It has been blocked for {since} by {}: {}.",
                    blocked.reason, blocked.message
                )),
            }
        }
        if let Some(forced) = progress::forced(&status, self.now) {
            self.say(forced);
        }
        self.abort(&name, &status);
        if facts.can_force && in_the_way.is_some() {
            self.force(&name, &status);
        }
    }

    /// Adds the command that passes over a budget, as the last way.
    fn force(&mut self, name: &str, status: &OperationStatus) {
        if progress::is_forced(status) {
            let end = format!("force {name} --end");
            self.remedy("End the force, and wait for the budget", &end);
        } else if status.phase == OperationPhase::InProgress {
            self.remedy(
                "As the last way, delete pods despite the budget",
                &format!("force {name} --for 30m"),
            );
        }
    }

    /// Adds the command that stops the Operation, if that helps.
    fn abort(&mut self, name: &str, status: &OperationStatus) {
        let abort = format!("abort operation {name}");
        if let Some(refused) = progress::refused_abort(status) {
            self.say(progress::refusal(refused));
            if progress::has_more_to_begin(status) {
                self.remedy(
                    "Stop it after the step in progress",
                    &format!("{abort} --after-step"),
                );
            }
            return;
        }
        match (status.phase, &status.blocked) {
            (OperationPhase::Canceling, None) => {}
            (OperationPhase::Canceling, Some(_)) => {
                self.remedy("Stop it now, without waiting for the step", &abort);
            }
            _ => self.remedy("Stop it where it is", &abort),
        }
    }

    /// Says which maintenance windows an Operation may run in, and how to run it now.
    fn window(&mut self, operation: &Operation, windows: &[MaintenanceWindow]) {
        self.say(format!(
            "Its cluster changes versions by itself only in maintenance windows: {}.",
            windows_text(windows)
        ));
        self.remedy("Run it now", &view::at_once(operation));
    }

    /// Says what an Operation that hasn't begun waits for.
    fn turn(&mut self, operation: &Operation, lock: &[OperationInFlight]) {
        let name = operation.name_any();
        let target = &operation.spec.target;
        let before = lock
            .iter()
            .find(|held| held.name != name && excludes(&held.target, target));
        let Some(before) = before else {
            let no_operator =
                "no operator runs for this namespace, or it can't write: its log says why";
            self.say(format!(
                "No other operation excludes it, so it should begin at once: {no_operator}."
            ));
            return;
        };
        let (other, on) = (&before.name, target_name(&before.target));
        self.say(format!(
            "{:?} {other} of {on} is in flight and excludes it.",
            before.type_
        ));
        self.remedy(
            "See what that operation does",
            &format!("why operation/{other}"),
        );
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = self
            .sentences
            .iter()
            .enumerate()
            .map(|(depth, sentence)| match depth {
                0 => self.look.wrap("", "", sentence),
                _ => self.look.wrap("- ", "  ", sentence),
            })
            .collect();
        if !self.remedies.is_empty() {
            lines.push(String::new());
            lines.push("What helps:".into());
        }
        for (what, command) in &self.remedies {
            lines.push(format!("  {what}:"));
            lines.push(format!("    {command}"));
        }
        lines.join("\n")
    }
}

/// Describes windows: `Saturday and Sunday 22:00 for 4h (Europe/Berlin)`.
fn windows_text(windows: &[MaintenanceWindow]) -> String {
    let each = |window: &MaintenanceWindow| {
        let days: Vec<_> = window.days.iter().map(|day| format!("{day:?}")).collect();
        let days = match days.join(", ") {
            none if none.is_empty() => "every day".to_owned(),
            days => days,
        };
        let open = std::time::Duration::from(window.duration);
        let open = text::duration(open.try_into().unwrap_or_default());
        format!("{days} {} for {open} ({})", window.start, window.time_zone)
    };
    let windows: Vec<_> = windows.iter().map(each).collect();
    windows.join("; ")
}

/// Whether the object is on hold until someone acts.
fn is_stalled(conditions: &[Condition]) -> bool {
    condition(conditions, "Stalled").is_some_and(|it| it.status == "True")
}

/// Whether the condition shows a wait that no Operation shows.
fn conditions_wait(ready: &Condition) -> bool {
    ready.reason == reason::PENDING
}

/// Returns a condition's reason, such as `Upgrading` or `OperationCanceled`, in words.
fn state(reason: &str) -> String {
    match reason {
        reason::CANCELED => "its last operation was canceled".into(),
        reason::FAILED => "its last operation failed".into(),
        reason::PENDING => "an operation is about to begin".into(),
        other => format!("it is {other}"),
    }
}

/// Returns a message as a sentence: with a capital letter, and a full stop if it doesn't end as a sentence does.
fn sentence(message: &str) -> String {
    let message = message.trim();
    let mut letters = message.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().collect::<String>());
    let end = if message.ends_with(['.', '!', '?', '…']) {
        ""
    } else {
        "."
    };
    format!("{}{}{end}", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn a_message_gets_a_full_stop_unless_it_has_an_end() {
        for (message, expected) in [
            ("2 of 2 nodes are Ready", "2 of 2 nodes are Ready."),
            ("the cloud refused it.", "The cloud refused it."),
            ("Quota exceeded!", "Quota exceeded!"),
            ("is it there?\n", "Is it there?"),
            ("cut to 1,024 characters…", "Cut to 1,024 characters…"),
        ] {
            assert_eq!(sentence(message), expected);
        }
    }
}
