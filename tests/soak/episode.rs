//! One episode: a cluster with a pool and a workload, the events there, and the required end.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use crate::{
    budgets::Budgets,
    end,
    event::{Event, What},
    faults::{Plan, Stream},
    panics::caught,
    people::Person,
    place::Place,
    world::World,
};

/// Plays the events. Returns what was wrong as an error.
pub async fn play(world: Arc<World>, budgets: Budgets, events: Vec<Event>) -> Result<(), String> {
    caught(async move { one(&world, &budgets, &events).await }).await
}

async fn one(world: &Arc<World>, budgets: &Budgets, events: &[Event]) -> Result<(), String> {
    let place = Place::new(world, budgets).await;
    place.belay.ready_cluster(0, 2).await;
    let slower = json!({"provider": {"kwok": {"nodeProvisioningTime": "300ms"}}});
    place.belay.set_cluster(slower).await;
    place.belay.create_workload(4, 3).await;
    place.budgets.keep(&place.belay.namespace, 3);
    let playing = async {
        let mut person = Person::of(&place);
        for event in events {
            tokio::time::sleep(event.after).await;
            befalls(&place, &event.what);
            person.does(&event.what).await?;
        }
        end::comes(&place).await
    };
    let ended = tokio::select! {
        ended = playing => ended,
        () = place.follow_crashes() => unreachable!("crashes are followed for ever"),
    };
    let ended = ended.and_then(|()| place.judge());
    place.clear().await;
    ended.map_err(|why| format!("{}: {why}", place.belay.namespace))
}

/// Applies an event to the operator, or ends the check of the budget if the event removes its protection.
fn befalls(place: &Arc<Place>, what: &What) {
    match *what {
        What::Dies => place.faults.dies(),
        What::DiesAt(at, fault) => place.faults.arm([Plan::once(at, fault)]),
        What::Refused(at, times, fault) => place.faults.arm([Plan {
            times,
            ..Plan::once(at, fault)
        }]),
        What::Watches(kind, stream, time) => {
            let place = place.clone();
            tokio::spawn(async move { watches(&place, kind, stream, time).await });
        }
        // No budget protects pods that others delete, or pods on nodes that are deleted with their whole cluster.
        What::DeleteNode(_)
        | What::DeletePod(_)
        | What::DeleteCluster
        | What::ClusterPower("Stopped")
        | What::AskCluster("Stop") => unguard(place),
        _ => {}
    }
}

fn unguard(place: &Place) {
    place.budgets.keep(&place.belay.namespace, 0);
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
