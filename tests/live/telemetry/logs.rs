//! Logs: each line is machine-readable.

use std::{collections::BTreeSet, fs, sync::Arc};

use belay::api::{Operation, OperationPhase};
use kube::{ResourceExt, api::ListParams};
use serde_json::Value;

use crate::stage::belay::{Belay, PATIENCE, World};

pub async fn each_line_about_an_operation_names_it_and_its_cluster(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let (mut operator, log) = belay.operator(&[("BELAY_LOG_FORMAT", "json")]);
    let operation = belay.blocked_upgrade().await;
    belay.abort(&operation, "enough").await;
    belay
        .is_in_phase(&operation, OperationPhase::Canceled)
        .await;
    let list = belay.api::<Operation>().list(&ListParams::default()).await;
    let names: BTreeSet<_> = list
        .expect("listed")
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    operator.end(PATIENCE);
    let mut logged = BTreeSet::new();
    let lines = fs::read_to_string(log).expect("the log");
    for line in lines.lines() {
        let json: Value = serde_json::from_str(line).unwrap_or_else(|error| {
            panic!("{error}: {line}");
        });
        for field in ["timestamp", "level", "target"] {
            assert!(json[field].is_string(), "{field} of {line}");
        }
        // Only Operations change nodes.
        let is_about_operation =
            names.iter().any(|name| line.contains(name)) || json["node"].is_string();
        if !is_about_operation {
            continue;
        }
        let span = &json["span"];
        let name = names.iter().find(|name| span["operation"] == ***name);
        let name = name.unwrap_or_else(|| panic!("no operation in {line}"));
        assert_eq!(span["namespace"], *belay.namespace, "{line}");
        assert_eq!(span["cluster"], "demo", "{line}");
        logged.insert((name.clone(), json["message"].as_str().map(str::to_owned)));
    }
    for name in &names {
        for message in ["created", "status"] {
            let line = (name.clone(), Some(message.to_owned()));
            assert!(logged.contains(&line), "{line:?} in {logged:?}");
        }
    }
    let cordoned = (operation, Some("node cordoned".to_owned()));
    assert!(logged.contains(&cordoned), "{logged:?}");
}
