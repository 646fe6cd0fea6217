//! `kubectl belay start`, `stop`, `upgrade`, `rollback`, `scale` and `reconcile`: makes the Operation, and follows it.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{ResourceExt as _, api::PostParams};

use crate::api::{Operation, OperationPhase, OperationSpec, OperationTarget, OperationType};

use super::{
    FIELD_MANAGER,
    abort::{self, DryRun},
    ask, errors,
    follow::{Followed, follow},
    output,
    session::Session,
    target::Kind,
    view,
};

/// What every change takes.
#[derive(Args, Debug)]
pub struct ChangeFlags {
    /// The Operation's name, made up where it isn't set. Asked for twice by the same name, it is made once.
    #[arg(long, value_name = "NAME")]
    pub operation: Option<String>,

    /// Ask for it, and don't follow it.
    #[arg(long)]
    pub no_wait: bool,

    /// How long to follow it, such as 30m; it goes on after that.
    #[arg(long, conflicts_with = "no_wait", value_parser = super::duration)]
    pub timeout: Option<Duration>,

    /// `client` prints the Operation, `server` has the API server check it as well; neither makes it.
    #[arg(long, value_enum)]
    pub dry_run: Option<DryRun>,
}

/// A change that takes no more than its target.
#[derive(Args, Debug)]
pub struct TargetFlags {
    /// What kind of thing NAME is.
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
    /// What kind of thing NAME is.
    #[arg(value_enum)]
    pub kind: Kind,
    /// The cluster's or pool's name.
    pub name: String,
    /// The version to go to, such as 1.36.3.
    #[arg(long, alias = "version", value_name = "VERSION")]
    pub kubernetes_version: String,
    #[command(flatten)]
    pub change: ChangeFlags,
}

/// A change of the number of nodes.
#[derive(Args, Debug)]
pub struct ScaleFlags {
    /// What kind of thing NAME is: only a pool can be scaled.
    #[arg(value_enum)]
    pub kind: Kind,
    /// The pool's name.
    pub name: String,
    /// How many nodes it is to have.
    #[arg(long, alias = "replicas", visible_alias = "node-count")]
    pub count: i32,
    #[command(flatten)]
    pub change: ChangeFlags,
}

/// What is asked for.
pub struct Change<'a> {
    /// What is to be done, and to what.
    pub spec: OperationSpec,
    /// How.
    pub flags: &'a ChangeFlags,
}

impl<'a> Change<'a> {
    /// A change that takes no more than its target.
    pub fn of(type_: OperationType, flags: &'a TargetFlags) -> Self {
        let target = flags.kind.named(&flags.name);
        Self {
            spec: spec(type_, target),
            flags: &flags.change,
        }
    }

    /// A change of the Kubernetes version.
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

    /// A change of the number of nodes.
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

    /// Makes the Operation and follows it: success only where it succeeded.
    ///
    /// # Errors
    /// Where it is refused, or can't be followed.
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
            "Operation {name} is asked for: {}",
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
            // Somebody was quicker.
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
                    bail!("Operation {name} has not ended yet and goes on: the time is up")
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

/// The Operation that is there under the name, where it is what is asked for.
fn same(there: Operation, asked: &Operation) -> anyhow::Result<Operation> {
    if there.spec == asked.spec {
        return Ok(there);
    }
    bail!(
        "there is an Operation {} already, and it is another: {}; choose another --operation",
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
    let flags = abort::AbortFlags {
        kind: abort::AbortKind::Operation,
        name: operation.name_any(),
        reason: "aborted by Ctrl-C".into(),
        wait: true,
        timeout: None,
        after_step: false,
        yes: true,
        dry_run: None,
    };
    abort::run(session, &flags).await
}

fn spec(type_: OperationType, target: OperationTarget) -> OperationSpec {
    OperationSpec {
        type_,
        target,
        kubernetes_version: None,
        count: None,
    }
}
