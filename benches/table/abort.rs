//! From an abort's annotation to `Canceling` and to `Canceled`, one operation at a time: with nothing beside it, and
//! with many operations in flight.

use belay::api::{AgentPool, ManagedCluster};
use serde_json::json;

use crate::{
    Size, clusters,
    fleet::Fleet,
    floor,
    peers::Peers,
    report::{Goal, Report},
    seen::{Seen, Spreads},
    spread::Spread,
    stage::{Stage, until},
};

const BELAY: &str = "belay";
const FLOOR: &str = "floor";

/// Measures both.
pub async fn measure(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    for name in [BELAY, FLOOR] {
        stage.namespace(name).await?;
    }
    let _operator = stage.operate_in(BELAY)?;
    let _floor = floor::start(&stage.client, FLOOR);
    let turns = Turns::prepare(&stage).await?;
    let peers = Peers::start(&stage).await?;
    turns
        .take(
            report,
            "an abort",
            size.rounds,
            [1.25, 1.5, 2.0],
            Some(&peers),
        )
        .await?;
    drop(peers);
    let fleet = Fleet::of(&stage.client, BELAY);
    fleet.create(size.clusters, 1).await?;
    fleet.is_ready(size.clusters, 1).await?;
    let hanging = fleet.hang(size.clusters).await?;
    let what = format!("an abort beside {} operations in flight", hanging.len());
    turns
        .take(report, &what, size.rounds, [3.0, 3.0, 3.0], None)
        .await
}

/// Aborts of Belay and of the floor, in turns.
struct Turns<'a> {
    stage: &'a Stage,
    fleet: Fleet,
    belay: Seen,
    floor: Seen,
}

impl<'a> Turns<'a> {
    /// A cluster whose control plane would take an hour to change.
    async fn prepare(stage: &'a Stage) -> anyhow::Result<Self> {
        let fleet = Fleet::of(&stage.client, BELAY);
        clusters::create_cluster(&fleet.objects, "demo", json!({})).await?;
        clusters::create_pool(&fleet.objects, "np1", "demo", 0).await?;
        fleet.is_ready(1, 1).await?;
        let slow = clusters::slow();
        fleet.objects.patch::<ManagedCluster>("demo", &slow).await?;
        Ok(Self {
            stage,
            fleet,
            belay: Seen::watch(&stage.client, BELAY),
            floor: Seen::watch(&stage.client, FLOOR),
        })
    }

    async fn take(
        &self,
        report: &mut Report,
        what: &str,
        rounds: usize,
        [first, median, most]: [f64; 3],
        peers: Option<&Peers>,
    ) -> anyhow::Result<()> {
        let (mut of_belay, mut of_floor) = (Vec::new(), Vec::new());
        let (mut of_twin, mut of_argo, mut of_job) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let name = self.begin(&format!("r{}-{round}", what.len())).await?;
            self.belay.abort_to_the_end(&name).await?;
            of_belay.push(name);
            let name = format!("op-{}-{round}", what.len());
            floor::operation(&self.stage.client, FLOOR, &name).await?;
            self.floor.abort_to_the_end(&name).await?;
            of_floor.push(name);
            if let Some(peers) = peers {
                of_twin.push(peers.twin(round).await?);
                of_argo.push(peers.rollout(round).await?);
                of_job.push(peers.job(round).await?);
            }
        }
        let Spreads {
            canceling,
            canceled,
            ..
        } = self.belay.spreads(&of_belay)?;
        let floor = self.floor.spreads(&of_floor)?;
        let (one_write, two_writes) = (floor.canceling, floor.canceled);
        let mut note = |end: &str, belay: &Spread, floor: &Spread, percent: usize, goal: f64| {
            let ratio = Spread::ratio(belay, floor, percent);
            report.note(
                &format!("{what} to {end}, {percent} %"),
                belay.to_string(),
                format!("a bare loop: {floor}"),
                Some(ratio),
                Some(Goal::AtMost(goal)),
            );
        };
        note("Canceling", &canceling, &one_write, 50, first);
        note("Canceled", &canceled, &two_writes, 50, median);
        note("Canceled", &canceled, &two_writes, 99, most);
        let Some(peers) = peers else {
            return Ok(());
        };
        let twin = peers.seen().spreads(&of_twin)?.canceled;
        let (argo, job) = (Spread::of(of_argo), Spread::of(of_job));
        for (peer, of_peer, goal) in [
            ("the floor's twin by controller-runtime", twin, None),
            (
                "Argo Rollouts' abort, without pods",
                argo,
                Some(Goal::AtMost(1.0)),
            ),
            ("the Job controller's suspend", job, None),
        ] {
            let ratio = canceled.ratio(&of_peer, 50);
            let what = format!("{what} to Canceled, 50 %");
            report.note(
                &what,
                canceled.to_string(),
                format!("{peer}: {of_peer}"),
                Some(ratio),
                goal,
            );
        }
        Ok(())
    }

    /// Has a node made, and waits until that is in flight.
    async fn begin(&self, round: &str) -> anyhow::Result<String> {
        for count in [0, 1] {
            // Another label each round: the hold of the abort before ends with a change.
            let spec = json!({"spec": {"count": count, "nodeLabels": {"round": round}}});
            self.fleet.objects.patch::<AgentPool>("np1", &spec).await?;
            if count == 0 {
                until("at rest", async || {
                    let pool = self.fleet.objects.api::<AgentPool>().get("np1").await?;
                    let last = pool.status.and_then(|status| status.last_operation);
                    Ok(last.is_some_and(|last| {
                        Some(last.target_generation) == pool.metadata.generation
                    }))
                })
                .await?;
            }
        }
        self.belay.in_flight("np1-scale").await
    }
}
