//! The floor of an abort: a loop that only watches Operations and writes `Canceling`, then `Canceled`.

use belay::api::{ABORT_ANNOTATION, Operation, OperationPhase};
use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;

/// The loop. It ends when it is dropped.
pub struct Floor(tokio::task::JoinHandle<()>);

impl Drop for Floor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the loop in a namespace.
pub fn start(client: &Client, namespace: &str) -> Floor {
    let operations = Api::<Operation>::namespaced(client.clone(), namespace);
    Floor(tokio::spawn(async move {
        loop {
            // The API server ends a watch after some minutes.
            let _ = cancel(&operations).await;
        }
    }))
}

async fn cancel(operations: &Api<Operation>) -> anyhow::Result<()> {
    let mut events = operations
        .watch(&WatchParams::default(), "0")
        .await?
        .boxed();
    while let Some(event) = events.next().await {
        let (WatchEvent::Modified(operation) | WatchEvent::Added(operation)) = event? else {
            continue;
        };
        let status = operation.status.as_ref();
        let is_pending = status.is_none_or(|status| status.phase == OperationPhase::Pending);
        if is_pending && operation.annotations().contains_key(ABORT_ANNOTATION) {
            let (operations, name) = (operations.clone(), operation.name_any());
            tokio::spawn(async move { write_twice(&operations, &name).await });
        }
    }
    Ok(())
}

/// Writes `Canceling`, then `Canceled`.
pub async fn write_twice(operations: &Api<Operation>, name: &str) -> kube::Result<()> {
    for phase in [OperationPhase::Canceling, OperationPhase::Canceled] {
        let status = Patch::Merge(json!({"status": {"phase": phase}}));
        operations
            .patch_status(name, &PatchParams::default(), &status)
            .await?;
    }
    Ok(())
}

/// Creates an Operation that the loop treats as one in flight.
pub async fn operation(client: &Client, namespace: &str, name: &str) -> anyhow::Result<()> {
    let spec = json!({"type": "Reconcile", "target": {"kind": "ManagedCluster", "name": "demo"}});
    let operation = Operation::new(name, serde_json::from_value(spec)?);
    let operations = Api::<Operation>::namespaced(client.clone(), namespace);
    operations
        .create(&PostParams::default(), &operation)
        .await?;
    Ok(())
}
