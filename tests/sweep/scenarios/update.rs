//! The update of settings in place.

use belay::api::OperationType::Update;
use serde_json::json;

use crate::place::Place;

pub async fn ready(place: &Place) {
    place.belay.ready_cluster(0, 2).await;
    place.belay.lock_is_free().await;
}

async fn start_update(place: &Place) -> String {
    let settings = json!({"nodeLabels": {"tier": "gold"},
        "nodeTaints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]});
    place.belay.set_pool("np1", settings).await;
    place.belay.operation(Update, "np1").await
}

pub async fn to_the_end(place: &Place) {
    let update = start_update(place).await;
    place.belay.succeeds(&update).await;
}

pub async fn abort(place: &Place) {
    place.faults.refuse("patch", "nodes", 403);
    let update = start_update(place).await;
    place.cancel_once_blocked(&update, 2).await;
}
