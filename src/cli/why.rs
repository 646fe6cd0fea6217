//! `kubectl belay why`: explains in sentences why something isn't Ready, from its condition to what blocks it.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::ResourceExt as _;

use crate::{
    api::{
        AgentPool, Hold, LastOperation, ManagedCluster, Operation, OperationInFlight,
        OperationPhase, OperationStatus, OperationTarget, TargetKind,
    },
    lifecycle::{
        excludes,
        messages::{aspects, reason},
    },
    machinery::clock,
};

use super::{
    errors,
    in_the_way::InTheWay,
    look::Look,
    output, progress,
    session::Session,
    target, text,
    view::{self, condition, target_name, target_words, what_it_does},
};

/// Explain in sentences why a cluster, a pool or an operation is not Ready.
///
/// Goes from the condition to the operation, the step, the pod and the PodDisruptionBudget, and shows what helps.
#[derive(Args, Debug)]
pub struct WhyFlags {
    /// The name of a cluster, a pool or an Operation, or KIND/NAME if several objects have this name.
    pub name: String,
}

/// What was found about the object in question.
pub struct Facts {
    /// The object in question.
    pub subject: Subject,
    /// The Operation in flight on it.
    pub operation: Option<Operation>,
    /// What blocks the Operation.
    pub in_the_way: Option<InTheWay>,
    /// The pools of the cluster.
    pub pools: Vec<AgentPool>,
    /// The operations in flight on the cluster, if the Operation waits for its turn.
    pub lock: Vec<OperationInFlight>,
}

/// The object in question.
pub enum Subject {
    /// A cluster.
    Cluster(Box<ManagedCluster>),
    /// A pool.
    Pool(Box<AgentPool>),
    /// An Operation.
    Operation(Box<Operation>),
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the object doesn't exist, or can't be read.
pub async fn run(session: &Session, flags: &WhyFlags) -> anyhow::Result<ExitCode> {
    let facts = Facts::read(session, &flags.name).await?;
    output::say(&explain(&facts, &session.look.now(), clock::now()))?;
    Ok(ExitCode::SUCCESS)
}

impl Facts {
    async fn read(session: &Session, name: &str) -> anyhow::Result<Self> {
        let subject = subject(session, name).await?;
        let in_flight = match &subject {
            Subject::Operation(operation) => Some(operation.as_ref().clone()),
            Subject::Cluster(cluster) => {
                let lock = cluster
                    .status
                    .as_ref()
                    .map_or(&[][..], |status| &status.operations);
                read_operation(session, lock.first().map(|held| held.name.as_str())).await?
            }
            Subject::Pool(pool) => {
                let operation = pool
                    .status
                    .as_ref()
                    .and_then(|status| status.operation.as_ref());
                read_operation(session, operation.map(|operation| operation.name.as_str())).await?
            }
        };
        let blocked = in_flight
            .as_ref()
            .and_then(|operation| progress::in_the_way(&view::status(operation)).cloned());
        let in_the_way = match &blocked {
            Some(blocked) => InTheWay::read(&session.client, &blocked.message).await,
            None => None,
        };
        let pools = match &subject {
            Subject::Cluster(cluster) => {
                view::View::read(session, &cluster.name_any()).await?.pools
            }
            _ => Vec::new(),
        };
        let lock = match &in_flight {
            Some(operation) if view::phase(operation) == OperationPhase::Pending => {
                lock_of(session, &operation.spec.target).await
            }
            _ => Vec::new(),
        };
        Ok(Self {
            subject,
            operation: in_flight,
            in_the_way,
            pools,
            lock,
        })
    }
}

/// Returns the operations in flight on the cluster of a target. Empty if the cluster doesn't exist.
async fn lock_of(session: &Session, target: &OperationTarget) -> Vec<OperationInFlight> {
    let cluster = target::cluster_of(session, target).await.ok();
    let status = cluster.and_then(|cluster| cluster.status);
    status.map(|status| status.operations).unwrap_or_default()
}

async fn read_operation(
    session: &Session,
    name: Option<&str>,
) -> anyhow::Result<Option<Operation>> {
    match name {
        Some(name) => errors::find(&session.api(), name).await,
        None => Ok(None),
    }
}

async fn subject(session: &Session, name: &str) -> anyhow::Result<Subject> {
    let (kind, name) = name
        .split_once('/')
        .map_or((None, name), |(kind, name)| (Some(kind), name));
    let kind = match kind.map(|kind| kind.split('.').next().unwrap_or(kind)) {
        None => None,
        Some("cluster" | "managedcluster" | "managedclusters" | "mc") => Some("cluster"),
        Some("pool" | "agentpool" | "agentpools" | "ap") => Some("pool"),
        Some("operation" | "operations" | "op") => Some("operation"),
        Some(other) => bail!(
            "{other:?} is no kind of Belay's: write cluster/NAME, pool/NAME or operation/NAME"
        ),
    };
    let may_be = |wanted: &str| kind.is_none_or(|kind| kind == wanted);
    if may_be("cluster")
        && let Some(cluster) = errors::find(&session.api(), name).await?
    {
        return Ok(Subject::Cluster(Box::new(cluster)));
    }
    if may_be("pool")
        && let Some(pool) = errors::find(&session.api(), name).await?
    {
        return Ok(Subject::Pool(Box::new(pool)));
    }
    if may_be("operation")
        && let Some(operation) = errors::find(&session.api(), name).await?
    {
        return Ok(Subject::Operation(Box::new(operation)));
    }
    let what = kind.unwrap_or("cluster, pool or Operation");
    bail!(
        "there is no {what} {name} in namespace {}; `kubectl get belay -A` lists what there is",
        session.namespace
    )
}

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
                chain.hold(status.hold.as_ref());
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
                chain.hold(status.hold.as_ref());
                chain.hold(status.cluster_hold.as_ref());
            }
        }
        Subject::Operation(_) => {}
    }
    if let Some(operation) = &facts.operation {
        chain.operation(operation, facts.in_the_way.as_ref(), &facts.lock);
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
            self.say(format!("Belay has not looked at {name} yet: no operator runs for this namespace, or it has just begun."));
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
        let how = match last.phase {
            OperationPhase::Failed => "failed",
            _ => "was canceled",
        };
        let why = text::why_it_ended(&last.message);
        let target = target_name(&last.target);
        self.say(format!(
            "The {:?} of {target} ({}) {how} {ago} ago{why}.",
            last.type_, last.name
        ));
        self.remedy("See what it did", &format!("operation show {}", last.name));
        self.remedy(
            "Bring it to its spec",
            &format!("reconcile {}", target_words(&last.target)),
        );
    }

    /// Says what is on hold, and what ends the hold.
    fn hold(&mut self, hold: Option<&Hold>) {
        let Some(hold) = hold else { return };
        let on = target_name(&hold.target);
        self.say(format!(
            "On hold since then, so that the same does not begin again at once: {}. That ends when the spec of {on} asks for something else, or someone asks for the rest.",
            aspects(&hold.aspects)
        ));
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
    fn operation(
        &mut self,
        operation: &Operation,
        in_the_way: Option<&InTheWay>,
        lock: &[OperationInFlight],
    ) {
        let status = view::status(operation);
        let (name, what) = (operation.name_any(), what_it_does(operation));
        let ran = text::since(status.start_time.as_ref(), self.now);
        match status.phase {
            OperationPhase::Pending => {
                self.say(format!("Operation {name} ({what}) waits for its turn."));
                self.turn(operation, lock);
            }
            OperationPhase::InProgress => {
                self.say(format!(
                    "Operation {name} ({what}) is at {}%, after {ran}.",
                    status.percent_complete
                ));
            }
            OperationPhase::Canceling => {
                self.say(format!(
                    "Operation {name} ({what}) was aborted and is coming to a stop."
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
        self.abort(&name, &status);
    }

    /// Adds the command that stops the Operation, if that helps.
    fn abort(&mut self, name: &str, status: &OperationStatus) {
        let abort = format!("abort operation {name}");
        if let Some(refused) = progress::refused_abort(status) {
            self.say(progress::refusal(refused));
            if progress::has_more_to_begin(status) {
                self.remedy(
                    "Stop it once the step in process has finished",
                    &format!("{abort} --after-step"),
                );
            }
            return;
        }
        match (status.phase, &status.blocked) {
            (OperationPhase::Canceling, None) => {}
            (OperationPhase::Canceling, Some(_)) => {
                self.remedy("Stop it without waiting for that", &abort);
            }
            _ => self.remedy("Stop it where it stands", &abort),
        }
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
                "Nothing in flight excludes it, so it should begin at once: {no_operator}."
            ));
            return;
        };
        let (other, on) = (&before.name, target_name(&before.target));
        self.say(format!(
            "{:?} {other} of {on} is in flight and excludes it.",
            before.type_
        ));
        self.remedy("What that one does", &format!("why operation/{other}"));
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
        reason::PENDING => "an operation is to begin".into(),
        other => format!("it is {other}"),
    }
}

/// Returns a message as a sentence.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().collect::<String>());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}
