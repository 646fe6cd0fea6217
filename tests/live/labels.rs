//! The labels that Belay goes by are its own to change.

use std::sync::Arc;

use belay::api::OperationType;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{
    belay::{Belay, World},
    doors::{operation, told},
};

pub async fn belay_alone_changes_the_labels_that_it_goes_by(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = belay.scaling().await;
    belay.grant("eve", "belay-editor");
    let is_labelled = || async {
        let pool = belay.pool("np1").await;
        pool.labels().contains_key("belay.dev/scale-refused")
    };
    belay.eventually("has its label", is_labelled).await;
    let what = format!("operation/{scale}");
    for (what, label) in [
        ("agentpool/np1", "belay.dev/scale-refused"),
        (&what, "belay.dev/operation-uid"),
        (&what, "belay.dev/for-generation"),
        (&what, "belay.dev/cluster"),
    ] {
        let refusal = format!("(Forbidden) the label {label} is set by Belay alone");
        // An Operation of a spec's has all of them but its uid, which it gets when it is a person's.
        let removed = (label != "belay.dev/operation-uid").then(|| format!("{label}-"));
        for change in [Some(format!("{label}=7")), removed].iter().flatten() {
            let change = ["label", what, "--overwrite", change];
            assert_eq!(told(belay.try_as("eve", &change)), refusal);
            assert_eq!(told(belay.try_kubectl(&change)), refusal, "whoever asks");
        }
    }
    let scaled = belay.try_as("eve", &["scale", "agentpool", "np1", "--replicas=5"]);
    assert!(told(scaled).contains(&format!("Another agentpool operation ({scale})")));
    let note = ["label", "agentpool/np1", &what, "team=a"];
    belay.try_as("eve", &note).expect("others pass");
}

pub async fn an_operation_may_come_with_belays_labels_and_gains_nothing_by_them(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    let labelled = |labels: Value| json!({"labels": labels});
    let forgeries = [
        ("forged", labelled(json!({"belay.dev/for-generation": "1"}))),
        (
            "restored",
            labelled(json!({"belay.dev/operation-uid": "another"})),
        ),
        (
            "begun",
            json!({"annotations": {"belay.dev/engine-handle": "az-1"}}),
        ),
    ];
    for (name, metadata) in &forgeries {
        let manifest = operation(name, json!({"type": "Scale", "on": "np1", "count": 9}));
        let mut manifest: Value = serde_json::from_str(&manifest).expect("an operation");
        for (key, value) in metadata.as_object().expect("metadata") {
            manifest["metadata"][key] = value.clone();
        }
        belay.create(&manifest.to_string()).expect("it is taken");
    }
    for (name, _) in &forgeries {
        belay
            .eventually("has it ended", || async {
                belay.status(name).await.phase.is_finished()
            })
            .await;
        assert_eq!(belay.status(name).await.start_time, None, "{name} ran");
    }
    assert_eq!(belay.pool("np1").await.spec.count, 1);
    assert_eq!(belay.nodes().await.len(), 1);
    assert_eq!(belay.operations(OperationType::Scale, "np1").await.len(), 3);
}
