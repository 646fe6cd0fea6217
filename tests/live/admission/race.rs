//! Two simultaneous Operations: admission may allow both, because it reads caches. Then Belay runs one of them, and the
//! other one fails with the same message as that of admission.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use belay::api::{Operation, OperationPhase, OperationStatus};
use futures::future::join_all;
use jiff::Timestamp;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World},
    changes::{operation, wait_or_abort, without_elapsed},
};

const POOLS: usize = 6;
const ROUNDS: usize = 36;

/// How many losers the API server refused, and how many Belay. The third number counts the rounds without a race: on a
/// busy machine, the second Operation may arrive after the first one has ended.
#[derive(Default)]
struct Losers {
    by_api_server: AtomicUsize,
    by_belay: AtomicUsize,
    no_race: AtomicUsize,
}

pub async fn only_one_of_two_simultaneous_operations_runs(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    // The winner must still run when the other Operation is refused.
    belay.create_cluster(200).await;
    let pools: Vec<_> = (0..POOLS).map(|number| format!("np{number}")).collect();
    for pool in &pools {
        let spec = json!({"clusterName": "demo", "count": 1});
        let manifest = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": pool}, "spec": spec});
        belay.create(&manifest.to_string()).expect("created");
    }
    for pool in &pools {
        belay.pool_is_ready(pool).await;
    }
    belay.lock_is_free().await;
    let losers = Losers::default();
    let races = pools.iter().map(|pool| race_on(&belay, pool, &losers));
    join_all(races).await;
    let by_api_server = losers.by_api_server.load(Ordering::Relaxed);
    let by_belay = losers.by_belay.load(Ordering::Relaxed);
    let no_race = losers.no_race.load(Ordering::Relaxed);
    println!("refused by the API server {by_api_server}, by Belay {by_belay}, no race {no_race}");
    assert_eq!(by_api_server + by_belay + no_race, POOLS * ROUNDS);
    assert!(by_belay > 0, "Belay decided no race");
    belay.check_history();
}

async fn race_on(belay: &Belay, pool: &str, losers: &Losers) {
    for round in 0..ROUNDS {
        let spec = |second: usize| match round % 3 {
            // To 3 or 4 nodes, then to 1 or 2, so that each is a change.
            0 => json!({"type": "Scale", "on": pool, "count": 3 + second - 2 * (round % 2)}),
            1 => json!({"type": "Stop", "on": pool}),
            _ => json!({"type": "Start", "on": pool}),
        };
        let names = [0, 1].map(|second| format!("{pool}-{round}-{second}"));
        // First wait until the API server also sees that the pool is free.
        belay
            .eventually("admission allows the first Operation", || async {
                let status = belay.cluster().await.status.expect("a status");
                let mut held = status.operations.iter();
                !held.any(|held| held.target.name == pool)
                    && create(belay, &names[0], spec(0), true).await.is_ok()
            })
            .await;
        let requested = ::belay::machinery::clock::now();
        let created = tokio::join!(
            create(belay, &names[0], spec(0), false),
            create(belay, &names[1], spec(1), false)
        );
        let refused: Vec<_> = [created.0, created.1]
            .into_iter()
            .filter_map(Result::err)
            .collect();
        let admitted = || async {
            let mut statuses = Vec::new();
            for name in &names {
                if let Ok(Some(operation)) = belay.api::<Operation>().get_opt(name).await {
                    statuses.push((name.clone(), operation.status.unwrap_or_default()));
                }
            }
            statuses
        };
        // If an Operation has ended here, the test can't know whether it was still in flight at the refusal.
        let has_ended = |(_, status): &Named| status.phase.is_finished();
        let has_winner_ended = admitted().await.iter().any(has_ended);
        belay
            .eventually("all Operations of the round have ended", || async {
                admitted().await.iter().all(has_ended)
            })
            .await;
        let statuses = admitted().await;
        if was_no_race(belay, &statuses, has_winner_ended).await {
            losers.no_race.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let [winner] = with_phase(&statuses, OperationPhase::Succeeded)[..] else {
            panic!("one of the two must run: {statuses:?}, {refused:?}");
        };
        if let [refusal] = &refused[..] {
            losers.by_api_server.fetch_add(1, Ordering::Relaxed);
            let (_, message) = refusal
                .split_once("denied request: (OperationNotAllowed) ")
                .expect(refusal);
            check_message(message, round, requested, winner);
        } else {
            losers.by_belay.fetch_add(1, Ordering::Relaxed);
            let [(_, loser)] = with_phase(&statuses, OperationPhase::Failed)[..] else {
                panic!("the other one must fail: {statuses:?}");
            };
            let error = loser.error.as_ref().expect("an error");
            assert_eq!(error.code, "OperationNotAllowed");
            assert!(loser.start_time.is_none(), "the loser never starts");
            check_message(&error.message, round, requested, winner);
        }
    }
}

/// Whether there was no race: the second one came when the first one had ended.
async fn was_no_race(belay: &Belay, admitted: &[Named], has_winner_ended: bool) -> bool {
    let [(one, _), (other, _)] = admitted else {
        return has_winner_ended;
    };
    for name in [one, other] {
        belay.statuses(name).await;
    }
    let first = usize::from(!belay.seen.ended_before(one, other));
    // The loser of a race ends while the other one is in flight.
    admitted[first].1.phase == OperationPhase::Succeeded
}

type Named = (String, OperationStatus);

fn with_phase(statuses: &[Named], phase: OperationPhase) -> Vec<&Named> {
    let in_phase = statuses.iter().filter(|(_, status)| status.phase == phase);
    in_phase.collect()
}

/// Creates an Operation, or makes a dry run. Returns the refusal as an error.
async fn create(belay: &Belay, name: &str, spec: Value, dry_run: bool) -> Result<(), String> {
    let manifest = operation(name, spec);
    let operation: Operation = serde_json::from_str(&manifest).expect("an operation");
    let operations = belay.api::<Operation>();
    let params = PostParams {
        dry_run,
        ..PostParams::default()
    };
    let created = operations.create(&params, &operation).await;
    match created {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

fn check_message(message: &str, round: usize, requested: Timestamp, (winner, status): &Named) {
    let change = match round % 3 {
        0 => {
            let abort = wait_or_abort(winner);
            let expected = format!(
                "Operation is not allowed: Another agentpool operation ({winner}) is in progress, {abort}"
            );
            return assert_eq!(message, expected);
        }
        1 => "stopping",
        _ => "starting",
    };
    let start = without_elapsed(message, "");
    let (state, since) = start
        .split_once(" The previous operation started at '")
        .expect(&start);
    assert!(
        state.starts_with("agent pool is in Provisioning State(")
            && state.ends_with(&format!("), {change} cannot be performed")),
        "{state}"
    );
    // The winner took the lock after the requests and before it started.
    let since: Timestamp = since.trim_end_matches('\'').parse().expect("a time");
    let started = status.start_time.as_ref().expect("a time").0;
    assert!(
        requested.as_second() <= since.as_second() && since <= started,
        "{requested}, {since}, {started}"
    );
}
