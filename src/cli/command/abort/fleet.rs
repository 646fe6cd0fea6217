//! `kubectl belay abort --all`: stops the operations of many clusters. It shows them, asks once, and goes on if the API
//! server refuses one.

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::Context as _;
use kube::{ResourceExt as _, api::ListParams};

use crate::{
    api::{AgentPool, ManagedCluster, Operation, OperationPhase, TargetKind},
    cli::{
        cluster::{errors, session::Session, target, view::phase},
        command::operation,
        terminal::{ask, output, text},
    },
    machinery::clock,
};

use super::{AbortFlags, AbortKind, DryRun, Stop, request, wait};

/// Aborts all selected operations.
///
/// # Errors
/// Returns an error if something can't be read, or if nobody can be asked.
pub async fn run(session: &Session, flags: &AbortFlags) -> anyhow::Result<ExitCode> {
    let operations = selected(session, flags).await?;
    if operations.is_empty() {
        output::say("No operation in flight is selected: there is nothing to abort.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let look = session.look.now();
    output::say(&operation::table(
        &operations,
        flags.all_namespaces,
        true,
        &look,
        clock::now(),
    ))?;
    if flags.dry_run.is_none() && !flags.yes {
        let question = format!("Abort {}?", text::count(operations.len(), "Operation"));
        if !ask::is_sure(&question).await? {
            output::say("The operations go on: nothing was changed.")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    if flags.dry_run == Some(DryRun::Client) {
        return Ok(ExitCode::SUCCESS);
    }
    let mut asked = Vec::new();
    for operation in &operations {
        let name = operation.name_any();
        let session = session_of(session, operation);
        let stop = Stop::of(flags, AbortKind::Operation, name);
        match request(&session, &stop, operation).await {
            Ok(()) => asked.push((session, operation)),
            Err(error) => eprintln!("error: {}", errors::words(&error)),
        }
    }
    let refused = operations.len() - asked.len();
    if flags.dry_run.is_none() {
        let count = text::count(asked.len(), "Operation");
        output::say(&format!("Asked {count} to stop, {refused} refused."))?;
    }
    let mut is_done = refused == 0;
    if flags.wait && flags.dry_run.is_none() {
        for (session, operation) in asked {
            match wait(&session, flags.timeout, operation).await {
                Ok(code) => is_done &= code == ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("error: {}", errors::words(&error));
                    is_done = false;
                }
            }
        }
    }
    Ok(if is_done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the unfinished operations that the flags select and that aren't stopping already, newest first.
async fn selected(session: &Session, flags: &AbortFlags) -> anyhow::Result<Vec<Operation>> {
    let mut operations = target::all_operations(session, flags.all_namespaces).await?;
    operations.retain(|operation| {
        let phase = phase(operation);
        let is_of_type = flags
            .type_
            .is_none_or(|type_| operation.spec.type_ == type_);
        is_of_type && !phase.is_finished() && phase != OperationPhase::Canceling
    });
    if let Some(selector) = &flags.selector {
        let targets = targets(session, flags.all_namespaces, selector).await?;
        operations.retain(|operation| {
            let target = &operation.spec.target;
            let namespace = operation.namespace().unwrap_or_default();
            targets.contains(&(namespace, format!("{:?}", target.kind), target.name.clone()))
        });
    }
    Ok(operations)
}

/// A cluster or a pool, by its namespace, kind and name.
type Key = (String, String, String);

/// Returns the clusters with these labels, and their pools.
async fn targets(
    session: &Session,
    all_namespaces: bool,
    selector: &str,
) -> anyhow::Result<BTreeSet<Key>> {
    let clusters = session.api_in::<ManagedCluster>(all_namespaces);
    let pools = session.api_in::<AgentPool>(all_namespaces);
    let labelled = ListParams::default().labels(selector);
    let clusters = clusters
        .list(&labelled)
        .await
        .context("failed to read the clusters")?;
    let pools = pools
        .list(&ListParams::default())
        .await
        .context("failed to read the pools")?;
    let key = |kind: TargetKind, namespace: Option<String>, name: String| {
        (namespace.unwrap_or_default(), format!("{kind:?}"), name)
    };
    let mut targets: BTreeSet<Key> = clusters
        .iter()
        .map(|cluster| {
            key(
                TargetKind::ManagedCluster,
                cluster.namespace(),
                cluster.name_any(),
            )
        })
        .collect();
    let of_pools = pools.iter().filter(|pool| {
        let cluster = &pool.spec.cluster_name;
        targets.contains(&key(
            TargetKind::ManagedCluster,
            pool.namespace(),
            cluster.clone(),
        ))
    });
    let of_pools: Vec<Key> = of_pools
        .map(|pool| key(TargetKind::AgentPool, pool.namespace(), pool.name_any()))
        .collect();
    targets.extend(of_pools);
    Ok(targets)
}

/// Returns the session in the namespace of an Operation.
fn session_of(session: &Session, operation: &Operation) -> Session {
    Session {
        namespace: operation.namespace().unwrap_or_default(),
        ..session.clone()
    }
}
