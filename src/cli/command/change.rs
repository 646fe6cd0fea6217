//! `kubectl belay start`, `stop`, `upgrade`, `rollback`, `scale` and `reconcile`: creates the Operation, and follows
//! it.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{ResourceExt as _, api::PostParams};

use crate::{
    api::{AbortPolicy, Operation, OperationPhase, OperationSpec, OperationTarget, OperationType},
    cli::{
        cluster::{
            errors,
            session::{FIELD_MANAGER, Session},
            target::Kind,
            view,
        },
        display::follow::{Followed, follow},
        terminal::{ask, output},
    },
};

use super::{
    abort::{self, DryRun},
    duration,
};

/// The flags of every change.
#[derive(Args, Debug)]
pub struct ChangeFlags {
    /// The Operation's name. By default, the name is generated. If the same change is requested twice with this name,
    /// the Operation is created once.
    #[arg(long, value_name = "NAME")]
    pub operation: Option<String>,

    /// Create the Operation, and don't follow it.
    #[arg(long)]
    pub no_wait: bool,

    /// How long to follow the Operation, such as 30m. The Operation goes on after that.
    #[arg(long, conflicts_with = "no_wait", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// `client` prints the Operation. With `server`, the API server checks it as well. Neither creates it.
    #[arg(long, value_enum)]
    pub dry_run: Option<DryRun>,
}

/// A change that needs only its target.
#[derive(Args, Debug)]
pub struct TargetFlags {
    /// The kind of the object NAME.
    #[arg(value_enum)]
    pub kind: Kind,
    /// The cluster's or pool's name.
    pub name: String,
    #[command(flatten)]
    pub change: ChangeFlags,
}

/// A change of the Kubernetes version.
#[derive(Args, Debug)]
pub struct VersionFlags {
    /// The kind of the object NAME.
    #[arg(value_enum)]
    pub kind: Kind,
    /// The cluster's or pool's name.
    pub name: String,
    /// The version to change to, such as 1.36.3.
    #[arg(long, alias = "version", value_name = "VERSION")]
    pub kubernetes_version: String,
    #[command(flatten)]
    pub change: ChangeFlags,
}

/// A change of the number of nodes.
#[derive(Args, Debug)]
pub struct ScaleFlags {
    /// The kind of the object NAME. Only a pool can be scaled.
    #[arg(value_enum)]
    pub kind: Kind,
    /// The pool's name.
    pub name: String,
    /// The number of nodes that the pool should have.
    #[arg(long, alias = "replicas", visible_alias = "node-count")]
    pub count: i32,
    #[command(flatten)]
    pub change: ChangeFlags,
}

/// The requested change.
pub struct Change<'a> {
    /// What to do, and the target.
    pub spec: OperationSpec,
    /// How to do it.
    pub flags: &'a ChangeFlags,
}

impl<'a> Change<'a> {
    /// Creates a change that needs only its target.
    pub fn of(type_: OperationType, flags: &'a TargetFlags) -> Self {
        Self::on(type_, flags.kind.named(&flags.name), &flags.change)
    }

    /// Creates a change of this target that needs nothing else.
    pub fn on(type_: OperationType, target: OperationTarget, flags: &'a ChangeFlags) -> Self {
        Self {
            spec: spec(type_, target),
            flags,
        }
    }

    /// Creates a change of the Kubernetes version.
    pub fn of_version(type_: OperationType, flags: &'a VersionFlags) -> Self {
        let target = flags.kind.named(&flags.name);
        let kubernetes_version = Some(flags.kubernetes_version.clone());
        Self {
            spec: OperationSpec {
                kubernetes_version,
                ..spec(type_, target)
            },
            flags: &flags.change,
        }
    }

    /// Creates a change of the number of nodes.
    pub fn of_count(flags: &'a ScaleFlags) -> Self {
        let target = flags.kind.named(&flags.name);
        Self {
            spec: OperationSpec {
                count: Some(flags.count),
                ..spec(OperationType::Scale, target)
            },
            flags: &flags.change,
        }
    }

    fn operation(&self) -> Operation {
        let type_ = format!("{:?}", self.spec.type_).to_lowercase();
        let prefix = format!("{}-{type_}-", self.spec.target.name);
        let (name, generate_name) = match &self.flags.operation {
            Some(name) => (Some(name.clone()), None),
            None => (None, Some(prefix)),
        };
        Operation {
            metadata: ObjectMeta {
                name,
                generate_name,
                ..ObjectMeta::default()
            },
            spec: self.spec.clone(),
            status: None,
        }
    }

    /// Creates the Operation and follows it. Success only if the Operation succeeded.
    ///
    /// # Errors
    /// Returns an error if the Operation is refused, or can't be followed to its end.
    pub async fn run(&self, session: &Session) -> anyhow::Result<ExitCode> {
        let operation = self.operation();
        if self.flags.dry_run == Some(DryRun::Client) {
            output::value(output::Format::Yaml, &operation)?;
            return Ok(ExitCode::SUCCESS);
        }
        let made = self.make(session, &operation).await?;
        let name = made.name_any();
        if self.flags.dry_run == Some(DryRun::Server) {
            output::value(output::Format::Yaml, &made)?;
            return Ok(ExitCode::SUCCESS);
        }
        output::say(&format!(
            "Created Operation {name}: {}",
            view::what_it_does(&made)
        ))?;
        if self.flags.no_wait {
            let command = session.look.command(&format!("operation wait {name}"));
            output::say(&format!("To follow it: {command}"))?;
            return Ok(ExitCode::SUCCESS);
        }
        self.follow(session, &made).await
    }

    async fn make(&self, session: &Session, operation: &Operation) -> anyhow::Result<Operation> {
        let params = PostParams {
            dry_run: self.flags.dry_run == Some(DryRun::Server),
            field_manager: Some(FIELD_MANAGER.into()),
        };
        let operations = session.api::<Operation>();
        if let Some(name) = &operation.metadata.name
            && let Some(there) = errors::find(&operations, name).await?
        {
            return same(there, operation);
        }
        match operations.create(&params, operation).await {
            // Somebody else created it first.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let name = operation.name_any();
                same(errors::get(&operations, &name).await?, operation)
            }
            other => other.context("refused"),
        }
    }

    async fn follow(&self, session: &Session, operation: &Operation) -> anyhow::Result<ExitCode> {
        let name = operation.name_any();
        loop {
            match follow(session, operation, self.flags.timeout, |_| false).await? {
                Followed::Reached(operation) => {
                    let is_so = view::phase(&operation) == OperationPhase::Succeeded;
                    return Ok(if is_so {
                        ExitCode::SUCCESS
                    } else {
                        ExitCode::FAILURE
                    });
                }
                Followed::Gone => bail!("Operation {name} was deleted"),
                Followed::TimedOut => {
                    bail!(
                        "Operation {name} has not ended yet: --timeout has passed, and the Operation goes on"
                    )
                }
                Followed::Interrupted => match interrupted(session, &name).await? {
                    Answer::Abort => return abort_now(session, operation).await,
                    Answer::Leave => {
                        leave(session, &name);
                        return Ok(super::INTERRUPTED.into());
                    }
                    Answer::GoOn => {}
                },
            }
        }
    }
}

/// Returns the existing Operation of that name, if it asks for the same.
fn same(there: Operation, asked: &Operation) -> anyhow::Result<Operation> {
    if there.spec == asked.spec {
        return Ok(there);
    }
    bail!(
        "Operation {} exists already and asks for something else: {}; choose another name with --operation",
        there.name_any(),
        view::what_it_does(&there)
    )
}

/// What a person wants after Ctrl-C.
enum Answer {
    Abort,
    Leave,
    GoOn,
}

async fn interrupted(session: &Session, name: &str) -> anyhow::Result<Answer> {
    if !session.is_live {
        return Ok(Answer::Leave);
    }
    let question = format!(
        "\nOperation {name} runs on. [a]bort it, [l]eave it running, or [f]ollow it again? "
    );
    let answer = ask::answer(&question).await?;
    Ok(match answer.to_lowercase().as_str() {
        "a" | "abort" => Answer::Abort,
        "f" | "follow" => Answer::GoOn,
        _ => Answer::Leave,
    })
}

fn leave(session: &Session, name: &str) {
    let look = &session.look;
    eprintln!(
        "Operation {name} goes on. To follow it: {}",
        look.command(&format!("operation wait {name}"))
    );
    eprintln!(
        "To stop it: {}",
        look.command(&format!("abort operation {name}"))
    );
}

async fn abort_now(session: &Session, operation: &Operation) -> anyhow::Result<ExitCode> {
    let request = abort::Stop {
        kind: abort::AbortKind::Operation,
        name: operation.name_any(),
        reason: "aborted by Ctrl-C".into(),
        policy: AbortPolicy::Now,
        wait: Some(abort::Wait { timeout: None }),
        yes: true,
        dry_run: None,
    };
    abort::stop(session, &request).await
}

fn spec(type_: OperationType, target: OperationTarget) -> OperationSpec {
    OperationSpec {
        type_,
        target,
        kubernetes_version: None,
        count: None,
        timeout: None,
    }
}
