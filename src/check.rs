//! Checks whether Belay works on a cluster: it sends harmless requests, as a person would.

use std::time::Duration;

use anyhow::{Context as _, bail};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    api::{ABORT_POLICY_ANNOTATION, Operation, OperationPhase},
    cli,
};

/// How long the operator may take to answer. Another operator may have to take over the lease first.
const PATIENCE: Duration = Duration::from_secs(40);

/// Prints what works in `namespace`, one line for each check. With `policies`, also checks that the API server refuses.
///
/// # Errors
/// Returns an error if something doesn't work. The error says what to do.
pub async fn check(client: Client, namespace: &str, policies: bool) -> anyhow::Result<()> {
    let operations = Api::<Operation>::namespaced(client, namespace);
    let name = probe(&operations, policies)
        .await
        .map_err(|error| anyhow::anyhow!("{}", cli::words(&error)))?;
    let answered = answer(&operations, &name).await;
    // The Operation is deleted, whether it was answered or not.
    let removed = operations.delete(&name, &DeleteParams::default()).await;
    answered?;
    removed.with_context(|| format!("failed to delete Operation {name}"))?;
    Ok(())
}

/// Creates an Operation that can't be done, because its cluster doesn't exist. Returns the Operation's name.
async fn probe(operations: &Api<Operation>, policies: bool) -> anyhow::Result<String> {
    let mut operation: Operation = serde_json::from_value(json!({
        "metadata": {"generateName": "belay-check-"},
        "spec": {"type": "Reconcile", "target": {"kind": "ManagedCluster", "name": "belay-check"}},
    }))?;
    if policies {
        let mut invalid = operation.clone();
        invalid
            .annotations_mut()
            .insert(ABORT_POLICY_ANNOTATION.to_owned(), "None".to_owned());
        let try_it = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        match operations.create(&try_it, &invalid).await {
            Err(kube::Error::Api(status)) if status.message.contains(ABORT_POLICY_ANNOTATION) => {
                println!("ok  the API server refuses invalid requests (policies)");
            }
            Err(error) => return Err(error.into()),
            Ok(_) => bail!(
                "the API server accepted an invalid request: install the policies with `belay policies | kubectl apply -f -`"
            ),
        }
    }
    operation = operations
        .create(&PostParams::default(), &operation)
        .await?;
    println!("ok  the API server has Belay's kinds");
    Ok(operation.name_any())
}

async fn answer(operations: &Api<Operation>, name: &str) -> anyhow::Result<()> {
    let has_ended = |operation: Option<&Operation>| {
        let status = operation.and_then(|operation| operation.status.as_ref());
        status.is_some_and(|status| status.phase.is_finished())
    };
    let ended = timeout(
        PATIENCE,
        await_condition(operations.clone(), name, has_ended),
    )
    .await;
    let Ok(ended) = ended else {
        bail!(
            "no operator answered within {} s: check that a pod of Belay runs and leads (`kubectl logs` shows why it doesn't)",
            PATIENCE.as_secs()
        );
    };
    let status = ended?
        .and_then(|operation| operation.status)
        .unwrap_or_default();
    let error = status.error.unwrap_or_default();
    if (status.phase, error.code.as_str()) != (OperationPhase::Failed, "NotFound") {
        bail!(
            "the Operation of this check must fail with NotFound, but it ended {:?} ({})",
            status.phase,
            error.message
        );
    }
    println!("ok  the operator answers");
    Ok(())
}
