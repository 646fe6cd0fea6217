//! One episode: a cluster with a pool and a workload, its events, and the required end.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use crate::{
    budgets::Budgets,
    end,
    event::{Event, What},
    faults::{Plan, Stream},
    panics::caught,
    place::Place,
    users::User,
    world::World,
};

/// Plays the events. Returns a violation as an error.
pub async fn play(world: Arc<World>, budgets: Budgets, events: Vec<Event>) -> Result<(), String> {
    caught(async move { play_all(&world, &budgets, &events).await }).await
}

async fn play_all(world: &Arc<World>, budgets: &Budgets, events: &[Event]) -> Result<(), String> {
    let place = Place::new(world, budgets).await;
    place.belay.ready_cluster(0, 2).await;
    let slower = json!({"provider": {"kwok": {"nodeProvisioningTime": "300ms"}}});
    place.belay.set_cluster(slower).await;
    place.belay.create_workload(4, 3).await;
    place.budgets.require(&place.belay.namespace, 3);
    let play = async {
        let mut user = User::of(&place);
        for event in events {
            tokio::time::sleep(event.after).await;
            apply_event(&place, &event.what);
            user.act(&event.what).await?;
        }
        end::wait_for_end(&place).await
    };
    let ended = tokio::select! {
        ended = play => ended,
        () = place.follow_crashes() => unreachable!("this future never ends"),
    };
    let ended = ended.and_then(|()| place.check_invariants());
    place.clear().await;
    ended.map_err(|why| format!("{}: {why}", place.belay.namespace))
}

/// Applies an event to the operator. Stops the check of the budget if the event isn't subject to budgets.
fn apply_event(place: &Arc<Place>, what: &What) {
    match *what {
        What::Dies => place.faults.kill(),
        What::DiesAt(at, fault) => place.faults.arm([Plan::once(at, fault)]),
        What::Refused(at, times, fault) => place.faults.arm([Plan {
            times,
            ..Plan::once(at, fault)
        }]),
        What::Watches(kind, stream, time) => {
            let place = place.clone();
            tokio::spawn(async move { watches(&place, kind, stream, time).await });
        }
        // A budget doesn't protect pods that are deleted, or pods on nodes that are deleted with their cluster.
        What::DeleteNode(_)
        | What::DeletePod(_)
        | What::DeleteCluster
        | What::ClusterPower("Stopped")
        | What::OperationOnCluster("Stop") => stop_budget_check(place),
        _ => {}
    }
}

fn stop_budget_check(place: &Place) {
    place.budgets.require(&place.belay.namespace, 0);
}

async fn watches(place: &Place, kind: &str, stream: Stream, time: Duration) {
    place.faults.order(kind, stream);
    match stream {
        Stream::HeldBack => {
            tokio::time::sleep(time).await;
            place.faults.order(kind, Stream::Flows);
        }
        Stream::Silent => {
            tokio::time::sleep(time).await;
            place.faults.order(kind, Stream::Ends);
        }
        _ => {}
    }
}
